CREATE INDEX moxlib_content_file ON moxlib_content (file) WHERE file IS NOT NULL;

CREATE INDEX moxlib_destination_turn ON moxlib_destination (turn) WHERE turn IS NOT NULL;

CREATE INDEX moxlib_hook_due ON moxlib_hook (url, next_attempt, id) WHERE owner IS NULL AND blocked = 0;

CREATE INDEX moxlib_hook_endpoint_owner ON moxlib_hook_endpoint (owner) WHERE owner IS NOT NULL;

CREATE INDEX moxlib_hook_endpoint_turn ON moxlib_hook_endpoint (turn, url) WHERE turn IS NOT NULL AND owner IS NULL;

CREATE INDEX moxlib_hook_message ON moxlib_hook (message, id) WHERE message IS NOT NULL;

CREATE INDEX moxlib_hook_owner ON moxlib_hook (owner) WHERE owner IS NOT NULL;

CREATE INDEX moxlib_hook_retired_keep_until ON moxlib_hook_retired (keep_until);

CREATE INDEX moxlib_idempotency_keep_until ON moxlib_idempotency (keep_until);

CREATE INDEX moxlib_message_due ON moxlib_message (destination, next_attempt) WHERE owner IS NULL AND hold = 0;

CREATE INDEX moxlib_message_owner ON moxlib_message (owner) WHERE owner IS NOT NULL;

CREATE INDEX moxlib_retired_base_address ON moxlib_retired (base_address, finished) WHERE base_address <> '';

CREATE INDEX moxlib_retired_forget_at ON moxlib_retired (forget_at);

CREATE INDEX moxlib_retired_keep_until ON moxlib_retired (keep_until) WHERE hidden = 0 AND keep_until < forget_at;

CREATE INDEX moxlib_sent_to_last_day ON moxlib_sent_to (last_day);

CREATE INDEX moxlib_slot_worker ON moxlib_slot (worker);

CREATE INDEX moxlib_sts_policy_checked ON moxlib_sts_policy (checked) WHERE policy_text <> '';

CREATE INDEX moxlib_sts_policy_last_used ON moxlib_sts_policy (last_used);

CREATE INDEX moxlib_submission_envid ON moxlib_submission (envid) WHERE envid <> '';

CREATE INDEX moxlib_submission_message_id ON moxlib_submission (message_id) WHERE message_id <> '';

CREATE TABLE moxlib_chunk (
    submission INTEGER NOT NULL,
    number INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (submission, number)
);

CREATE TABLE moxlib_content (
    submission INTEGER PRIMARY KEY REFERENCES moxlib_submission (id),
    sha256 BLOB NOT NULL,
    file TEXT,
    chunks INTEGER,
    body BLOB,
    CHECK ((body IS NOT NULL) + (file IS NOT NULL) + (chunks IS NOT NULL) = 1)
);

CREATE TABLE moxlib_destination (
    name TEXT PRIMARY KEY,
    turn INTEGER,
    messages_full_at INTEGER,
    connections_full_at INTEGER
) WITHOUT ROWID;

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
, class TEXT NOT NULL DEFAULT '', suppressing INTEGER NOT NULL DEFAULT 0, message_id TEXT NOT NULL DEFAULT '', subject TEXT NOT NULL DEFAULT '', extra TEXT NOT NULL DEFAULT '{}', from_id TEXT NOT NULL DEFAULT '', dsn INTEGER NOT NULL DEFAULT 0);

CREATE TABLE moxlib_fromid (
    fromid TEXT PRIMARY KEY,
    message INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE moxlib_hold_rule (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    sender_domain TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    UNIQUE (account, sender_domain, recipient_domain)
);

CREATE TABLE moxlib_hook (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    url TEXT NOT NULL,
    event_id INTEGER,
    message INTEGER,
    event TEXT NOT NULL,
    queued INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    next_attempt INTEGER NOT NULL,
    last_attempt INTEGER,
    owner INTEGER,
    claimed_at INTEGER,
    blocked INTEGER NOT NULL DEFAULT 0,
    results TEXT NOT NULL DEFAULT '[]',
    payload BLOB NOT NULL
);

CREATE TABLE moxlib_hook_endpoint (
    url TEXT PRIMARY KEY,
    turn INTEGER,
    owner INTEGER,
    disabled_since INTEGER,
    disabled_why TEXT NOT NULL DEFAULT '',
    slowed_until INTEGER
) WITHOUT ROWID;

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

CREATE TABLE moxlib_idempotency (
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    fingerprint BLOB NOT NULL,
    receipts TEXT NOT NULL,
    keep_until INTEGER NOT NULL,
    PRIMARY KEY (account, key)
);

CREATE TABLE moxlib_message (
    id INTEGER PRIMARY KEY,
    submission INTEGER NOT NULL,
    destination TEXT NOT NULL,
    recipient TEXT NOT NULL,
    recipient_domain TEXT NOT NULL,
    hold INTEGER NOT NULL,
    rules_seen INTEGER NOT NULL DEFAULT 0,
    quarantine TEXT NOT NULL DEFAULT '',
    attempts INTEGER NOT NULL DEFAULT 0,
    max_attempts INTEGER NOT NULL,
    next_attempt INTEGER NOT NULL,
    last_attempt INTEGER,
    owner INTEGER,
    claimed_at INTEGER,
    transport TEXT,
    require_tls TEXT NOT NULL,
    results TEXT NOT NULL DEFAULT '[]'
, notify TEXT NOT NULL DEFAULT '', orcpt TEXT NOT NULL DEFAULT '', base_address TEXT NOT NULL DEFAULT '', mail_from TEXT NOT NULL DEFAULT '', fromid TEXT NOT NULL DEFAULT '', feedback TEXT NOT NULL DEFAULT '');

CREATE TABLE moxlib_queue (
    id TEXT NOT NULL
);

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
, base_address TEXT NOT NULL DEFAULT '', fromid TEXT NOT NULL DEFAULT '', hidden INTEGER NOT NULL DEFAULT 0, forget_at INTEGER NOT NULL DEFAULT 0, feedback TEXT NOT NULL DEFAULT '');

CREATE TABLE moxlib_schema (version INTEGER NOT NULL);

CREATE TABLE moxlib_sent (
    account TEXT NOT NULL,
    step INTEGER NOT NULL,
    slot INTEGER NOT NULL,
    recipients INTEGER NOT NULL,
    first_time INTEGER NOT NULL,
    PRIMARY KEY (account, step, slot)
) WITHOUT ROWID;

CREATE TABLE moxlib_sent_to (
    account TEXT NOT NULL,
    recipient BLOB NOT NULL,
    slot INTEGER NOT NULL,
    last_day INTEGER NOT NULL,
    PRIMARY KEY (account, recipient, slot)
) WITHOUT ROWID;

CREATE TABLE moxlib_sequence (
    next_id INTEGER NOT NULL
);

CREATE TABLE moxlib_slot (
    destination TEXT NOT NULL,
    worker INTEGER NOT NULL REFERENCES moxlib_worker (id),
    slots INTEGER NOT NULL,
    PRIMARY KEY (destination, worker)
) WITHOUT ROWID;

CREATE TABLE moxlib_sts_policy (
    domain TEXT PRIMARY KEY,
    record_id TEXT NOT NULL,
    policy_text TEXT NOT NULL,
    fetched INTEGER NOT NULL,
    valid_until INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    last_used INTEGER NOT NULL,
    retry_at INTEGER
);

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
    extra TEXT NOT NULL
, envid TEXT NOT NULL DEFAULT '', ret TEXT NOT NULL DEFAULT '', is_report INTEGER NOT NULL DEFAULT 0);

CREATE TABLE moxlib_suppression (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    base_address TEXT NOT NULL,
    original_address TEXT NOT NULL,
    since INTEGER NOT NULL,
    expires INTEGER,
    cause TEXT NOT NULL,
    reason TEXT NOT NULL,
    repeats INTEGER NOT NULL,
    evidence TEXT NOT NULL,
    UNIQUE (base_address, account)
);

CREATE TABLE moxlib_worker (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    identity TEXT NOT NULL,
    lease_until INTEGER NOT NULL
);

CREATE UNIQUE INDEX moxlib_hook_event ON moxlib_hook (event_id) WHERE event_id IS NOT NULL;

CREATE UNIQUE INDEX moxlib_hook_retired_event ON moxlib_hook_retired (event_id) WHERE event_id IS NOT NULL;
