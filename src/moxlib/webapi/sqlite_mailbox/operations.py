"""What is done in a mailbox's file: functions on a transaction."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from moxlib.queue.storage.operations.rows import micros, moment
from moxlib.queue.storage.tx import Row, Tx
from moxlib.queue.submission import StoredContent
from moxlib.webapi.flags import add_flags
from moxlib.webapi.mailbox import (
    STANDARD_MAILBOXES,
    AlreadyInMailbox,
    MailboxNotFound,
    MessageNotFound,
    MessageOrigin,
    OverQuota,
    StoredMessage,
)

__all__ = [
    "FlagChange",
    "NewMessage",
    "add",
    "content",
    "create",
    "delete",
    "files",
    "find",
    "listed",
    "mailboxes",
    "move",
    "set_flags",
    "usage",
]

COLUMNS = """mail.id, mail.account, mailbox.name, mail.flags, mail.received, mail.size, mail.mail_from,
    mail.mail_from_validated, mail.rcpt_to, mail.msg_from, mail.msg_from_validated, mail.dkim_domains, mail.remote_ip,
    mail.is_dsn"""
FROM = "FROM moxlib_mail AS mail JOIN moxlib_mailbox AS mailbox ON mailbox.id = mail.mailbox"
FIND = f"SELECT {COLUMNS} {FROM} WHERE mail.id = ? AND mail.account = ?"
CONTENT = f"""SELECT {COLUMNS}, mail.sha256, mail.file, body.body {FROM}
    LEFT JOIN moxlib_mail_body AS body ON body.mail = mail.id WHERE mail.id = ? AND mail.account = ?"""
LIST = f"""SELECT {COLUMNS} {FROM} WHERE mail.account = ? AND mail.id > ?
    ORDER BY mail.id LIMIT ?"""
LIST_MAILBOX = f"""SELECT {COLUMNS} {FROM} WHERE mail.mailbox = ? AND mail.id > ?
    ORDER BY mail.id LIMIT ?"""
ADD = """INSERT INTO moxlib_mail (account, mailbox, flags, received, size, sha256, file, mail_from,
    mail_from_validated, rcpt_to, msg_from, msg_from_validated, dkim_domains, remote_ip, is_dsn)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING id"""
ADD_BODY = "INSERT INTO moxlib_mail_body (mail, body) VALUES (?, ?)"
DELETE = "DELETE FROM moxlib_mail WHERE id = ? AND account = ? RETURNING size, file"
SET_FLAGS = "UPDATE moxlib_mail SET flags = ? WHERE id = ?"
SET_MAILBOX = "UPDATE moxlib_mail SET mailbox = ? WHERE id = ?"
MAILBOX = "SELECT id FROM moxlib_mailbox WHERE account = ? AND name = ?"
MAILBOXES = "SELECT name FROM moxlib_mailbox WHERE account = ?"
CREATE = "INSERT INTO moxlib_mailbox (account, name) VALUES (?, ?) RETURNING id"
USAGE = "SELECT size FROM moxlib_mail_usage WHERE account = ?"
USE = """INSERT INTO moxlib_mail_usage (account, size) VALUES (?, ?)
    ON CONFLICT (account) DO UPDATE SET size = moxlib_mail_usage.size + excluded.size"""
FILES = "SELECT file FROM moxlib_mail WHERE file IS NOT NULL"

FlagChange: TypeAlias = Callable[[Iterable[str], Iterable[str]], tuple[str, ...]]
"""Makes of the flags that a message has, and those that it is about, those that it gets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """A message that is to be added; its content is durable already, where it lies in a file."""

    account: str
    mailbox: str
    flags: tuple[str, ...]
    received: datetime
    origin: MessageOrigin
    content: StoredContent
    quota: int | None


def find(tx: Tx, account: str, id_: int) -> StoredMessage:
    """Return a message of an account.

    Raises:
        MessageNotFound: it has none with this id.
    """
    rows = tx.query(FIND, (id_, account))
    if not rows:
        raise MessageNotFound(id_)
    return _message(rows[0])


def content(tx: Tx, account: str, id_: int) -> tuple[StoredMessage, StoredContent]:
    """Return a message of an account and where its content lies.

    Raises:
        MessageNotFound: it has none with this id.
    """
    rows = tx.query(CONTENT, (id_, account))
    if not rows:
        raise MessageNotFound(id_)
    *row, sha256, file, body = rows[0]
    message = _message(tuple(row))
    if file is None and body is None:
        body = b""  # it is not what was stored, and will be found so
    return message, StoredContent(size=message.size, sha256=sha256, file=file, body=body)


def listed(tx: Tx, account: str, mailbox: str | None, after: int, limit: int) -> tuple[StoredMessage, ...]:
    """Return messages with ids above one, in order.

    Raises:
        MailboxNotFound: the account has no such mailbox.
    """
    if mailbox is None:
        return tuple(map(_message, tx.query(LIST, (account, after, limit))))
    rows = tx.query(MAILBOX, (account, mailbox))
    if not rows and mailbox not in STANDARD_MAILBOXES:
        raise MailboxNotFound(mailbox)
    return tuple([_message(row) for (id_,) in rows for row in tx.query(LIST_MAILBOX, (id_, after, limit))])


def mailboxes(tx: Tx, account: str) -> tuple[str, ...]:
    """Return the names of an account's mailboxes: the standard ones first, the others in order."""
    others = {name for (name,) in tx.query(MAILBOXES, (account,))}.difference(STANDARD_MAILBOXES)
    return (*STANDARD_MAILBOXES, *sorted(others))


def create(tx: Tx, account: str, name: str) -> bool:
    """Make a mailbox; say whether there was none of that name."""
    if name in STANDARD_MAILBOXES or tx.query(MAILBOX, (account, name)):
        return False
    tx.query(CREATE, (account, name))
    return True


def usage(tx: Tx, account: str) -> int:
    """Return the octets of an account's messages."""
    rows = tx.query(USAGE, (account,))
    return int(rows[0][0]) if rows else 0


def add(tx: Tx, new: NewMessage) -> StoredMessage:
    """Add a message.

    Raises:
        MailboxNotFound: the account has no such mailbox.
        OverQuota: there is no room for it.
    """
    mailbox = _mailbox(tx, new.account, new.mailbox)
    stored, origin = new.content, new.origin
    if new.quota is not None and usage(tx, new.account) + stored.size > new.quota:
        raise OverQuota(new.quota)
    [(id_,)] = tx.query(
        ADD,
        (
            new.account,
            mailbox,
            " ".join(new.flags),
            micros(new.received),
            stored.size,
            stored.sha256,
            stored.file,
            origin.mail_from,
            int(origin.mail_from_validated),
            origin.rcpt_to,
            origin.msg_from,
            int(origin.msg_from_validated),
            " ".join(origin.dkim_verified_domains),
            origin.remote_ip,
            int(origin.is_dsn),
        ),
    )
    if stored.body is not None:
        tx.execute(ADD_BODY, (id_, stored.body))
    tx.execute(USE, (new.account, stored.size))
    return find(tx, new.account, id_)


def set_flags(tx: Tx, account: str, id_: int, change: FlagChange, flags: Iterable[str]) -> StoredMessage:
    """Change the flags of a message.

    Raises:
        MessageNotFound: the account has none with this id.
        InvalidFlag: it would have too many.
    """
    message = find(tx, account, id_)
    changed = change(message.flags, flags)
    if changed == message.flags:
        return message
    tx.execute(SET_FLAGS, (" ".join(changed), id_))
    return find(tx, account, id_)


def move(tx: Tx, account: str, id_: int, name: str) -> StoredMessage:
    """Move a message to another mailbox.

    Raises:
        MailboxNotFound: the account has no such mailbox.
        MessageNotFound: it has no such message.
        AlreadyInMailbox: it is there.
    """
    mailbox = _mailbox(tx, account, name)
    if find(tx, account, id_).mailbox == name:
        raise AlreadyInMailbox(f"message {id_} is in that mailbox already")
    tx.execute(SET_MAILBOX, (mailbox, id_))
    return find(tx, account, id_)


def delete(tx: Tx, account: str, id_: int) -> str | None:
    """Delete a message; return the name of the file that nothing refers to any more.

    Raises:
        MessageNotFound: the account has none with this id.
    """
    rows = tx.query(DELETE, (id_, account))
    if not rows:
        raise MessageNotFound(id_)
    size, file = rows[0]
    tx.execute(USE, (account, -size))
    return None if file is None else str(file)


def files(tx: Tx) -> list[str]:
    """Return the names of the files that are referred to."""
    return [name for (name,) in tx.query(FILES)]


def _mailbox(tx: Tx, account: str, name: str) -> int:
    """Return the id of a mailbox; a standard one is made when it is first asked for."""
    rows = tx.query(MAILBOX, (account, name))
    if not rows and name in STANDARD_MAILBOXES:
        rows = tx.query(CREATE, (account, name))
    if not rows:
        raise MailboxNotFound(name)
    return int(rows[0][0])


def _message(row: Row) -> StoredMessage:
    id_, account, mailbox, flags, received, size, *origin = row
    mail_from, mail_from_validated, rcpt_to, msg_from, msg_from_validated, dkim_domains, remote_ip, is_dsn = origin
    return StoredMessage(
        id=id_,
        account=account,
        mailbox=mailbox,
        flags=add_flags((), flags.split()),
        received=moment(received),
        size=size,
        origin=MessageOrigin(
            mail_from=mail_from,
            mail_from_validated=bool(mail_from_validated),
            rcpt_to=rcpt_to,
            msg_from=msg_from,
            msg_from_validated=bool(msg_from_validated),
            dkim_verified_domains=tuple(dkim_domains.split()),
            remote_ip=remote_ip,
            is_dsn=bool(is_dsn),
        ),
    )
