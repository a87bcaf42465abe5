-- Webhooks, and what events tell besides.

ALTER TABLE moxlib_event ADD COLUMN message_id TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_event ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_event ADD COLUMN extra TEXT NOT NULL DEFAULT '{}';  -- JSON object of strings
ALTER TABLE moxlib_event ADD COLUMN from_id TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_event ADD COLUMN dsn INTEGER NOT NULL DEFAULT 0;

-- Webhooks that wait. `owner` is the worker that claimed it, `claimed_at` when; both null when it is not claimed.
-- `blocked`: it waits until an earlier one of its message is done. The id is what the receiver knows it by.
CREATE TABLE moxlib_hook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    event_id INTEGER,                -- of moxlib_event; null: of no event
    message INTEGER,                 -- null: in no order
    event TEXT NOT NULL,
    queued INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    last_attempt INTEGER,
    owner INTEGER,
    claimed_at INTEGER,
    blocked INTEGER NOT NULL DEFAULT 0,
    results TEXT NOT NULL DEFAULT '[]',  -- JSON array, one array per attempt
    payload BLOB NOT NULL
);
-- Only what can be claimed: a claim reads just the rows it takes, however many wait.
CREATE INDEX moxlib_hook_due ON moxlib_hook (url, next_attempt, id) WHERE owner IS NULL AND blocked = 0;
CREATE INDEX moxlib_hook_message ON moxlib_hook (message, id) WHERE message IS NOT NULL;
CREATE INDEX moxlib_hook_owner ON moxlib_hook (owner) WHERE owner IS NOT NULL;
CREATE UNIQUE INDEX moxlib_hook_event ON moxlib_hook (event_id) WHERE event_id IS NOT NULL;

-- Those that are done.
CREATE TABLE moxlib_hook_retired (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    event_id INTEGER,
    message INTEGER,
    event TEXT NOT NULL,
    queued INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    last_attempt INTEGER,
    results TEXT NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX moxlib_hook_retired_keep_until ON moxlib_hook_retired (keep_until);
CREATE UNIQUE INDEX moxlib_hook_retired_event ON moxlib_hook_retired (event_id) WHERE event_id IS NOT NULL;

-- Where they go. `turn` is when the earliest that can be claimed is due, not before `slowed_until`; null when there is
-- none, or the endpoint is disabled. `owner` is the worker that makes its calls: one at a time.
CREATE TABLE moxlib_hook_endpoint (
    url TEXT PRIMARY KEY,
    turn INTEGER,
    owner INTEGER,
    disabled_since INTEGER,
    disabled_why TEXT NOT NULL DEFAULT '',
    slowed_until INTEGER
) WITHOUT ROWID;
CREATE INDEX moxlib_hook_endpoint_turn ON moxlib_hook_endpoint (turn, url) WHERE turn IS NOT NULL AND owner IS NULL;
CREATE INDEX moxlib_hook_endpoint_owner ON moxlib_hook_endpoint (owner) WHERE owner IS NOT NULL;
