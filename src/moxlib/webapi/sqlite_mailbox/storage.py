"""`Mailbox` on an SQLite file: the operations, run by the queue's engine for SQLite."""

import asyncio
import os
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from hashlib import file_digest, sha256
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self, TypeVar

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError, StateError
from moxlib.queue.errors import ContentDamaged
from moxlib.queue.selection import is_text
from moxlib.queue.storage.content import ContentDirectory, ContentWriter, open_in_thread
from moxlib.queue.storage.migrations import numbered
from moxlib.queue.storage.sqlite.batch import SQLiteTx
from moxlib.queue.storage.sqlite.engine import Readers, ThreadWriter
from moxlib.queue.storage.sqlite.errors import DATABASE_ERRORS, storage_error
from moxlib.queue.storage.sqlite.schema import OPEN_BUSY_MS, connect, create_file, migrate
from moxlib.queue.storage.tx import Tx
from moxlib.queue.submission import StoredContent
from moxlib.webapi.flags import add_flags, parse_flags, remove_flags
from moxlib.webapi.mailbox import (
    INBOX,
    InvalidMailboxName,
    MailboxNotFound,
    MessageNotFound,
    MessageOrigin,
    MessageSource,
    OpenMessage,
    StoredMessage,
    check_mailbox_name,
)
from moxlib.webapi.sqlite_mailbox import operations

__all__ = ["SQLiteMailbox"]

T = TypeVar("T")

VERSION_TABLE: Final = "moxlib_mailbox_schema"
MAX_MESSAGE: Final = 100 * 1024 * 1024  # octets, as a queue's default
INLINE: Final = 64 * 1024  # octets; larger messages go to a file
READ: Final = 256 * 1024  # octets read at once
MAX_ID: Final = 2**63 - 1
MAX_LIST: Final = 10_000  # they are built in memory
NO_ORIGIN: Final = MessageOrigin()


def _each(tx: Tx, functions: list[Callable[[Tx], T]]) -> list[T]:
    return [function(tx) for function in functions]


class SQLiteMailbox:
    r"""The messages of all accounts in one SQLite file; several processes may use it at the same time.

        async with SQLiteMailbox("var/mailbox.db") as mailbox:
            stored = await mailbox.add("mjl", message, mailbox="Sent", flags=["\\seen"])

    Messages of more than 64 KiB are files in the directory beside it, named after it with `.mail` added. It may be the
    file of a queue. All methods raise `StorageFull`, `StorageBusy`, `StorageError` where they could do nothing, and
    `StateError` where it is not open.

    Args:
        path: the file; it is made where it does not exist.
        max_message_size: octets that a message may have.
        clock: what the time is taken from.
    """

    def __init__(
        self, path: str | PathLike[str], *, max_message_size: int = MAX_MESSAGE, clock: Clock | None = None
    ) -> None:
        self._path = Path(path)
        self._max_message_size = max_message_size
        self._clock: Clock = clock or SystemClock()
        self._directory = ContentDirectory(self._path.with_name(self._path.name + ".mail"))
        self._writer: ThreadWriter | None = None
        self._readers: Readers | None = None

    async def __aenter__(self) -> Self:
        """Open the file, or make it, and sweep away what a crash has left.

        Raises:
            SchemaTooNew, StorageReadOnly, StorageDamaged, StorageFull, StorageBusy: as their names say.
            StateError: it is open already.
        """
        if self._writer is not None:
            raise StateError("the mailbox is open already")
        await asyncio.to_thread(self._open_file)
        try:
            self._writer = ThreadWriter(self._path)
        except DATABASE_ERRORS as error:
            raise storage_error(error, str(self._path)) from error
        self._readers = Readers(self._path)
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        await self.close()

    async def close(self) -> None:
        """Finish what was begun and close. Idempotent."""
        writer, self._writer = self._writer, None
        readers, self._readers = self._readers, None
        if readers is not None:
            await readers.close()
        if writer is not None:
            await writer.close()

    def _open_file(self) -> None:
        create_file(self._path)
        try:
            connection = connect(self._path, busy_ms=OPEN_BUSY_MS)
            try:
                migrate(connection, numbered("moxlib.webapi.sqlite_mailbox"), table=VERSION_TABLE)
                self._directory.sweep(lambda: operations.files(SQLiteTx(connection)), now=self._clock.now())
            finally:
                connection.close()
        except DATABASE_ERRORS as error:
            raise storage_error(error, str(self._path)) from error

    async def _write(self, operation: Callable[[Tx], T]) -> T:
        if self._writer is None:
            raise StateError("the mailbox is not open: use it inside `async with`")
        return await self._writer.run(_each, operation)

    async def _read(self, operation: Callable[[Tx], T]) -> T:
        if self._readers is None:
            raise StateError("the mailbox is not open: use it inside `async with`")
        return await self._readers.run(operation)

    # Mailbox

    async def get(self, account: str, id_: int) -> StoredMessage:
        """Return what is known of a message; see `Mailbox.get`."""
        _check(account, id_)
        return await self._read(lambda tx: operations.find(tx, account, id_))

    async def open(self, account: str, id_: int) -> OpenMessage:
        """Return a message to be read; see `Mailbox.open`.

        Raises:
            MessageNotFound: the account has none with this id.
            ContentDamaged: it is not what was stored; all of it is checked now.
        """
        _check(account, id_)
        message, stored = await self._read(lambda tx: operations.content(tx, account, id_))
        if stored.body is not None:
            _check_body(message, stored)
            return OpenMessage(message, stored.body)
        try:
            file = await open_in_thread(partial(_open_checked, self._directory, stored))
        except ContentDamaged:
            await self.get(account, id_)  # deleted meanwhile?
            raise
        return OpenMessage(message, file, close=file.close)

    async def add(
        self,
        account: str,
        message: MessageSource,
        *,
        mailbox: str = INBOX,
        flags: Sequence[str] = (),
        origin: MessageOrigin = NO_ORIGIN,
        received: datetime | None = None,
        quota: int | None = None,
    ) -> StoredMessage:
        """Add a message; see `Mailbox.add`.

        Raises:
            MailboxNotFound, InvalidFlag, OverQuota: as there.
            MessageTooLarge: it is larger than `max_message_size`.
            InputError: an account or an origin that is no text, or a naive time.
        """
        _check_texts(account, origin)
        if received is not None and received.tzinfo is None:
            raise InputError("received must be an aware datetime (with a time zone)")
        name = _existing(mailbox)
        ordered = add_flags((), parse_flags(flags))
        with ContentWriter(self._directory, inline_max=INLINE, max_size=self._max_message_size) as writer:
            if isinstance(message, bytes) and len(message) <= INLINE:
                stored = _take_bytes(message, writer)
            else:
                stored = await asyncio.to_thread(_take, message, writer)
            new = operations.NewMessage(
                account=account,
                mailbox=name,
                flags=ordered,
                received=received or self._clock.now(),
                origin=origin,
                content=stored,
                quota=quota,
            )
            commit = asyncio.ensure_future(self._write(lambda tx: operations.add(tx, new)))
            writer.hand_over(commit)  # who is cancelled here ends before it does
            return await asyncio.shield(commit)

    async def add_flags(self, account: str, id_: int, flags: Sequence[str]) -> StoredMessage:
        """Give a message more flags; see `Mailbox.add_flags`."""
        return await self._change_flags(account, id_, add_flags, flags)

    async def remove_flags(self, account: str, id_: int, flags: Sequence[str]) -> StoredMessage:
        """Take flags from a message; see `Mailbox.remove_flags`."""
        return await self._change_flags(account, id_, remove_flags, flags)

    async def _change_flags(
        self, account: str, id_: int, change: operations.FlagChange, flags: Sequence[str]
    ) -> StoredMessage:
        parsed = parse_flags(flags)
        _check(account, id_)
        return await self._write(lambda tx: operations.set_flags(tx, account, id_, change, parsed))

    async def move(self, account: str, id_: int, mailbox: str) -> StoredMessage:
        """Move a message to another mailbox; see `Mailbox.move`."""
        name = _existing(mailbox)
        _check(account, id_)
        return await self._write(lambda tx: operations.move(tx, account, id_, name))

    async def delete(self, account: str, id_: int) -> None:
        """Delete a message, for good; see `Mailbox.delete`."""
        _check(account, id_)
        await self._write(lambda tx: self._delete(tx, account, id_))

    def _delete(self, tx: Tx, account: str, id_: int) -> None:
        file = operations.delete(tx, account, id_)
        if file is not None:
            tx.after_commit(partial(self._directory.remove, file))

    async def usage(self, account: str) -> int:
        """Return the octets of all messages of an account."""
        _check_texts(account)
        return await self._read(lambda tx: operations.usage(tx, account))

    # for programs

    async def create_mailbox(self, account: str, name: str) -> bool:
        """Make a mailbox. The standard ones exist without; idempotent: False where it exists.

        Raises:
            InvalidMailboxName: as it says.
        """
        _check_texts(account)
        checked = check_mailbox_name(name)
        return await self._write(lambda tx: operations.create(tx, account, checked))

    async def mailboxes(self, account: str) -> tuple[str, ...]:
        """Return the names of an account's mailboxes: the standard ones first, the others in order."""
        _check_texts(account)
        return await self._read(lambda tx: operations.mailboxes(tx, account))

    async def list(
        self, account: str, *, mailbox: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[StoredMessage, ...]:
        """Return messages in the order they were added.

        Args:
            account: whose.
            mailbox: in which mailbox; None for all.
            after: the id of the last one that is known already.
            limit: how many at most.

        Raises:
            MailboxNotFound: there is no such mailbox.
            InputError: a limit that is not from 1 to 10,000.
        """
        _check_texts(account)
        if not 1 <= limit <= MAX_LIST:
            raise InputError(f"the limit must be 1 to {MAX_LIST}, not {limit}")
        name = None if mailbox is None else _existing(mailbox)
        known = min(max(after, 0), MAX_ID)
        return await self._read(lambda tx: operations.listed(tx, account, name, known, limit))


def _check(account: str, id_: int) -> None:
    _check_texts(account)
    if not 1 <= id_ <= MAX_ID:
        raise MessageNotFound(id_)


def _check_texts(account: str, origin: MessageOrigin = NO_ORIGIN) -> None:
    texts = (account, origin.mail_from, origin.rcpt_to, origin.msg_from, origin.remote_ip)
    if not all(map(is_text, (*texts, *origin.dkim_verified_domains))):
        raise InputError("an account, and what is told of a message's origin, are texts without lone surrogates")
    if any(len(domain.split()) != 1 for domain in origin.dkim_verified_domains):
        raise InputError("a domain of MessageOrigin.dkim_verified_domains has white space, or nothing")


def _existing(mailbox: str) -> str:
    try:
        return check_mailbox_name(mailbox)
    except InvalidMailboxName as error:
        raise MailboxNotFound(mailbox) from error


def _check_body(message: StoredMessage, stored: StoredContent) -> None:
    if stored.body is None or len(stored.body) != stored.size or sha256(stored.body).digest() != stored.sha256:
        raise ContentDamaged(f"message {message.id} does not match its length and SHA-256")


def _open_checked(directory: ContentDirectory, stored: StoredContent) -> BinaryIO:
    """Open a file, and read it once.

    Raises:
        ContentDamaged: it is gone, cannot be read, or is not what was stored.
        StorageError: this process cannot open it now.
    """
    file = directory.open(stored)
    try:
        matches = os.fstat(file.fileno()).st_size == stored.size and file_digest(file, sha256).digest() == stored.sha256
    except OSError as error:
        file.close()
        raise ContentDamaged(f"content file {stored.file} cannot be read: {error.strerror or error}") from error
    if not matches:
        file.close()
        raise ContentDamaged(f"content file {stored.file} does not match its length and SHA-256")
    return file


def _take_bytes(message: bytes, writer: ContentWriter) -> StoredContent:
    writer.write(message)
    return writer.finish()


def _take(message: bytes | BinaryIO, writer: ContentWriter) -> StoredContent:
    if isinstance(message, bytes):
        return _take_bytes(message, writer)
    while chunk := message.read(READ):
        if not isinstance(chunk, bytes):
            raise InputError("a message is read as bytes: open it in binary mode")
        writer.write(chunk)
    return writer.finish()
