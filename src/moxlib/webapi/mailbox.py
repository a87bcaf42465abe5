"""`Mailbox`: where the messages of accounts are, for the methods Message*, and for copies of what is sent.

The seam to a host's own mail store. `SQLiteMailbox` (`moxlib.webapi.sqlite_mailbox`) is one for small hosts.

    InputError    ├── MessageNotFound    (LookupError)  code messageNotFound
                  ├── PartNotFound       (LookupError)  code partNotFound
                  ├── MailboxNotFound    (LookupError)  code user, as the others
                  ├── AlreadyInMailbox
                  ├── InvalidMailboxName
                  ├── InvalidFlag        (see `moxlib.webapi.flags`)
                  └── OverQuota          (LimitExceeded)  code sentOverQuota
"""

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Final, Protocol, Self, TypeAlias, TypeVar

from moxlib.errors import InputError, LimitExceeded
from moxlib.message import Part, SupportsReadAt, read_message
from moxlib.message.source import chunks_of, open_source

__all__ = [
    "INBOX",
    "MAX_MAILBOX_NAME",
    "SENT",
    "STANDARD_MAILBOXES",
    "AlreadyInMailbox",
    "InvalidMailboxName",
    "Mailbox",
    "MailboxNotFound",
    "MessageNotFound",
    "MessageOrigin",
    "MessageSource",
    "OpenMessage",
    "OverQuota",
    "PartNotFound",
    "StoredMessage",
    "check_mailbox_name",
]

T = TypeVar("T")

INBOX: Final = "Inbox"
SENT: Final = "Sent"
STANDARD_MAILBOXES: Final = (INBOX, "Archive", "Drafts", "Junk", SENT, "Trash")
"""What every account has, as in mox."""
MAX_MAILBOX_NAME: Final = 500  # characters: people's names have some tens
IN_MEMORY: Final = 64 * 1024  # octets that are read in the event loop; more take a thread

MessageSource: TypeAlias = bytes | BinaryIO
"""A message: its octets, or a file open for reading, from where it stands to its end."""


class MessageNotFound(InputError, LookupError):
    """The account has no message with this id."""

    def __init__(self, id_: int) -> None:
        super().__init__(f"there is no message {id_}")
        self.id = id_

    def __reduce__(self) -> tuple[type["MessageNotFound"], tuple[int]]:
        """Pickle by fields, not by text."""
        return type(self), (self.id,)


class PartNotFound(InputError, LookupError):
    """A message has no such part."""

    def __init__(self, path: Sequence[int], depth: int) -> None:
        super().__init__(f"there is no part {path[depth]}, which the path has at index {depth}")
        self.path: tuple[int, ...] = tuple(path)
        self.depth = depth

    def __reduce__(self) -> tuple[type["PartNotFound"], tuple[tuple[int, ...], int]]:
        """Pickle by fields, not by text."""
        return type(self), (self.path, self.depth)


class MailboxNotFound(InputError, LookupError):
    """The account has no mailbox of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"there is no mailbox {name[:80]!a}")
        self.name = name

    def __reduce__(self) -> tuple[type["MailboxNotFound"], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.name,)


class AlreadyInMailbox(InputError):
    """The message is in that mailbox already."""


class InvalidMailboxName(InputError):
    """No mailbox can have this name."""


class OverQuota(LimitExceeded):
    """The account's mailbox would be larger than its quota."""

    def __init__(self, limit: int, what: str = "mailbox") -> None:
        super().__init__(limit, what)


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageOrigin:
    """How a message came, as far as SMTP said; nothing of it for a copy of one that was sent."""

    mail_from: str = ""
    mail_from_validated: bool = False
    """By SPF."""
    rcpt_to: str = ""
    msg_from: str = ""
    """The address in From, as far as it was looked at."""
    msg_from_validated: bool = False
    """By DMARC, or as DMARC would."""
    dkim_verified_domains: tuple[str, ...] = ()
    remote_ip: str = ""
    is_dsn: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMessage:
    """What is known of a message in a mailbox, without reading it."""

    id: int
    """The only one of its number, among all accounts and times."""
    account: str
    mailbox: str
    flags: tuple[str, ...]
    """Well-known ones, then keywords, in lower case, in order."""
    received: datetime
    size: int
    """Octets."""
    origin: MessageOrigin = MessageOrigin()


class OpenMessage:
    """A message that is being read. Use it in `async with`, or close it. By one task at a time.

    Args:
        message: what is known of it.
        source: what it is in; see `moxlib.message.read_message`.
        close: called once when it is closed.
    """

    def __init__(
        self, message: StoredMessage, source: bytes | SupportsReadAt, *, close: Callable[[], object] = bool
    ) -> None:
        self.message: StoredMessage = message
        self.root: Part = read_message(source, size=message.size)
        """The message's parts. Reading one may block, where the message is in a file."""
        self._source = open_source(source, message.size)
        self._close = close
        self._blocks = not isinstance(source, bytes) or len(source) > IN_MEMORY
        self._closed = False

    async def part(self, path: Sequence[int]) -> Part:
        """Return a part by the indexes of those around it, from 0; the root for none.

        As in the structure that the webapi tells: a message that is nothing but another one has that as its part 0, and
        no other embedded message is gone into.

        Raises:
            PartNotFound: there is none.
        """
        return await self.read(lambda: self._part(path))

    async def read(self, read: Callable[[], T]) -> T:
        """Return what a function reads of the message, which runs in a thread where that may take a while."""
        return await asyncio.to_thread(read) if self._blocks else read()

    def _part(self, path: Sequence[int]) -> Part:
        part = self.root
        for depth, index in enumerate(path):
            children: Sequence[Part] = part.parts
            if depth == 0 and part.message is not None:
                children = (part.message,)
            if index < 0:
                raise PartNotFound(path, depth)
            try:
                part = children[index]
            except IndexError:
                raise PartNotFound(path, depth) from None
        return part

    def raw(self) -> AsyncIterator[bytes]:
        """Yield the message as it is, in pieces of up to 64 KiB."""
        return self._pieces(chunks_of(self._source, 0, self._source.size))

    def body(self, part: Part) -> AsyncIterator[bytes]:
        """Yield the body of a part, without its transfer encoding, in pieces of about 64 KiB at most."""
        return self._pieces(part.chunks())

    async def _pieces(self, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
        if self._blocks:
            while chunk := await asyncio.to_thread(next, chunks, b""):
                yield chunk
        else:
            for chunk in chunks:
                yield chunk

    def close(self) -> None:
        """Close the file, if there is one. Idempotent."""
        if not self._closed:
            self._closed = True
            self._close()

    async def __aenter__(self) -> Self:
        """Return it."""
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


class Mailbox(Protocol):
    """The messages of all accounts. What changes them is durable when its call returns.

    An account sees its own messages only: others' are not found. All may raise `moxlib.errors.StorageError`.
    """

    async def get(self, account: str, id_: int) -> StoredMessage:
        """Return what is known of a message.

        Raises:
            MessageNotFound: the account has none with this id, whatever number it is.
        """
        ...

    async def open(self, account: str, id_: int) -> OpenMessage:
        """Return a message to be read; close it. It can be read to its end even if it is deleted meanwhile.

        Raises:
            MessageNotFound: the account has none with this id.
        """
        ...

    async def add(
        self,
        account: str,
        message: MessageSource,
        *,
        mailbox: str = INBOX,
        flags: Sequence[str] = (),
        origin: MessageOrigin = MessageOrigin(),
        received: datetime | None = None,
        quota: int | None = None,
    ) -> StoredMessage:
        """Add a message. One of `STANDARD_MAILBOXES` is made if it does not exist yet.

        Args:
            account: whose.
            message: the message; large ones are streamed.
            mailbox: the mailbox it goes into.
            flags: in any case.
            origin: how it came.
            received: when, aware; None for now.
            quota: octets that the account may have, with this one; None for no limit.

        Raises:
            MailboxNotFound: there is no such mailbox.
            InvalidFlag: as it says.
            OverQuota: there is no room for it.
        """
        ...

    async def add_flags(self, account: str, id_: int, flags: Sequence[str]) -> StoredMessage:
        """Give a message more flags; those it has stay as they are.

        Raises:
            InvalidFlag: one that messages cannot have; looked at first.
            MessageNotFound: as it says.
        """
        ...

    async def remove_flags(self, account: str, id_: int, flags: Sequence[str]) -> StoredMessage:
        """Take flags from a message, if it has them.

        Raises:
            InvalidFlag: one that messages cannot have; looked at first.
            MessageNotFound: as it says.
        """
        ...

    async def move(self, account: str, id_: int, mailbox: str) -> StoredMessage:
        """Move a message to another mailbox, which must exist.

        Raises:
            MailboxNotFound: there is no such mailbox; looked at first.
            MessageNotFound: as it says.
            AlreadyInMailbox: it is there.
        """
        ...

    async def delete(self, account: str, id_: int) -> None:
        """Delete a message, for good.

        Raises:
            MessageNotFound: as it says.
        """
        ...

    async def usage(self, account: str) -> int:
        """Return the octets of all messages of an account."""
        ...


def check_mailbox_name(name: str) -> str:
    """Return the name of a mailbox in the form it is known by: "inbox" is Inbox, in whatever case.

    Raises:
        InvalidMailboxName: empty or too long, not in Unicode NFC, with controls or lone surrogates, beginning with "#",
            or with "/" where no name stands on one of its sides, or "." or ".." for one.
    """
    elements = name.split("/")
    if elements[0].lower() == INBOX.lower():
        elements[0] = INBOX
    if not name or len(name) > MAX_MAILBOX_NAME:
        raise InvalidMailboxName(f"a mailbox's name has 1 to {MAX_MAILBOX_NAME} characters")
    if not {"", ".", ".."}.isdisjoint(elements) or name.startswith("#"):  # RFC 9051 5.1.1 has "#" for namespaces
        raise InvalidMailboxName(f"not the name of a mailbox: {name[:80]!a}")
    if any(unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") for char in name):  # RFC 9051 5.1, RFC 6855 3
        raise InvalidMailboxName(f"controls in the name of a mailbox: {name[:80]!a}")
    if not unicodedata.is_normalized("NFC", name):
        raise InvalidMailboxName(f"the name of a mailbox is not in Unicode NFC: {name[:80]!a}")
    return "/".join(elements)
