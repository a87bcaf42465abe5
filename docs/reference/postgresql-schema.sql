CREATE TABLE moxlib_chunk (
    submission bigint NOT NULL,
    number integer NOT NULL,
    data bytea STORAGE EXTERNAL NOT NULL,
    PRIMARY KEY (submission, number)
);

CREATE TABLE moxlib_commit (
    connection text NOT NULL,
    number bigint NOT NULL,
    at timestamp with time zone NOT NULL DEFAULT now(),
    PRIMARY KEY (connection)
) WITH (fillfactor=50);

CREATE TABLE moxlib_content (
    submission bigint NOT NULL,
    sha256 bytea NOT NULL,
    file text,
    chunks integer,
    body bytea STORAGE EXTERNAL,
    PRIMARY KEY (submission),
    CHECK ((num_nonnulls(body, file, chunks) = 1))
);

CREATE TABLE moxlib_destination (
    name text COLLATE "C" NOT NULL,
    turn bigint,
    messages_full_at bigint,
    connections_full_at bigint,
    PRIMARY KEY (name)
) WITH (fillfactor=70);

CREATE TABLE moxlib_event (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    at bigint NOT NULL,
    type text NOT NULL,
    account text NOT NULL,
    message bigint NOT NULL,
    recipient text NOT NULL,
    code integer NOT NULL,
    enhanced text NOT NULL,
    error text NOT NULL,
    class text NOT NULL DEFAULT ''::text,
    suppressing integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_fromid (
    fromid text NOT NULL,
    message bigint NOT NULL,
    PRIMARY KEY (fromid)
);

CREATE TABLE moxlib_hold_rule (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account text NOT NULL,
    sender_domain text NOT NULL,
    recipient_domain text NOT NULL,
    UNIQUE (account, sender_domain, recipient_domain),
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_idempotency (
    account text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    receipts text NOT NULL,
    keep_until bigint NOT NULL,
    PRIMARY KEY (account, key)
);

CREATE TABLE moxlib_message (
    id bigint NOT NULL,
    submission bigint NOT NULL,
    destination text NOT NULL,
    recipient text NOT NULL,
    recipient_domain text NOT NULL,
    hold integer NOT NULL,
    rules_seen bigint NOT NULL DEFAULT 0,
    quarantine text NOT NULL DEFAULT ''::text,
    attempts integer NOT NULL DEFAULT 0,
    max_attempts integer NOT NULL,
    next_attempt bigint NOT NULL,
    last_attempt bigint,
    owner bigint,
    claimed_at bigint,
    transport text,
    require_tls text NOT NULL,
    results text NOT NULL DEFAULT '[]'::text,
    notify text NOT NULL DEFAULT ''::text,
    orcpt text NOT NULL DEFAULT ''::text,
    base_address text NOT NULL DEFAULT ''::text,
    mail_from text NOT NULL DEFAULT ''::text,
    fromid text NOT NULL DEFAULT ''::text,
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_queue (
    id text NOT NULL
);

CREATE TABLE moxlib_retired (
    id bigint NOT NULL,
    submission bigint NOT NULL,
    destination text NOT NULL,
    recipient text NOT NULL,
    finished bigint NOT NULL,
    keep_until bigint NOT NULL,
    event text NOT NULL,
    attempts integer NOT NULL,
    max_attempts integer NOT NULL,
    last_attempt bigint,
    transport text,
    require_tls text NOT NULL,
    results text NOT NULL,
    base_address text NOT NULL DEFAULT ''::text,
    fromid text NOT NULL DEFAULT ''::text,
    hidden integer NOT NULL DEFAULT 0,
    forget_at bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_schema (
    version integer NOT NULL
);

CREATE TABLE moxlib_slot (
    destination text NOT NULL,
    worker bigint NOT NULL,
    slots integer NOT NULL,
    PRIMARY KEY (destination, worker)
);

CREATE TABLE moxlib_sts_policy (
    domain text NOT NULL,
    record_id text NOT NULL,
    policy_text text NOT NULL,
    fetched bigint NOT NULL,
    valid_until bigint NOT NULL,
    checked bigint NOT NULL,
    last_used bigint NOT NULL,
    retry_at bigint,
    PRIMARY KEY (domain)
);

CREATE TABLE moxlib_submission (
    id bigint NOT NULL,
    account text NOT NULL,
    sender text NOT NULL,
    sender_domain text NOT NULL,
    recipients integer NOT NULL,
    queued bigint NOT NULL,
    message_id text NOT NULL,
    subject text NOT NULL,
    size bigint NOT NULL,
    prefix bytea NOT NULL,
    needs_8bit integer NOT NULL,
    needs_smtputf8 integer NOT NULL,
    schedule text,
    extra text NOT NULL,
    envid text NOT NULL DEFAULT ''::text,
    ret text NOT NULL DEFAULT ''::text,
    is_report integer NOT NULL DEFAULT 0,
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_suppression (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    account text NOT NULL,
    base_address text NOT NULL,
    original_address text NOT NULL,
    since bigint NOT NULL,
    expires bigint,
    cause text NOT NULL,
    reason text NOT NULL,
    repeats integer NOT NULL,
    evidence text NOT NULL,
    UNIQUE (base_address, account),
    PRIMARY KEY (id)
);

CREATE TABLE moxlib_wake (
    destination text NOT NULL,
    due bigint NOT NULL
);

CREATE TABLE moxlib_worker (
    id bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    identity text NOT NULL,
    lease_until bigint NOT NULL,
    PRIMARY KEY (id)
);

CREATE INDEX moxlib_destination_turn ON moxlib_destination USING btree (turn, name) WHERE (turn IS NOT NULL);

CREATE INDEX moxlib_idempotency_keep_until ON moxlib_idempotency USING btree (keep_until);

CREATE INDEX moxlib_message_due ON moxlib_message USING btree (destination, next_attempt, id) WHERE ((owner IS NULL) AND (hold = 0));

CREATE INDEX moxlib_message_owner ON moxlib_message USING btree (owner) WHERE (owner IS NOT NULL);

CREATE INDEX moxlib_retired_base_address ON moxlib_retired USING btree (base_address, finished) WHERE (base_address <> ''::text);

CREATE INDEX moxlib_retired_forget_at ON moxlib_retired USING btree (forget_at);

CREATE INDEX moxlib_retired_keep_until ON moxlib_retired USING btree (keep_until) WHERE (hidden = 0);

CREATE INDEX moxlib_slot_worker ON moxlib_slot USING btree (worker);

CREATE INDEX moxlib_sts_policy_checked ON moxlib_sts_policy USING btree (checked) WHERE (policy_text <> ''::text);

CREATE INDEX moxlib_sts_policy_last_used ON moxlib_sts_policy USING btree (last_used);

CREATE INDEX moxlib_submission_envid ON moxlib_submission USING btree (envid) WHERE (envid <> ''::text);

CREATE INDEX moxlib_submission_message_id ON moxlib_submission USING btree (message_id) WHERE (message_id <> ''::text);

CREATE SEQUENCE moxlib_message_id;

CREATE OR REPLACE FUNCTION moxlib_allocate(count bigint)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO 'moxlib'
AS $function$
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
END $function$;

CREATE OR REPLACE FUNCTION moxlib_contains(body text, part text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
AS $function$ SELECT strpos(lower(body COLLATE "und-x-icu"), part) > 0 $function$;
