"""The checks of a request to send: each error, and which of two comes first."""

from typing import Any

import pytest

from moxlib.dns import parse_domain
from moxlib.message import File as DraftFile
from moxlib.message import NamedAddress
from moxlib.smtp import parse_address
from moxlib.webapi import Code, File, NameAddress, SendRequest, Upload, Uploads, WebAPIError
from moxlib.webapi.accounts import Account, LoggedIn, SenderAddress, SenderDomain
from moxlib.webapi.content import NO_UPLOADS
from moxlib.webapi.drafts import draft_of, envelope_of

ME = NamedAddress(address="me@here.example")
A = NameAddress(name="A", address="a@a.example")
BAD = NameAddress(address="nobody")


def login() -> LoggedIn:
    here = SenderDomain(domain=parse_domain("here.example"))
    off = SenderDomain(domain=parse_domain("off.example"), disabled=True)
    me = SenderAddress(domain=here.domain, localpart="me", full_name="Me Here")
    account = Account(name="me", addresses=(me,), domains={"here.example": here, "off.example": off})
    return LoggedIn(account=account, address=parse_address("me+x@here.example"))


# Each wrong in one more way than the next, so that the first one's code shows which check comes first.
WRONGS: tuple[tuple[Code, dict[str, Any]], ...] = (
    (Code.MISSING_BODY, {"text": ""}),
    (Code.MULTIPLE_FROM, {"from_": (BAD, BAD)}),
    (Code.BAD_ADDRESS, {"from_": (NameAddress(address="x@off.example"),), "cc": (BAD,)}),
    (Code.DOMAIN_DISABLED, {"from_": (NameAddress(address="x@off.example"),)}),
    (Code.BAD_FROM, {"from_": (NameAddress(address="other@here.example"),)}),
    (Code.NO_RECIPIENTS, {}),
)


@pytest.mark.parametrize("first", range(len(WRONGS)))
def test_the_checks_of_the_envelope_have_an_order(first: int) -> None:
    fields: dict[str, Any] = {"text": "x"}
    for _, wrong in reversed(WRONGS[first:]):
        fields |= wrong
    with pytest.raises(WebAPIError) as caught:
        envelope_of(SendRequest(**fields), login())
    assert caught.value.code is WRONGS[first][0]


def test_who_a_message_is_from() -> None:
    own = envelope_of(SendRequest(to=(A,), text="x"), login())
    assert (own.sender.address, own.sender.name) == ("me+x@here.example", "Me Here")
    given = envelope_of(SendRequest(from_=(NameAddress(address="ME@here.example"),), to=(A,), html="x"), login())
    assert (given.sender.address, given.sender.name) == ("ME@here.example", "")


def test_recipients_are_in_order() -> None:
    b, c = NameAddress(address="b@b.example"), NameAddress(address="c@c.example")
    envelope = envelope_of(SendRequest(to=(b, A), cc=(c,), bcc=(b,), text="x"), login())
    assert envelope.recipients == ("b@b.example", "a@a.example", "c@c.example", "b@b.example")


@pytest.mark.parametrize(
    ("fields", "code", "where"),
    [
        ({"message_id": "a@b"}, Code.MALFORMED_MESSAGE_ID, "Message-ID"),
        ({"message_id": "<>"}, Code.MALFORMED_MESSAGE_ID, "MessageID"),
        ({"message_id": "<a\n@b>"}, Code.USER, "MessageID"),
        ({"message_id": "a@b", "reply_to": (BAD,)}, Code.MALFORMED_MESSAGE_ID, "Message-ID"),
        ({"reply_to": (BAD,)}, Code.BAD_ADDRESS, "ReplyTo"),
        ({"to": (A, NameAddress(name="\n", address="a@a.example"))}, Code.USER, "To[1].name"),
        ({"subject": "\r"}, Code.USER, "Subject"),
        ({"references": ("\0",)}, Code.USER, "References"),
        ({"headers": (("X-A", "a\nb"),)}, Code.USER, "Headers"),
        ({"attached_files": (File(data=b"", name="\n"),)}, Code.USER, "AttachedFiles[0]"),
        ({"inline_files": (File(data=b""), File(data=b"", content_type="no"))}, Code.USER, "InlineFiles[1]"),
    ],
)
def test_what_cannot_be_written(fields: dict[str, Any], code: Code, where: str) -> None:
    with pytest.raises(WebAPIError) as caught:
        draft_of(SendRequest(text="x", **fields), NO_UPLOADS, ME)
    assert caught.value.code is code
    assert where in caught.value.message


def test_files_have_the_types_that_they_look_like() -> None:
    request = SendRequest(text="x", attached_files=(File(data=b"%PDF-1.7"), File(data=b"%PDF-1.7", content_type="a/b")))
    uploads = Uploads(attached=(Upload(content=b"\x89PNG\r\n\x1a\n"),))
    draft = draft_of(request, uploads, ME, message_id="<made@x>")
    assert not isinstance(draft.attachments, DraftFile)
    assert [file.content_type for file in draft.attachments] == ["application/pdf", "a/b", "image/png"]
    assert draft.message_id == "<made@x>"
    assert (
        draft_of(SendRequest(text="x", message_id="<own@x>"), uploads, ME, message_id="<made@x>").message_id
        == "<own@x>"
    )
