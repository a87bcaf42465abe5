-- The queue's tables, in a schema of their own. They are those of SQLite, with what many writers at once need besides.
-- Times are microseconds since 1970 in UTC; booleans are 0 and 1.

-- Which queue this is: a connection that a caller hands in must lead to the same one.
CREATE TABLE moxlib_queue (
    id TEXT NOT NULL
);
INSERT INTO moxlib_queue (id) VALUES (replace(gen_random_uuid()::text, '-', ''));

-- Message ids: never used again, whatever is rolled back.
CREATE SEQUENCE moxlib_message_id;

-- Takes `count` ids that follow each other, and returns the first. A sequence gives them one by one, so nobody else may
-- take one meanwhile; a lock that ends with the transaction would keep all other submits waiting for this one's commit.
CREATE FUNCTION moxlib_allocate(count BIGINT) RETURNS BIGINT LANGUAGE plpgsql
    SET search_path FROM CURRENT AS $$
DECLARE
    gate CONSTANT BIGINT := 'moxlib_message_id'::regclass::oid::bigint | (1::bigint << 60);
    first BIGINT;
BEGIN
    BEGIN  -- all of it in here: wherever it is canceled, the lock does not stay with the session
        PERFORM pg_advisory_lock(gate);
        first := nextval('moxlib_message_id');
        IF count > 1 THEN
            PERFORM setval('moxlib_message_id', first + count - 1);
        END IF;
        PERFORM pg_advisory_unlock(gate);
    EXCEPTION WHEN OTHERS OR query_canceled THEN
        PERFORM pg_advisory_unlock(gate);  -- warns if it was not had yet
        RAISE;
    END;
    RETURN first;
END $$;

-- What the recipients of one submit() share; kept as long as one of them is in the queue or in the history.
-- Its id is the id of the first recipient's message, and the others' follow: so the messages of a submission are those
-- with ids from `id` to `id + recipients - 1`, and need no index to be found by it (nor a foreign key, whose check would
-- want one).
CREATE TABLE moxlib_submission (
    id BIGINT PRIMARY KEY,
    account TEXT NOT NULL,
    sender TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipients INTEGER NOT NULL,
    queued BIGINT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    size BIGINT NOT NULL,
    prefix BYTEA NOT NULL,
    needs_8bit INTEGER NOT NULL,
    needs_smtputf8 INTEGER NOT NULL,
    schedule TEXT,
    extra TEXT NOT NULL              -- JSON object of strings
);

-- The content, once per submission; it goes with the last queued message. (No foreign key: its check would cost a
-- submit as much as the row itself.)
CREATE TABLE moxlib_content (
    submission BIGINT PRIMARY KEY,
    sha256 BYTEA NOT NULL,
    file TEXT,                       -- always null: no other machine could read it
    chunks INTEGER,                  -- how many rows of moxlib_chunk hold it, or null
    body BYTEA,                      -- small content, or null
    CHECK (num_nonnulls(body, file, chunks) = 1)
);
-- Mail is short or compressed already; compressing it again costs more than it saves.
ALTER TABLE moxlib_content ALTER COLUMN body SET STORAGE EXTERNAL;

-- Large content.
CREATE TABLE moxlib_chunk (
    submission BIGINT NOT NULL,
    number INTEGER NOT NULL,         -- from 0
    data BYTEA NOT NULL,
    PRIMARY KEY (submission, number)
);
ALTER TABLE moxlib_chunk ALTER COLUMN data SET STORAGE EXTERNAL;

-- Where messages go. `turn` is when the destination may next be served: at or before the due time of its earliest
-- claimable message, null when nothing can be claimed. Claims take destinations in order of turn.
CREATE TABLE moxlib_destination (
    name TEXT COLLATE "C" PRIMARY KEY,
    turn BIGINT,
    messages_full_at BIGINT,         -- when its bucket of messages will be full again; null: it is
    connections_full_at BIGINT       -- the same of connections
) WITH (fillfactor = 70);
CREATE INDEX moxlib_destination_turn ON moxlib_destination (turn, name) WHERE turn IS NOT NULL;

-- What has become due where: appended by everyone, folded into the turns by the next claim, in whatever order.
CREATE TABLE moxlib_wake (
    destination TEXT NOT NULL,
    due BIGINT NOT NULL
);

-- Registered workers. The id is the fencing token, so it is never used again.
CREATE TABLE moxlib_worker (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    identity TEXT NOT NULL,
    lease_until BIGINT NOT NULL
);

-- How many deliveries a worker may run at once to a destination.
CREATE TABLE moxlib_slot (
    destination TEXT NOT NULL,
    worker BIGINT NOT NULL,
    slots INTEGER NOT NULL,
    PRIMARY KEY (destination, worker)
);
CREATE INDEX moxlib_slot_worker ON moxlib_slot (worker);

-- One queued recipient. `owner` is the worker that claimed it, `claimed_at` when; both null when it is not claimed,
-- and `last_attempt` is then the last attempt's.
CREATE TABLE moxlib_message (
    id BIGINT PRIMARY KEY,
    submission BIGINT NOT NULL,
    destination TEXT NOT NULL,
    recipient TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    hold INTEGER NOT NULL,
    rules_seen BIGINT NOT NULL DEFAULT 0,  -- the newest hold rule that was there when it was queued or released
    quarantine TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    next_attempt BIGINT NOT NULL,
    last_attempt BIGINT,
    owner BIGINT,
    claimed_at BIGINT,
    transport TEXT,
    require_tls TEXT NOT NULL,
    results TEXT NOT NULL DEFAULT '[]'  -- JSON array, one array per attempt
);
-- Only what can be claimed: a claim reads just the rows it takes, however many are queued.
CREATE INDEX moxlib_message_due ON moxlib_message (destination, next_attempt, id) WHERE owner IS NULL AND hold = 0;
CREATE INDEX moxlib_message_owner ON moxlib_message (owner) WHERE owner IS NOT NULL;

-- The history.
CREATE TABLE moxlib_retired (
    id BIGINT PRIMARY KEY,
    submission BIGINT NOT NULL,
    destination TEXT NOT NULL,
    recipient TEXT NOT NULL,
    finished BIGINT NOT NULL,
    keep_until BIGINT NOT NULL,
    event TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    max_attempts INTEGER NOT NULL,
    last_attempt BIGINT,
    transport TEXT,
    require_tls TEXT NOT NULL,
    results TEXT NOT NULL
);
CREATE INDEX moxlib_retired_keep_until ON moxlib_retired (keep_until);

-- The event log; ids grow along it and are never used again.
CREATE TABLE moxlib_event (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at BIGINT NOT NULL,
    type TEXT NOT NULL,
    account TEXT NOT NULL,
    message BIGINT NOT NULL,
    recipient TEXT NOT NULL,
    code INTEGER NOT NULL,
    enhanced TEXT NOT NULL,
    error TEXT NOT NULL
);

CREATE TABLE moxlib_hold_rule (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    UNIQUE (account, sender_domain, recipient_domain)
);

-- What was submitted under a key: the same key again gets the same receipts.
CREATE TABLE moxlib_idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BYTEA NOT NULL,      -- SHA-256 of what was submitted
    receipts TEXT NOT NULL,          -- JSON: the base id, then an array [recipient, held] for each message
    keep_until BIGINT NOT NULL,
    PRIMARY KEY (account, key)
);
CREATE INDEX moxlib_idempotency_keep_until ON moxlib_idempotency (keep_until);

-- The last transaction of each connection, as a mark that it was committed.
CREATE TABLE moxlib_commit (
    connection TEXT PRIMARY KEY,
    number BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Whether a text contains another, which is in lower case, whatever its own case: in all of Unicode where the server
-- has ICU; else as far as the database's locale goes.
DO $$
DECLARE
    locale TEXT := (SELECT ' COLLATE "und-x-icu"' FROM pg_collation WHERE collname = 'und-x-icu');
BEGIN
    EXECUTE 'CREATE FUNCTION moxlib_contains(body TEXT, part TEXT) RETURNS BOOLEAN LANGUAGE sql IMMUTABLE PARALLEL SAFE'
        || ' AS $f$ SELECT strpos(lower(body' || coalesce(locale, '') || '), part) > 0 $f$';
END $$;
