-- How much accounts send in a day, as far as they have limits.

-- By steps of ten minutes, counted from 1970; no index on them, which might be taken for adding an account's up.
-- `slot`: 0; or of a submission in the application's own transaction, its id.
CREATE TABLE moxlib_sent (
    account TEXT NOT NULL,
    step BIGINT NOT NULL,
    slot BIGINT NOT NULL,
    recipients INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    PRIMARY KEY (account, step, slot)
);

-- Whom accounts have sent to: a hash of the address in lower case, and the day of the last time, from 1970 on, roughly.
CREATE TABLE moxlib_sent_to (
    account TEXT NOT NULL,
    recipient BYTEA NOT NULL,
    slot BIGINT NOT NULL,
    last_day INTEGER NOT NULL,
    PRIMARY KEY (account, recipient, slot)
);
CREATE INDEX moxlib_sent_to_last_day ON moxlib_sent_to (last_day);
