"""Payloads: their JSON in mox's form, what is read of newer and older senders, and what is refused."""

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.webhook import (
    Incoming,
    IncomingMeta,
    InvalidPayload,
    NameAddress,
    Outgoing,
    OutgoingEvent,
    Structure,
    decode,
    decode_any,
    encode,
    join,
)
from moxlib.webhook.codec import MAX_DEPTH
from moxlib.webhook.gotime import read_time, write_time

WHEN = datetime(2026, 3, 4, 5, 6, 7, 250_000, tzinfo=UTC)

FAILED = Outgoing(
    event=OutgoingEvent.FAILED,
    dsn=True,
    suppressing=True,
    queue_msg_id=12,
    from_id="abcdEFGH-_12",
    message_id="<m1@example.org>",
    subject="Größe & mehr",
    webhook_queued=WHEN,
    smtp_code=550,
    smtp_enhanced_code="5.1.1",
    error="no such <user>",
    extra={"order": "17", "customer": "ann"},
)
FAILED_JSON = (
    r'{"Version":0,"Event":"failed","DSN":true,"Suppressing":true,"QueueMsgID":12,"FromID":"abcdEFGH-_12",'
    r'"MessageID":"\u003cm1@example.org\u003e","Subject":"Größe \u0026 mehr","WebhookQueued":"2026-03-04T05:06:07.25Z",'
    r'"SMTPCode":550,"SMTPEnhancedCode":"5.1.1","Error":"no such \u003cuser\u003e",'
    r'"Extra":{"customer":"ann","order":"17"}}'
)

RECEIVED = Incoming(
    from_=(NameAddress(name="Alice", address="alice@example.org"),),
    to=(NameAddress(address="bob@example.com"), NameAddress(name="Carol", address="carol@example.com")),
    cc=(NameAddress(address="cc@example.com"),),
    bcc=(NameAddress(address="bcc@example.com"),),
    reply_to=(NameAddress(address="reply@example.com"),),
    subject="test",
    message_id="<m2@example.org>",
    in_reply_to="<m1@example.org>",
    references=("<m0@example.org>", "<m1@example.org>"),
    date=datetime(2024, 1, 1, 10, tzinfo=timezone(timedelta(hours=1))),
    text="x\n",
    html="<p>x",
    structure=Structure(
        content_type="multipart/mixed",
        content_type_params={"boundary": "b"},
        parts=(
            Structure(content_type="text/plain", content_type_params={"charset": "utf-8"}, decoded_size=3),
            Structure(
                content_type="image/png",
                content_id="<i@x>",
                content_disposition="inline",
                filename="ä.png",
                decoded_size=99,
            ),
        ),
    ),
    meta=IncomingMeta(
        msg_id=1000,
        mail_from="alice@example.org",
        mail_from_validated=True,
        msg_from_validated=True,
        rcpt_to="bob@example.com",
        dkim_verified_domains=("example.org",),
        remote_ip="192.0.2.7",
        received=WHEN,
        mailbox_name="Inbox",
        automated=True,
    ),
)


def test_outgoing_is_written_as_mox_does() -> None:
    assert encode(FAILED).decode() == FAILED_JSON
    assert decode(FAILED_JSON.encode()) == FAILED


def test_a_payload_without_anything_has_zero_values_and_no_null() -> None:
    written = json.loads(encode(Outgoing(event="delivered", webhook_queued=WHEN)))
    assert written == {
        "Version": 0,
        "Event": "delivered",
        "DSN": False,
        "Suppressing": False,
        "QueueMsgID": 0,
        "FromID": "",
        "MessageID": "",
        "Subject": "",
        "WebhookQueued": "2026-03-04T05:06:07.25Z",
        "SMTPCode": 0,
        "SMTPEnhancedCode": "",
        "Error": "",
        "Extra": {},
    }


def test_incoming_is_read_back_and_has_moxs_fields_in_moxs_order() -> None:
    written = encode(RECEIVED)
    assert decode(written) == RECEIVED
    value = json.loads(written)
    assert " ".join(value) == (
        "Version From To CC BCC ReplyTo Subject MessageID InReplyTo References Date Text HTML Structure Meta"
    )
    assert " ".join(value["Meta"]) == (
        "MsgID MailFrom MailFromValidated MsgFromValidated RcptTo DKIMVerifiedDomains RemoteIP Received MailboxName"
        " Automated"
    )
    assert " ".join(value["Structure"]) == (
        "ContentType ContentTypeParams ContentID ContentDisposition Filename DecodedSize Parts"
    )
    assert value["To"] == [
        {"Name": "", "Address": "bob@example.com"},
        {"Name": "Carol", "Address": "carol@example.com"},
    ]
    assert value["Structure"]["Parts"][1]["Filename"] == "ä.png"
    assert value["Date"] == "2024-01-01T10:00:00+01:00"


def test_an_empty_incoming_has_empty_lists_and_a_null_date() -> None:
    written = json.loads(encode(Incoming(structure=Structure(), meta=IncomingMeta(received=WHEN))))
    assert [name for name, value in written.items() if value is None] == ["Date"]
    assert written["References"] == []
    assert written["Meta"]["DKIMVerifiedDomains"] == []
    assert written["Structure"]["ContentTypeParams"] == {}
    assert written["Structure"]["Parts"] == []


def test_what_a_newer_sender_adds_is_passed_over() -> None:
    value = json.loads(encode(RECEIVED))
    value["New"] = {"x": [1.5, None, True]}
    value["Meta"]["New"] = 1.5e300
    value["Structure"]["Parts"][0]["New"] = "x"
    value["From"][0]["New"] = []
    assert decode(json.dumps(value).encode()) == RECEIVED


def test_an_event_that_is_new_is_a_plain_text() -> None:
    newer = decode(FAILED_JSON.replace("failed", "recalled").encode())
    assert isinstance(newer, Outgoing)
    assert newer.event == "recalled"
    assert not isinstance(newer.event, OutgoingEvent)
    assert isinstance(Outgoing(event="complained", webhook_queued=WHEN).event, OutgoingEvent)


def test_what_is_missing_or_null_is_the_zero_value() -> None:
    zero = datetime(1, 1, 1, tzinfo=UTC)
    assert decode(b'{"Event":"delayed"}') == Outgoing(event="delayed", webhook_queued=zero)
    assert decode(b'{"Event":"delayed","Extra":null,"Subject":null,"DSN":null,"SMTPCode":null}') == Outgoing(
        event="delayed", webhook_queued=zero
    )
    empty = Incoming(structure=Structure(), meta=IncomingMeta(received=zero))
    assert decode(b'{"Meta":null,"Structure":null,"From":null,"Date":null}') == empty


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b"\xff{}", "the body is not JSON"),
        (b'{"Event":"x"} {}', "the body is not JSON"),
        ('{"Event":"x"}'.encode("utf-16"), "the body is not JSON"),
        (b'{"Event":"x","SMTPCode":NaN}', "the body is not JSON"),
        (b'{"Event":"x","SMTPCode":' + b"9" * 5000 + b"}", "the body is not JSON"),
        (b"[" * 100_000, "the body is not JSON"),
        (b"null", "the body is no object"),
        (b"[]", "the body is no object"),
        (b"{}", "the body has neither an Event nor a Meta"),
        (b'{"Event":""}', "the body has neither an Event nor a Meta"),
        (b'{"event":"failed"}', "the body has neither an Event nor a Meta"),
        (b'{"Event":5}', "Event is no text"),
        (b'{"Event":"x","DSN":1}', "DSN is not true or false"),
        (b'{"Event":"x","SMTPCode":550.0}', "SMTPCode is no integer of 64 bits"),
        (b'{"Event":"x","SMTPCode":true}', "SMTPCode is no integer of 64 bits"),
        (b'{"Event":"x","QueueMsgID":9223372036854775808}', "QueueMsgID is no integer of 64 bits"),
        (b'{"Event":"x","WebhookQueued":"yesterday"}', "WebhookQueued is no time of RFC 3339"),
        (b'{"Event":"x","WebhookQueued":0}', "WebhookQueued is no time of RFC 3339"),
        (b'{"Event":"x","Extra":{"a":1}}', "Extra is no object of texts"),
        (b'{"Event":"x","Extra":[]}', "Extra is no object of texts"),
        (b'{"Meta":[]}', "Meta is no object"),
        (b'{"Meta":{"MsgID":"1"}}', "Meta.MsgID is no integer of 64 bits"),
        (b'{"Meta":{},"From":{}}', "From is no list"),
        (b'{"Meta":{},"From":[1]}', "From is no object"),
        (b'{"Meta":{},"Structure":{"Parts":[{"Parts":[{"DecodedSize":"1"}]}]}}', "Structure.Parts.Parts.DecodedSize "),
    ],
)
def test_what_is_no_payload_is_refused_with_where(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidPayload) as caught:
        decode(body)
    assert caught.value.reason.startswith(reason)
    assert caught.value.status == 400


def nested(depth: int) -> Structure:
    structure = Structure(content_type="text/plain")
    for _ in range(depth):
        structure = Structure(content_type="multipart/mixed", parts=(structure,))
    return structure


def incoming_with(structure: Structure) -> Incoming:
    return Incoming(structure=structure, meta=IncomingMeta(received=WHEN))


def test_the_depth_of_parts_is_bounded_in_both_directions() -> None:
    deepest = incoming_with(nested(MAX_DEPTH))
    written = encode(deepest)
    assert decode(written) == deepest
    with pytest.raises(InputError, match="parts in parts"):
        encode(incoming_with(nested(MAX_DEPTH + 1)))
    part = b'{"ContentType":"text/plain",'
    assert written.count(part) == 1
    with pytest.raises(InvalidPayload, match="is deeper than 100 parts"):
        decode(written.replace(b'"Parts":[]', b'"Parts":[{}]'))


def test_lone_surrogates_become_replacement_characters_as_in_go() -> None:
    read = decode(rb'{"Event":"x","Subject":"a\ud800b\ud83d\ude00","Extra":{"\udc00":"\ud800"}}')
    assert isinstance(read, Outgoing)
    assert (read.subject, dict(read.extra)) == ("a\ufffdb\U0001f600", {"\ufffd": "\ufffd"})
    assert json.loads(encode(Outgoing(event="x", webhook_queued=WHEN, error="\ud800")))["Error"] == "\ufffd"


def test_line_separators_are_escaped_as_in_go() -> None:
    assert rb'"Error":"\u2028\u2029"' in encode(Outgoing(event="x", webhook_queued=WHEN, error="\u2028\u2029"))


def test_several_payloads_in_one_body() -> None:
    body = join([encode(FAILED), encode(RECEIVED)])
    assert decode_any(body) == (FAILED, RECEIVED)
    assert decode_any(encode(FAILED)) == (FAILED,)
    with pytest.raises(InvalidPayload, match="empty list"):
        decode_any(b"[]")
    with pytest.raises(InvalidPayload, match="no object"):
        decode_any(b"[[]]")


def test_payloads_keep_what_they_were_made_of() -> None:
    extra = {"a": "b"}
    made = Outgoing(event="x", webhook_queued=WHEN, extra=extra)
    extra["a"] = "c"
    assert made.extra == {"a": "b"}
    assert hash(made) == hash(Outgoing(event="x", webhook_queued=WHEN))


@pytest.mark.parametrize(
    ("what", "values"),
    [
        (Outgoing, {"event": "x", "webhook_queued": WHEN.replace(tzinfo=None)}),
        (Outgoing, {"event": "x", "webhook_queued": WHEN, "queue_msg_id": 2**63}),
        (Structure, {"decoded_size": 2**63}),
        (IncomingMeta, {"received": WHEN, "msg_id": -(2**63) - 1}),
        (IncomingMeta, {"received": WHEN.replace(tzinfo=None)}),
        (
            Incoming,
            {
                "structure": Structure(),
                "meta": IncomingMeta(received=WHEN),
                "date": WHEN.replace(tzinfo=None),
            },
        ),
    ],
)
def test_what_has_no_json_cannot_be_made(what: type, values: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        what(**values)


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2024, 1, 1, 10, tzinfo=UTC), "2024-01-01T10:00:00Z"),
        (datetime(2024, 1, 1, 10, 0, 0, 10, tzinfo=UTC), "2024-01-01T10:00:00.00001Z"),
        (datetime(2024, 1, 1, 10, 0, 0, 500_000, tzinfo=UTC), "2024-01-01T10:00:00.5Z"),
        (
            datetime(2024, 1, 1, 10, 0, 10, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
            "2024-01-01T10:00:10-03:30",
        ),
        (datetime(2024, 1, 1, 10, tzinfo=timezone(timedelta(0), "GMT")), "2024-01-01T10:00:00Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00Z"),
    ],
)
def test_times_are_gos(time: datetime, text: str) -> None:
    assert write_time(time) == text
    assert read_time(text) == time
    assert read_time(text).utcoffset() == time.utcoffset()


def test_odd_offsets_become_utc_and_nanoseconds_are_cut() -> None:
    odd = datetime(1900, 1, 1, tzinfo=timezone(timedelta(minutes=19, seconds=32)))
    assert write_time(odd) == "1899-12-31T23:40:28Z"
    assert read_time("2024-01-01T10:00:00.123456789Z").microsecond == 123_456


@pytest.mark.parametrize(
    "text",
    [
        "2024-01-01T10:00:00",
        "2024-01-01 10:00:00Z",
        "2024-01-01t10:00:00z",
        "2024-13-01T10:00:00Z",
        "2024-01-01T10:00:60Z",
        "2024-01-01T10:00:00+24:00",
        "2024-01-01T10:00:00+01:60",
        "2024-01-01T10:00:00.Z",
        "2024-01-01T10:00:00.1234567890Z",
        "٢٠٢٤-01-01T10:00:00Z",
        "0000-01-01T00:00:00Z",
        "2024-01-01T10:00:00Z\n",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"time|offset|month|second|year"):
        read_time(text)
