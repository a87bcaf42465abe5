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
    UNIQUE (base_address, account)  -- in this order, as many addresses are looked up at once
);

-- Empty: queued before there were suppressions, and looked up on none.
ALTER TABLE moxlib_message ADD COLUMN base_address TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_retired ADD COLUMN base_address TEXT NOT NULL DEFAULT '';
-- How earlier messages to a recipient ended.
CREATE INDEX moxlib_retired_base_address ON moxlib_retired (base_address, finished) WHERE base_address <> '';

ALTER TABLE moxlib_event ADD COLUMN suppressing INTEGER NOT NULL DEFAULT 0;

-- What tells a message from all others in its MAIL FROM, and so in bounces: unique over the queue and its history.
CREATE TABLE moxlib_fromid (
    fromid TEXT PRIMARY KEY,
    message BIGINT NOT NULL
);
ALTER TABLE moxlib_message ADD COLUMN mail_from TEXT NOT NULL DEFAULT '';  -- empty: the submission's sender
ALTER TABLE moxlib_message ADD COLUMN fromid TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_retired ADD COLUMN fromid TEXT NOT NULL DEFAULT '';

-- Feedback finds what the history's lists do not show any more: hidden, until it is forgotten.
ALTER TABLE moxlib_retired ADD COLUMN hidden INTEGER NOT NULL DEFAULT 0;
ALTER TABLE moxlib_retired ADD COLUMN forget_at BIGINT NOT NULL DEFAULT 0;
UPDATE moxlib_retired SET forget_at = keep_until;
DROP INDEX moxlib_retired_keep_until;
-- Only those that are hidden some time before they are forgotten: for the others, one index is enough.
CREATE INDEX moxlib_retired_keep_until ON moxlib_retired (keep_until) WHERE hidden = 0 AND keep_until < forget_at;
CREATE INDEX moxlib_retired_forget_at ON moxlib_retired (forget_at);

-- What mail that came in told of a message: JSON; empty: nothing.
ALTER TABLE moxlib_message ADD COLUMN feedback TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_retired ADD COLUMN feedback TEXT NOT NULL DEFAULT '';

-- By which else a bounce says what it is about.
CREATE INDEX moxlib_submission_envid ON moxlib_submission (envid) WHERE envid <> '';
CREATE INDEX moxlib_submission_message_id ON moxlib_submission (message_id) WHERE message_id <> '';
