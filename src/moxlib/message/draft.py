"""What a message is composed of: checked when it is made, so that nothing can become a header field of its own."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Final, TypeAlias, cast

from moxlib import __version__
from moxlib.message.encoded_text import HARD_LIMIT, check_text, date_text, split_tokens
from moxlib.message.errors import InvalidDraft
from moxlib.message.media_types import MediaType, parse_media_type
from moxlib.message.trace import Received
from moxlib.smtp import Address, InvalidAddress, parse_address

__all__ = ["AddressLike", "Draft", "File", "FileData", "NamedAddress", "addresses_in", "files_in", "identifiers_in"]

USER_AGENT: Final = f"moxlib/{__version__}"
MAX_FIELD_NAME: Final = 76  # characters: with its colon a line of 78; real ones have 62 at most
MAX_IDENTIFIER: Final = (
    256  # octets of a message or content identifier, as of an address; those in use have 100 at most
)

# RFC 5322 3.6.4, not insisting on the form of either side: identifiers of others are repeated here, too.
_identifier = re.compile(r"<[^\x00-\x20<>\x7f]++>").fullmatch
_field_name = re.compile(r"[!-9;-~]+").fullmatch  # RFC 5322 2.2

# Those that a message has once, and has from its draft: another would say something else to some reader.
_OWN: Final = frozenset(("from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version"))
# Those that a caller may write himself, once, if the draft does not have them.
_ONCE: Final[Mapping[str, tuple[str, ...]]] = {
    "sender": ("sender",),
    "reply-to": ("reply_to",),
    "in-reply-to": ("in_reply_to", "references"),
    "references": ("references", "in_reply_to"),
    "user-agent": (),
    "x-mailer": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedAddress:
    """An address with the name of who has it.

    Attributes:
        address: `user@example.com`, as `moxlib.smtp.parse_address` takes it.
        name: for people to read; empty for none.
        parsed: the address, parsed.

    Raises:
        InvalidDraft: the address is none, or the name has a line end or another control character.
    """

    address: str
    name: str = ""
    parsed: Address = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.name:
            check_text("name", self.name)
        try:
            object.__setattr__(self, "parsed", parse_address(self.address))
        except InvalidAddress as error:
            raise InvalidDraft(error.reason, "address", value=self.address) from error


AddressLike: TypeAlias = NamedAddress | str
"""A `NamedAddress`, or an address alone as text."""

FileData: TypeAlias = bytes | bytearray | memoryview | Path | IO[bytes]
"""Octets; or the path of a file; or a file open for reading, which can seek, from where it stands to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """A file that goes with a message.

    Attributes:
        data: what is in it. A path or an open file is read when it is needed, in pieces; it must be there, and be the
            same, until the message was written.
        name: what it is called; empty for no name. None takes the last component of a path.
        content_type: as `application/pdf` or `text/calendar; method=REQUEST`. None finds it out by name and content,
            and is application/octet-stream if it cannot be. Empty for no Content-Type field, which then means
            text/plain to all readers but mox's.
        content_id: by which HTML refers to it, as `cid:logo@example.com`; with angle brackets or without.

    Raises:
        InvalidDraft: a name or identifier with control characters, or a content type that is none.
    """

    data: FileData = field(repr=False)
    name: str | None = None
    content_type: str | None = None
    content_id: str = ""
    media_type: MediaType | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if isinstance(self.data, str):
            raise InvalidDraft("text is to be encoded to octets, and a path is a pathlib.Path", "data")
        if self.name is None:
            object.__setattr__(self, "name", self.data.name if isinstance(self.data, Path) else "")
        check_text("name", self.file_name)
        given = self.content_type
        parsed = parse_media_type(given, "content_type") if given else None
        if parsed is not None and parsed.name.startswith("multipart/"):  # RFC 2045 6.4
            raise InvalidDraft("a multipart is no file", "content_type", value=parsed.name)
        object.__setattr__(self, "media_type", parsed)
        if self.content_id:
            object.__setattr__(self, "content_id", _bracketed("content_id", self.content_id))
            if not self.content_id.isascii():  # of which there is no other form; and it is the caller's to choose
                raise InvalidDraft("an identifier beyond ASCII", "content_id", value=self.content_id)

    @property
    def file_name(self) -> str:
        """The name, empty for none."""
        return self.name or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A message to be composed.

    Where several addresses, identifiers or files can be given, one alone can be, too. Texts for headers have no line
    ends or other control characters; line ends of `text` and `html` may be of any system.

    Attributes:
        from_: who writes.
        sender: who sends it, if that is somebody else.
        reply_to: where replies are to go, if not to `from_`.
        to: recipients.
        cc: further recipients.
        bcc: recipients of whom the message does not tell.
        subject: empty for none.
        date: with its zone; None for the time of composing.
        message_id: as `<local@example.com>`; empty for a new one.
        references: identifiers of the messages before it in its thread, oldest first.
        in_reply_to: identifiers of those it replies to. Without them, the last of `references` is it; with them, and no
            `references`, they are these.
        headers: (name, value) of further fields, in order. Values of ASCII stand as they are.
        user_agent: what composed it; empty for no field. Not used if `headers` has User-Agent or X-Mailer.
        text: plain text; empty for none.
        html: the same in HTML; empty for none.
        alternatives: further forms of the same, as a calendar entry; best last.
        inline: files that are part of it, as images in HTML.
        attachments: other files.
        received: a Received field to be put before all others.

    Raises:
        InvalidDraft: something cannot be written; `field` says what.
    """

    from_: AddressLike
    sender: AddressLike | None = None
    reply_to: AddressLike | Sequence[AddressLike] = ()
    to: AddressLike | Sequence[AddressLike] = ()
    cc: AddressLike | Sequence[AddressLike] = ()
    bcc: AddressLike | Sequence[AddressLike] = ()
    subject: str = ""
    date: datetime | None = None
    message_id: str = ""
    references: str | Sequence[str] = ()
    in_reply_to: str | Sequence[str] = ()
    headers: Sequence[tuple[str, str]] = ()
    user_agent: str = USER_AGENT
    text: str = field(default="", repr=False)
    html: str = field(default="", repr=False)
    alternatives: File | Sequence[File] = ()
    inline: File | Sequence[File] = ()
    attachments: File | Sequence[File] = ()
    received: Received | None = None

    def __post_init__(self) -> None:
        self._take_addresses()
        self._take_identifiers()
        check_text("subject", self.subject)
        if self.date is not None:
            date_text(self.date)
        _check_value("user_agent", self.user_agent)
        _check_body("text", self.text)
        _check_body("html", self.html)
        for name in ("alternatives", "inline", "attachments"):
            files: File | Sequence[File] = getattr(self, name)
            object.__setattr__(self, name, (files,) if isinstance(files, File) else tuple(files))
        if self.headers:
            object.__setattr__(self, "headers", tuple((name, value) for name, value in self.headers))
            _check_headers(self)

    def _take_addresses(self) -> None:
        object.__setattr__(self, "from_", _named("from_", self.from_))
        if self.sender is not None:
            object.__setattr__(self, "sender", _named("sender", self.sender))
        for name in ("reply_to", "to", "cc", "bcc"):
            addresses: AddressLike | Sequence[AddressLike] = getattr(self, name)
            if addresses != ():
                object.__setattr__(self, name, _addresses(name, addresses))

    def _take_identifiers(self) -> None:
        if self.message_id:
            check_text("message_id", self.message_id)
            if not _is_identifier(self.message_id) or "@" not in self.message_id:
                raise InvalidDraft("not a message identifier in angle brackets", "message_id", value=self.message_id)
        for name in ("references", "in_reply_to"):
            identifiers: str | Sequence[str] = getattr(self, name)
            if identifiers:
                object.__setattr__(self, name, _identifiers(name, identifiers))


def addresses_in(value: AddressLike | Sequence[AddressLike] | None) -> tuple[NamedAddress, ...]:
    """Return the addresses of an attribute of a `Draft`, which were made `NamedAddress`es with it."""
    if value is None:
        return ()
    return (value,) if isinstance(value, NamedAddress) else cast("tuple[NamedAddress, ...]", value)


def files_in(value: File | Sequence[File]) -> tuple[File, ...]:
    """Return the files of an attribute of a `Draft`."""
    return cast("tuple[File, ...]", value)


def identifiers_in(value: str | Sequence[str]) -> tuple[str, ...]:
    """Return the identifiers of an attribute of a `Draft`."""
    return cast("tuple[str, ...]", value or ())


def _named(where: str, value: AddressLike) -> NamedAddress:
    if isinstance(value, NamedAddress):
        return value
    try:
        return NamedAddress(address=value)
    except InvalidDraft as error:
        raise InvalidDraft(error.reason, where, value=error.value) from error.__cause__


def _addresses(where: str, value: AddressLike | Sequence[AddressLike]) -> tuple[NamedAddress, ...]:
    if isinstance(value, NamedAddress | str):
        value = (value,)
    return tuple(_named(f"{where}[{index}]", one) for index, one in enumerate(value))


def _identifiers(where: str, value: str | Sequence[str]) -> tuple[str, ...]:
    values = (value,) if isinstance(value, str) else value
    return tuple(_bracketed(f"{where}[{index}]", identifier) for index, identifier in enumerate(values))


def _bracketed(where: str, identifier: str) -> str:
    """Return an identifier in angle brackets, which it may lack."""
    check_text(where, identifier)
    bracketed = identifier if identifier.startswith("<") else f"<{identifier}>"
    if not _is_identifier(bracketed):
        raise InvalidDraft("not an identifier", where, value=identifier)
    return bracketed


def _is_identifier(text: str) -> bool:
    return _identifier(text) is not None and len(text.encode()) <= MAX_IDENTIFIER


def _check_body(where: str, text: str) -> None:
    if text.isascii():
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidDraft("a lone surrogate, which is no character", where) from error


def _check_headers(draft: Draft) -> None:
    seen: set[str] = set()
    for index, (name, value) in enumerate(draft.headers):
        where = f"headers[{index}]"
        if not _field_name(name) or len(name) > MAX_FIELD_NAME:
            raise InvalidDraft("not a name of a header field", f"{where}.name", value=name)
        lowered = name.lower()
        if lowered in _OWN or lowered.startswith("content-"):
            raise InvalidDraft("a field that is written from the draft", f"{where}.name", value=name)
        from_draft = _ONCE.get(lowered)
        if from_draft is not None:
            if lowered in seen or any(getattr(draft, attribute) for attribute in from_draft):
                raise InvalidDraft("a field that a message has once", f"{where}.name", value=name)
            seen.add(lowered)
        _check_value(f"{where}.value", value)


def _check_value(where: str, value: str) -> None:
    """Check a value, of which ASCII stands as it is: it may have a form that encoded words would break."""
    check_text(where, value)
    if len(value) > HARD_LIMIT and any(len(token) > HARD_LIMIT and token.isascii() for token in split_tokens(value)):
        raise InvalidDraft(f"a word of more than {HARD_LIMIT} octets, which is too long for a line", where, value=value)
