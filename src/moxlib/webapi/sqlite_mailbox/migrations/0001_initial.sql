-- The mailboxes of accounts, and the messages in them. Times are microseconds since 1970.

CREATE TABLE moxlib_mailbox (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    UNIQUE (account, name)
);

-- AUTOINCREMENT: the number of a message that was deleted is never another one's.
-- The content is in `body`, or in a file of that name; `size` and `sha256` are of either.
CREATE TABLE moxlib_mail (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    account TEXT NOT NULL,
    mailbox INTEGER NOT NULL REFERENCES moxlib_mailbox (id),
    flags TEXT NOT NULL,             -- separated by spaces, in order
    received INTEGER NOT NULL,
    size INTEGER NOT NULL,
    sha256 BLOB NOT NULL,
    file TEXT UNIQUE,
    mail_from TEXT NOT NULL,
    mail_from_validated INTEGER NOT NULL,
    rcpt_to TEXT NOT NULL,
    msg_from TEXT NOT NULL,
    msg_from_validated INTEGER NOT NULL,
    dkim_domains TEXT NOT NULL,      -- separated by spaces
    remote_ip TEXT NOT NULL,
    is_dsn INTEGER NOT NULL
);
CREATE INDEX moxlib_mail_account ON moxlib_mail (account, id);
CREATE INDEX moxlib_mail_mailbox ON moxlib_mail (mailbox, id);

-- Apart from what is listed, so that a list reads no content.
CREATE TABLE moxlib_mail_body (
    mail INTEGER PRIMARY KEY REFERENCES moxlib_mail (id) ON DELETE CASCADE,
    body BLOB NOT NULL
);

-- The sizes of an account's messages together, so that a quota is checked at no cost.
CREATE TABLE moxlib_mail_usage (
    account TEXT PRIMARY KEY,
    size INTEGER NOT NULL
) WITHOUT ROWID;
