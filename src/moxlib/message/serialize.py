"""Messages made with the standard library's `email` package: the octets to send, and whom to."""

import copy
import io
import re
from email.errors import MessageError
from email.generator import BytesGenerator
from email.headerregistry import Address, AddressHeader, Group
from email.message import Message
from email.policy import EmailPolicy
from typing import TYPE_CHECKING, Any, TypeAlias

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.message.addresses import split_addresses
from moxlib.message.envelope import AddressFields, Envelope
from moxlib.message.errors import InvalidMessage

__all__ = ["envelope_of", "serialize"]

if TYPE_CHECKING:
    AnyMessage: TypeAlias = Message[Any, Any]
else:
    AnyMessage = Message  # generic to type checkers only, before Python 3.13

_ADDRESS_FIELDS = ("from", "sender", "to", "cc", "bcc")
_ENVELOPE_FIELDS = frozenset((*_ADDRESS_FIELDS, *("resent-" + name for name in _ADDRESS_FIELDS), "resent-date"))
# What the package raises for a message it cannot write: its own errors, UnicodeError, unknown charsets, and whatever
# comes of a payload of a type that it does not know or of parts within parts without end.
_CANNOT_WRITE = (MessageError, UnicodeError, LookupError, TypeError, AttributeError, RecursionError)
_name = re.compile(r"[!-9;-~]+").fullmatch
_fold = re.compile(r"\r?\n(?=[ \t])")


def serialize(message: AnyMessage) -> bytes:
    """Return a message as octets with CRLF line ends and without Bcc and Resent-Bcc fields.

    The caller's message is not changed. Non-ASCII text in headers becomes encoded words, and an international domain
    its ASCII form. For a localpart that is not ASCII there is no such form: with one in it, the header is written in
    UTF-8 (and needs SMTPUTF8).

    Raises:
        InvalidMessage: a line end within a header (an injection of further ones) or another break of its form in any
            part, or something that the `email` package cannot write.
    """
    try:
        return _written(message)
    except _CANNOT_WRITE as err:
        raise InvalidMessage("the email package cannot write it") from err


def _written(message: AnyMessage) -> bytes:
    bare = _copied(message)
    del bare["Bcc"]
    del bare["Resent-Bcc"]
    for part in bare.walk():
        _check_fields(part)
    policy = message.policy
    if isinstance(policy, EmailPolicy) and not policy.utf8:
        _use_ascii_domains(bare)
        if _has_international_address(bare):
            policy = policy.clone(utf8=True)
    out = io.BytesIO()
    generator: BytesGenerator[AnyMessage] = BytesGenerator(out, mangle_from_=False, policy=policy)
    generator.flatten(bare, linesep="\r\n")
    data = out.getvalue()
    return data if data.endswith(b"\r\n") else data + b"\r\n"


def envelope_of(message: AnyMessage) -> Envelope:
    """Return the sender and the recipients that a message's header names, as addr-specs that were not checked yet.

    The sender is Sender, else the first of From; the recipients are those of To, Cc and Bcc. If the message was resent
    (it has a Resent-Date), the Resent- forms of these fields count instead. That is what `smtplib` does.

    Returns:
        (sender, recipients): the sender is empty if there is none; recipients come in order, each once.

    Raises:
        InvalidMessage: it was resent more than once.
    """
    return AddressFields(
        (lowered, _specs(value)) for name, value in message.items() if (lowered := name.lower()) in _ENVELOPE_FIELDS
    ).envelope()


def _specs(value: object) -> list[str]:
    """Return the addr-specs of a field's value; the `email` package has parsed those of modern messages already."""
    if isinstance(value, AddressHeader):
        return [address.addr_spec for address in value.addresses]
    return split_addresses(str(value))


def _copied(message: object) -> AnyMessage:
    """Copy the tree of parts, but not their headers and contents: writing a message may set boundaries in it."""
    if not isinstance(message, Message):
        raise TypeError("a part that is no message")
    copied = copy.copy(message)
    payload = message.get_payload()
    if isinstance(payload, list):
        copied.set_payload([_copied(part) for part in payload])
    return copied


def _check_fields(part: AnyMessage) -> None:
    """Check that each field is one, however the `email` package would split it: it knows more line ends than SMTP."""
    for name, value in part.raw_items():
        text = _fold.sub("", str(value))
        if not _name(name):
            raise InvalidMessage("not a header field name")
        if "\0" in text or len(text.splitlines()) > 1 or text.endswith(("\r", "\n")):
            raise InvalidMessage("a line end or NUL in a header value")


def _use_ascii_domains(message: AnyMessage) -> None:
    """Give the domains in address fields their ASCII form, which the `email` package does not know how to write."""
    for name, value in message.items():
        if isinstance(value, AddressHeader) and any(not address.domain.isascii() for address in value.addresses):
            groups = [Group(group.display_name, tuple(map(_in_ascii, group.addresses))) for group in value.groups]
            message.replace_header(name, groups)


def _in_ascii(address: Address) -> Address:
    try:
        domain = parse_domain(address.domain, numeric_tld=True).ascii
    except InvalidDomain:  # for the caller's `parse_address` to refuse, if it is to be mailed to
        return address
    return Address(display_name=address.display_name, username=address.username, domain=domain)


def _has_international_address(message: AnyMessage) -> bool:
    return any(
        not spec.isascii()
        for name, value in message.items()
        if name.lower() in _ENVELOPE_FIELDS
        for spec in _specs(value)
    )
