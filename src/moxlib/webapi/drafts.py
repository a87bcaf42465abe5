"""From a request to send to what is composed: the checks, in mox's order, and their errors. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final

from moxlib.message import Draft, File, InvalidDraft, NamedAddress, detect_content_type
from moxlib.smtp import Address, InvalidAddress, parse_address
from moxlib.webapi import types as t
from moxlib.webapi.accounts import DomainDisabled, LoggedIn, MayNotSend, SenderDomain
from moxlib.webapi.content import Upload, Uploads
from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webhook import NameAddress

HEAD: Final = 512  # octets by which a file's type is found out

__all__ = ["Envelope", "allowed_domain", "as_error", "draft_of", "envelope_of", "parsed_address"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Who a message is from and for.

    Attributes:
        sender: with its name.
        domain: what is known of the sender's domain.
        recipients: the addresses of To, CC and BCC, in this order, as the request has them.
    """

    sender: NamedAddress
    domain: SenderDomain
    recipients: tuple[str, ...]


def envelope_of(request: t.SendRequest, login: LoggedIn) -> Envelope:
    """Return who a message is from and for.

    Raises:
        WebAPIError: missingBody, multipleFrom, badAddress, domainDisabled, badFrom or noRecipients, whichever comes
            first in this order.
    """
    if not request.text and not request.html:
        raise WebAPIError(Code.MISSING_BODY, "a message needs text or HTML")
    if len(request.from_) > 1:
        raise WebAPIError(Code.MULTIPLE_FROM, "a message has one From address")
    given = request.from_[0] if request.from_ else NameAddress(address=login.address.pack(smtputf8=True))
    author = parsed_address("From", given.address)
    for name, addresses in (("To", request.to), ("CC", request.cc), ("BCC", request.bcc)):
        for each in addresses:
            parsed_address(name, each.address)
    domain, full_name = allowed_domain(login, author)
    recipients = tuple([each.address for each in (*request.to, *request.cc, *request.bcc)])
    if not recipients:
        raise WebAPIError(Code.NO_RECIPIENTS, "there is nobody to send to")
    name = given.name if request.from_ else full_name
    try:
        sender = NamedAddress(address=given.address, name=name)
    except InvalidDraft as error:
        raise as_error(_within("From.", error)) from error
    return Envelope(sender=sender, domain=domain, recipients=recipients)


def parsed_address(name: str, address: str) -> Address:
    """Return an address of a request's field.

    Raises:
        WebAPIError: badAddress.
    """
    try:
        return parse_address(address)
    except InvalidAddress as error:
        raise WebAPIError(Code.BAD_ADDRESS, f"{name}: {error}") from error


def allowed_domain(login: LoggedIn, author: Address) -> tuple[SenderDomain, str]:
    """Return the domain of an address that the login may send from, and the name of who does.

    Raises:
        WebAPIError: domainDisabled or badFrom.
    """
    permission = login.account.permission(author)
    if isinstance(permission, DomainDisabled):
        raise WebAPIError(Code.DOMAIN_DISABLED, "nothing is sent from the domain of the From address for now")
    if isinstance(permission, MayNotSend):
        raise WebAPIError(Code.BAD_FROM, "the From address is not one of this account's")
    return permission.domain, permission.full_name


def draft_of(request: t.SendRequest, uploads: Uploads, sender: NamedAddress, *, message_id: str = "") -> Draft:
    """Return what is composed for a request.

    Args:
        request: the message.
        uploads: files beside it.
        sender: who it is from.
        message_id: its Message-ID, if the request has none; "" has one made.

    Raises:
        WebAPIError: badAddress, malformedMessageID, or user for anything else that cannot be written.
    """
    own = request.message_id
    if own and not (own.startswith("<") and own.endswith(">")):
        raise WebAPIError(Code.MALFORMED_MESSAGE_ID, "a Message-ID stands in <>")
    for each in request.reply_to:
        parsed_address("ReplyTo", each.address)
    try:
        return Draft(
            from_=sender,
            reply_to=_named("ReplyTo", request.reply_to),
            to=_named("To", request.to),
            cc=_named("CC", request.cc),
            bcc=_named("BCC", request.bcc),
            subject=request.subject,
            date=request.date,
            message_id=own or message_id,
            references=request.references,
            headers=request.headers,
            text=request.text,
            html=request.html,
            alternatives=tuple(_files("AlternativeFiles", request.alternative_files, uploads.alternative)),
            inline=tuple(_files("InlineFiles", request.inline_files, uploads.inline)),
            attachments=tuple(_files("AttachedFiles", request.attached_files, uploads.attached)),
        )
    except InvalidDraft as error:
        raise as_error(error) from error


# How requests call what a draft calls otherwise.
_NAMES: Final = {
    "from_": "From",
    "reply_to": "ReplyTo",
    "to": "To",
    "cc": "CC",
    "bcc": "BCC",
    "subject": "Subject",
    "date": "Date",
    "message_id": "MessageID",
    "references": "References",
    "in_reply_to": "References",
    "headers": "Headers",
    "text": "Text",
    "html": "HTML",
    "alternatives": "AlternativeFiles",
    "inline": "InlineFiles",
    "attachments": "AttachedFiles",
}


def as_error(error: InvalidDraft) -> WebAPIError:
    """Return what a method answers with for what cannot be written."""
    name = error.field.partition("[")[0].partition(".")[0]
    rest = error.field[len(name) :]
    controls = any(character < " " or character == "\x7f" for character in error.value)
    malformed = name == "message_id" and not controls
    return WebAPIError(
        Code.MALFORMED_MESSAGE_ID if malformed else Code.USER, f"{_NAMES.get(name, name)}{rest}: {error.reason}"
    )


def _within(path: str, error: InvalidDraft) -> InvalidDraft:
    """Return an error with the whole way to what is wrong."""
    return InvalidDraft(error.reason, f"{path}{error.field}", value=error.value)


def _named(field: str, addresses: Sequence[NameAddress]) -> tuple[NamedAddress, ...]:
    named = []
    for index, each in enumerate(addresses):
        try:
            named.append(NamedAddress(address=each.address, name=each.name))
        except InvalidDraft as error:
            raise _within(f"{field}[{index}].", error) from error
    return tuple(named)


def _files(field: str, files: Sequence[t.File], uploads: Sequence[Upload]) -> Iterator[File]:
    given: list[t.File | Upload] = [*files, *uploads]
    for index, each in enumerate(given):
        content = each.data if isinstance(each, t.File) else each.content
        data = Path(content) if isinstance(content, PathLike) else content
        try:
            yield File(
                data=data,
                name=each.name,
                content_type=each.content_type or detect_content_type(each.name, _head(data)),
                content_id=each.content_id,
            )
        except InvalidDraft as error:
            raise _within(f"{field}[{index}].", error) from error


def _head(data: bytes | Path | BinaryIO) -> bytes:
    """Return what a file begins with."""
    if isinstance(data, bytes):
        return data[:HEAD]
    if isinstance(data, Path):
        with data.open("rb") as file:
            return file.read(HEAD)
    data.seek(0)
    head = data.read(HEAD)
    data.seek(0)
    return head
