"""Any headers and any body are received, or refused by our error; what is received is written and read back."""

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moxlib.webhook import Call, Received, Secret, WebhookError, call_headers, decode, encode, receive

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
SECRET = Secret(bytes(32))

names = st.sampled_from(
    [
        "Version", "Event", "DSN", "QueueMsgID", "WebhookQueued", "Subject", "Extra", "From", "To", "References",
        "Date", "Structure", "Meta", "Name", "Address", "Parts", "ContentTypeParams", "DecodedSize", "Received",
        "MsgID", "New",
    ]
)  # fmt: skip
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.sampled_from(["2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59", "0001-01-01T00:00:00+23:59"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=3), inner, max_size=6),
    max_leaves=30,
)
bodies = st.binary() | values.map(lambda value: json.dumps(value).encode())
near = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("Event", "Meta", "Structure", "From", "Extra", "Date"), values)
)
headers = st.sampled_from(
    [
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "X-Mox-Webhook-ID",
        "x-mox-webhook-attempt",
        "Authorization",
    ]
)
texts = st.text(st.characters(codec=None)) | st.sampled_from(
    ["1", "1,2", "msg_1", "msg_1_2", "1772600767", "v1,AAAA v1,"]
)


def attempt(given_headers: Any, body: bytes, **options: Any) -> Received | WebhookError:
    try:
        return receive(given_headers, body, now=NOW, **options)
    except WebhookError as error:
        return error


def checked(given_headers: Any, body: bytes, **options: Any) -> None:
    received = attempt(given_headers, body, **options)
    if isinstance(received, WebhookError):
        assert len(str(received)) < 500
        assert str(received).isprintable()
        assert received.status in (400, 401, 413)
        return
    assert received.attempt >= 1
    for item in received.items:
        assert decode(encode(item.payload)) == item.payload


@given(st.dictionaries(headers, texts), bodies)
def test_any_headers(given_headers: dict[str, str], body: bytes) -> None:
    checked(given_headers, body, secrets=[SECRET])
    checked(given_headers, body, authorization="x")
    checked(list(given_headers.items()) * 2, body, unverified=True)


@given(st.dictionaries(headers.map(str.encode), st.binary()), bodies)
def test_any_octets(given_headers: dict[bytes, bytes], body: bytes) -> None:
    checked(list(given_headers.items()), body, secrets=[SECRET])
    checked(list(given_headers.items()), body, unverified=True)


@given(bodies | near.map(lambda value: json.dumps(value).encode()), st.integers(1, 3))
def test_any_body_rightly_signed(body: bytes, count: int) -> None:
    call = Call(ids=tuple(range(1, count + 1)), body=body)
    checked(call_headers(call, now=NOW, secrets=[SECRET]), body, secrets=[SECRET])


@given(st.lists(near, min_size=1, max_size=3))
def test_any_batch(payloads: list[dict[str, Any]]) -> None:
    call = Call(ids=tuple(range(1, len(payloads) + 1)), body=json.dumps(payloads).encode())
    checked(call_headers(call, now=NOW), call.body, unverified=True)
