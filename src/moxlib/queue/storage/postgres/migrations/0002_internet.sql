-- What delivery to the Internet keeps: envelope identifiers and other parameters of DSNs, what a failure means in the
-- event log, and the policies of MTA-STS.

ALTER TABLE moxlib_submission ADD COLUMN envid TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_submission ADD COLUMN ret TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_submission ADD COLUMN is_report INTEGER NOT NULL DEFAULT 0;
ALTER TABLE moxlib_message ADD COLUMN notify TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_message ADD COLUMN orcpt TEXT NOT NULL DEFAULT '';
ALTER TABLE moxlib_event ADD COLUMN class TEXT NOT NULL DEFAULT '';

-- What is kept of each domain's MTA-STS policy (RFC 8461).
CREATE TABLE moxlib_sts_policy (
    domain TEXT PRIMARY KEY,
    record_id TEXT NOT NULL,         -- of the TXT record when it was fetched
    policy_text TEXT NOT NULL,       -- as fetched; empty: it could not be
    fetched BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    checked BIGINT NOT NULL,        -- when it was last seen to be current, or that was tried
    last_used BIGINT NOT NULL,
    retry_at BIGINT                 -- the last fetch failed, and the next one may come then
);
CREATE INDEX moxlib_sts_policy_checked ON moxlib_sts_policy (checked) WHERE policy_text <> '';
CREATE INDEX moxlib_sts_policy_last_used ON moxlib_sts_policy (last_used);
