-- What becomes of failures: addresses that are not mailed any more, and on what evidence.

CREATE TABLE moxlib_suppression (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account TEXT NOT NULL,
    base_address TEXT NOT NULL,
    original_address TEXT NOT NULL,
    since BIGINT NOT NULL,
    expires BIGINT,                 -- null: never
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    repeats INTEGER NOT NULL,
    evidence TEXT NOT NULL,          -- JSON; empty: none
    UNIQUE (account, base_address)
);

-- Empty: queued before there were suppressions, and looked up on none.
ALTER TABLE moxlib_message ADD COLUMN base_address TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_retired ADD COLUMN base_address TEXT NOT NULL DEFAULT '';
-- How earlier messages to a recipient ended.
CREATE INDEX moxlib_retired_base_address ON moxlib_retired (base_address, finished) WHERE base_address <> '';

ALTER TABLE moxlib_event ADD COLUMN suppressing INTEGER NOT NULL DEFAULT 0;
