-- The queue's tables. Every name begins with moxlib_, so that they can live in an application's own database.
-- Times are microseconds since 1970 in UTC; booleans are 0 and 1.

-- One row: the next free message id. Ids are never used again, not even when the queue was empty in between.
CREATE TABLE moxlib_sequence (
    next_id INTEGER NOT NULL
);
INSERT INTO moxlib_sequence (next_id) VALUES (1);

-- What the recipients of one submit() share; kept as long as one of them is in the queue or in the history.
-- Its id is the id of the first recipient's message, and the others' follow: so the messages of a submission are those
-- with ids from `id` to `id + recipients - 1`, and need no index to be found by it (nor a foreign key, whose check would
-- want one).
CREATE TABLE moxlib_submission (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    queued INTEGER NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    size INTEGER NOT NULL,
    prefix BLOB NOT NULL,
    needs_8bit INTEGER NOT NULL,
    needs_smtputf8 INTEGER NOT NULL,
    schedule TEXT,
    extra TEXT NOT NULL              -- JSON object of strings
);

-- The content, once per submission; it goes with the last queued message.
CREATE TABLE moxlib_content (
    submission INTEGER PRIMARY KEY REFERENCES moxlib_submission (id),
    sha256 BLOB NOT NULL,
    file TEXT,                       -- name in the content directory, or null
    body BLOB,                       -- small content, or null; last, as what stands behind it is slow to reach
    CHECK ((body IS NULL) <> (file IS NULL))
);
CREATE INDEX moxlib_content_file ON moxlib_content (file) WHERE file IS NOT NULL;

-- Where messages go. `turn` is when the destination may next be served: at or before the due time of its earliest
-- claimable message, null when nothing can be claimed. Claims take destinations in order of turn.
CREATE TABLE moxlib_destination (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    turn INTEGER
);
CREATE INDEX moxlib_destination_turn ON moxlib_destination (turn) WHERE turn IS NOT NULL;

-- Registered workers. The id is the fencing token, so it is never used again.
CREATE TABLE moxlib_worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL,
    lease_until INTEGER NOT NULL
);

-- How many deliveries a worker may run at once to a destination.
CREATE TABLE moxlib_slot (
    destination INTEGER NOT NULL REFERENCES moxlib_destination (id),
    worker INTEGER NOT NULL REFERENCES moxlib_worker (id),
    slots INTEGER NOT NULL,
    PRIMARY KEY (destination, worker)
) WITHOUT ROWID;
CREATE INDEX moxlib_slot_worker ON moxlib_slot (worker);

-- One queued recipient. `owner` is the worker that claimed it, `claimed_at` when; both null when it is not claimed,
-- and `last_attempt` is then the last attempt's. `destination` is no foreign key, as its check would
-- read the whole table for each destination deleted: the indexes below hold only some of the rows.
CREATE TABLE moxlib_message (
    id INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    destination INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    hold INTEGER NOT NULL,
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

-- The history.
CREATE TABLE moxlib_retired (
    id INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    destination TEXT NOT NULL,
    recipient TEXT NOT NULL,
    finished INTEGER NOT NULL,
    keep_until INTEGER NOT NULL,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    last_attempt INTEGER,
    transport TEXT,
    require_tls TEXT NOT NULL,
    results TEXT NOT NULL
);
CREATE INDEX moxlib_retired_keep_until ON moxlib_retired (keep_until);

-- The event log; ids grow along it and are never used again.
CREATE TABLE moxlib_event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    message INTEGER NOT NULL,
    recipient TEXT NOT NULL,
    code INTEGER NOT NULL,
    enhanced TEXT NOT NULL,
    error TEXT NOT NULL
);

CREATE TABLE moxlib_hold_rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    UNIQUE (account, sender_domain, recipient_domain)
);
