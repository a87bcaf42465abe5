-- Destinations by name, so that a submit in somebody's long transaction locks nothing that others need; content in
-- chunks, so that such a submit leaves no file behind when it is rolled back; idempotency keys; rates.

-- Which queue this is: a connection that a caller hands in must lead to the same one.
CREATE TABLE moxlib_queue (
    id TEXT NOT NULL
);
INSERT INTO moxlib_queue (id) VALUES (lower(hex(randomblob(16))));

CREATE TABLE moxlib_old_message AS SELECT m.*, d.name FROM moxlib_message m JOIN moxlib_destination d ON d.id = m.destination;
CREATE TABLE moxlib_old_slot AS SELECT d.name, s.worker, s.slots FROM moxlib_slot s JOIN moxlib_destination d ON d.id = s.destination;
CREATE TABLE moxlib_old_destination AS SELECT name, turn FROM moxlib_destination;
CREATE TABLE moxlib_old_content AS SELECT * FROM moxlib_content;
DROP TABLE moxlib_slot;
DROP TABLE moxlib_message;
DROP TABLE moxlib_destination;
DROP TABLE moxlib_content;

-- The content, once per submission; it goes with the last queued message.
CREATE TABLE moxlib_content (
    submission INTEGER PRIMARY KEY REFERENCES moxlib_submission (id),
    sha256 BLOB NOT NULL,
    file TEXT,                       -- name in the content directory, or null
    chunks INTEGER,                  -- how many rows of moxlib_chunk hold it, or null
    body BLOB,                       -- small content, or null; last, as what stands behind it is slow to reach
    CHECK ((body IS NOT NULL) + (file IS NOT NULL) + (chunks IS NOT NULL) = 1)
);
CREATE INDEX moxlib_content_file ON moxlib_content (file) WHERE file IS NOT NULL;
INSERT INTO moxlib_content (submission, sha256, file, body) SELECT submission, sha256, file, body FROM moxlib_old_content;

-- Large content of submissions made in the application's own transaction.
CREATE TABLE moxlib_chunk (
    submission INTEGER NOT NULL,
    number INTEGER NOT NULL,         -- from 0
    data BLOB NOT NULL,
    PRIMARY KEY (submission, number)
);

-- Where messages go. `turn` is when the destination may next be served: at or before the due time of its earliest
-- claimable message, null when nothing can be claimed. Claims take destinations in order of turn.
CREATE TABLE moxlib_destination (
    name TEXT PRIMARY KEY,
    turn INTEGER,
    messages_full_at INTEGER,        -- when its bucket of messages will be full again; null: it is
    connections_full_at INTEGER      -- the same of connections
) WITHOUT ROWID;
CREATE INDEX moxlib_destination_turn ON moxlib_destination (turn) WHERE turn IS NOT NULL;
INSERT INTO moxlib_destination (name, turn) SELECT name, turn FROM moxlib_old_destination;

-- How many deliveries a worker may run at once to a destination.
CREATE TABLE moxlib_slot (
    destination TEXT NOT NULL,
    worker INTEGER NOT NULL REFERENCES moxlib_worker (id),
    slots INTEGER NOT NULL,
    PRIMARY KEY (destination, worker)
) WITHOUT ROWID;
CREATE INDEX moxlib_slot_worker ON moxlib_slot (worker);
INSERT INTO moxlib_slot (destination, worker, slots) SELECT name, worker, slots FROM moxlib_old_slot;

-- One queued recipient. `owner` is the worker that claimed it, `claimed_at` when; both null when it is not claimed,
-- and `last_attempt` is then the last attempt's.
CREATE TABLE moxlib_message (
    id INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    destination TEXT NOT NULL,
    recipient TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    hold INTEGER NOT NULL,
    rules_seen INTEGER NOT NULL DEFAULT 0,  -- the newest hold rule that was there when it was queued or released
    quarantine TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    last_attempt INTEGER,
    owner INTEGER,
    claimed_at INTEGER,
    transport TEXT,
    require_tls TEXT NOT NULL,
    results TEXT NOT NULL DEFAULT '[]'  -- JSON array, one array per attempt
);
-- Only what can be claimed: a claim reads just the rows it takes, however many are queued.
CREATE INDEX moxlib_message_due ON moxlib_message (destination, next_attempt) WHERE owner IS NULL AND hold = 0;
CREATE INDEX moxlib_message_owner ON moxlib_message (owner) WHERE owner IS NOT NULL;
INSERT INTO moxlib_message (id, submission, destination, recipient, recipient_domain, hold, quarantine, attempts,
        max_attempts, next_attempt, last_attempt, owner, claimed_at, transport, require_tls, results)
    SELECT id, submission, name, recipient, recipient_domain, hold, quarantine, attempts,
        max_attempts, next_attempt, last_attempt, owner, claimed_at, transport, require_tls, results
    FROM moxlib_old_message;

DROP TABLE moxlib_old_message;
DROP TABLE moxlib_old_slot;
DROP TABLE moxlib_old_destination;
DROP TABLE moxlib_old_content;

-- What was submitted under a key: the same key again gets the same receipts.
CREATE TABLE moxlib_idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,       -- SHA-256 of what was submitted
    receipts TEXT NOT NULL,          -- JSON: the base id, then an array [recipient, held] for each message
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX moxlib_idempotency_keep_until ON moxlib_idempotency (keep_until);
