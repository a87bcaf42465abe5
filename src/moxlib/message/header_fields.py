"""The fields of a message's header that are written from its draft (RFC 5322 3.6, RFC 6532)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from moxlib.message.draft import Draft, NamedAddress, addresses_in, identifiers_in
from moxlib.message.encoded_text import SOFT_LIMIT, field, phrase, tokens_of
from moxlib.message.errors import InvalidDraft

__all__ = [
    "Addressing",
    "address_field",
    "further_fields",
    "refuse_international_identifiers",
    "subject_field",
    "thread_fields",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressing:
    """Who writes to whom."""

    author: NamedAddress
    sender: tuple[NamedAddress, ...]
    reply_to: tuple[NamedAddress, ...]
    to: tuple[NamedAddress, ...]
    cc: tuple[NamedAddress, ...]
    bcc: tuple[NamedAddress, ...]

    @classmethod
    def of(cls, draft: Draft) -> Self:
        """Take it from a draft."""
        [author] = addresses_in(draft.from_)
        return cls(
            author=author,
            sender=addresses_in(draft.sender),
            reply_to=addresses_in(draft.reply_to),
            to=addresses_in(draft.to),
            cc=addresses_in(draft.cc),
            bcc=addresses_in(draft.bcc),
        )

    @property
    def mail_from(self) -> str:
        """The address that sends it: Sender, else From, as `envelope_of` has it."""
        return str((self.sender or (self.author,))[0].parsed)

    @property
    def recipients(self) -> tuple[str, ...]:
        """The addresses of To, Cc and Bcc, each once."""
        return tuple(dict.fromkeys([str(one.parsed) for one in (*self.to, *self.cc, *self.bcc)]))

    @property
    def envelope_needs_smtputf8(self) -> bool:
        """Whether an address that the envelope may have is not ASCII before its "@"."""
        everybody = (self.author, *self.sender, *self.to, *self.cc, *self.bcc)
        return any(one.parsed.needs_smtputf8 for one in everybody)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether any address is not ASCII before its "@"."""
        return self.envelope_needs_smtputf8 or any(one.parsed.needs_smtputf8 for one in self.reply_to)

    def refuse_international(self) -> None:
        """Check that all addresses can be written without SMTPUTF8.

        Raises:
            InvalidDraft: one cannot.
        """
        if not self.needs_smtputf8:
            return
        for name in ("reply_to", "to", "cc", "bcc"):
            addresses: tuple[NamedAddress, ...] = getattr(self, name)
            for index, one in enumerate(addresses):
                _refuse_international(one, f"{name}[{index}]")
        for one in self.sender:
            _refuse_international(one, "sender")
        _refuse_international(self.author, "from_")

    def fields(self, *, utf8: bool) -> Iterator[str]:
        """Yield the fields, without Bcc."""
        yield address_field("From", (self.author,), utf8=utf8)
        yield address_field("Sender", self.sender, utf8=utf8)
        yield address_field("Reply-To", self.reply_to, utf8=utf8)
        yield address_field("To", self.to, utf8=utf8)
        yield address_field("Cc", self.cc, utf8=utf8)


def _refuse_international(address: NamedAddress, where: str) -> None:
    if address.parsed.needs_smtputf8:
        raise InvalidDraft("an address that needs SMTPUTF8", where, value=address.address)


def address_field(name: str, addresses: Sequence[NamedAddress], *, utf8: bool) -> str:
    """Return a field of addresses, folded between them if they are short; nothing if there are none."""
    tokens: list[str] = []
    for address in addresses:
        if tokens:
            tokens[-1] += ","
        spec = f"<{address.parsed.pack(utf8)}>"
        of_one = (
            [*phrase(address.name, used=1 if tokens else len(name) + 2, utf8=utf8), spec] if address.name else [spec]
        )
        whole = " ".join(of_one)
        tokens += (whole,) if len(whole) < SOFT_LIMIT - 1 else of_one
    return field(name, tokens) if tokens else ""


def refuse_international_identifiers(draft: Draft) -> None:
    """Check that all identifiers are ASCII; there is no other form of them.

    Raises:
        InvalidDraft: one is not.
    """
    for name, identifiers in (
        ("message_id", (draft.message_id,)),
        ("references", identifiers_in(draft.references)),
        ("in_reply_to", identifiers_in(draft.in_reply_to)),
    ):
        for identifier in identifiers:
            if not identifier.isascii():
                raise InvalidDraft("an identifier that needs SMTPUTF8", name, value=identifier)


def subject_field(subject: str, *, utf8: bool, keep_encoded_words: bool) -> str:
    """Return the Subject field; nothing if it is empty."""
    if not subject:
        return ""
    return field("Subject", tokens_of(subject, used=len("Subject: "), utf8=utf8, escape=not keep_encoded_words))


def thread_fields(draft: Draft) -> Iterator[str]:
    """Yield References and In-Reply-To (RFC 5322 3.6.4)."""
    references, in_reply_to = identifiers_in(draft.references), identifiers_in(draft.in_reply_to)
    if references or in_reply_to:
        yield field("References", references or in_reply_to)
        yield field("In-Reply-To", in_reply_to or references[-1:])


def further_fields(draft: Draft, *, utf8: bool) -> Iterator[str]:
    """Yield the caller's own fields, and User-Agent."""
    has_agent = False
    for name, value in draft.headers:
        yield field(name, tokens_of(value, used=len(name) + 2, utf8=utf8, escape=False))
        has_agent = has_agent or name.lower() in ("user-agent", "x-mailer")
    if draft.user_agent and not has_agent:
        yield field("User-Agent", tokens_of(draft.user_agent, used=len("User-Agent: "), utf8=utf8, escape=False))
