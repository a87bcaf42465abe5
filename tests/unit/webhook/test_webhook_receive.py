"""Verifying and reading a call; and that signatures are those of Standard Webhooks' own package."""

import pickle
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.webhook import (
    MAX_BATCH,
    USER_AGENT,
    BodyTooLarge,
    Call,
    Incoming,
    IncomingMeta,
    InvalidAuthorization,
    InvalidHeaders,
    InvalidPayload,
    InvalidSecret,
    InvalidSignature,
    Outgoing,
    Received,
    Secret,
    StaleTimestamp,
    Structure,
    WebhookError,
    call_headers,
    check_authorization,
    encode,
    join,
    receive,
)

NOW = datetime(2026, 3, 4, 5, 6, 7, 890_000, tzinfo=UTC)
SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER = Secret(bytes(range(32)))
PAYLOAD = Outgoing(event="delivered", webhook_queued=NOW, subject="Grüße")
BODY = encode(PAYLOAD)
CALL = Call(ids=(12,), attempt=3, body=BODY)
SIGNED = call_headers(CALL, now=NOW, secrets=[SECRET])
MOX = {
    "Authorization": "Basic dXNlcm5hbWU6cGFzc3dvcmQ=",
    "Content-Type": "application/json; charset=utf-8",
    "User-Agent": "mox/v0.0.15 (webhook)",
    "X-Mox-Webhook-Attempt": "1",
    "X-Mox-Webhook-Id": "5",
}


def take(headers: Mapping[str, str], body: bytes = BODY, **options: Any) -> Received:
    return receive(headers, body, **{"secrets": [SECRET], "now": NOW, **options})


def test_a_call_has_moxs_headers() -> None:
    assert call_headers(CALL, now=NOW, authorization="Bearer x") == {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": USER_AGENT,
        "X-Mox-Webhook-ID": "12",
        "X-Mox-Webhook-Attempt": "3",
        "Authorization": "Bearer x",
    }
    assert "Authorization" not in call_headers(CALL, now=NOW)
    assert call_headers(CALL, now=NOW, user_agent="shop/1")["User-Agent"] == "shop/1"


def test_a_signed_call_has_those_of_standard_webhooks_as_well() -> None:
    assert SIGNED["webhook-id"] == "msg_12"
    assert SIGNED["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert SIGNED["webhook-signature"] == SECRET.sign("msg_12", int(NOW.timestamp()), BODY)
    both = call_headers(CALL, now=NOW, secrets=[SECRET, OTHER])["webhook-signature"].split(" ")
    assert both == [secret.sign("msg_12", int(NOW.timestamp()), BODY) for secret in (SECRET, OTHER)]


def test_a_signed_call_is_received() -> None:
    received = take(SIGNED)
    assert (received.id, received.attempt, received.payload) == (12, 3, PAYLOAD)


def test_the_known_signature_of_the_specification() -> None:
    # Of the test vectors of the libraries of Standard Webhooks.
    body = b'{"test": 2432232314}'
    signature = SECRET.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("secrets", [[SECRET, OTHER], [OTHER, SECRET], [SECRET], [SECRET.reveal()]])
def test_any_secret_verifies_while_one_replaces_the_other(secrets: list[Secret | str]) -> None:
    assert take(SIGNED, secrets=secrets).id == 12
    signed_twice = call_headers(CALL, now=NOW, secrets=[OTHER, SECRET])
    assert take(signed_twice, secrets=secrets).id == 12


def test_headers_come_in_any_form_that_frameworks_have() -> None:
    pairs = [(name.lower(), value) for name, value in SIGNED.items()]
    octets = [(name.encode(), value.encode()) for name, value in pairs]
    for headers in (dict(pairs), pairs, octets, {name.upper(): value for name, value in pairs}):
        assert receive(headers, BODY, secrets=[SECRET], now=NOW).id == 12


def test_ids_that_cannot_be_signed_are_refused() -> None:
    for id_ in ("msg_\ud800", "\ud800"):
        with pytest.raises(InvalidHeaders):
            take(SIGNED | {"webhook-id": id_})


def test_what_is_not_signed_is_refused() -> None:
    with pytest.raises(InvalidSignature):
        take(call_headers(CALL, now=NOW))
    with pytest.raises(InvalidSignature):
        take(SIGNED | {"webhook-signature": ""})


@pytest.mark.parametrize(
    "change",
    [
        {"webhook-id": "msg_13"},
        {"webhook-timestamp": str(int(NOW.timestamp()) + 1)},
        {"webhook-signature": OTHER.sign("msg_12", int(NOW.timestamp()), BODY)},
        {"webhook-signature": SIGNED["webhook-signature"].replace("v1,", "v1a,")},
        {"webhook-signature": SIGNED["webhook-signature"].removeprefix("v1,")},
        {"webhook-signature": SIGNED["webhook-signature"][:-1]},
        {"webhook-signature": "v1," + "é\ud800" * 20},
        {"webhook-signature": " ".join(["v1,x"] * 100 + [SIGNED["webhook-signature"]])},
    ],
)
def test_what_is_changed_is_refused(change: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature) as caught:
        take(SIGNED | change)
    assert caught.value.status == 401


def test_a_body_that_is_changed_is_refused_before_it_is_read() -> None:
    for body in (BODY + b" ", BODY[:-1], b"", b"no JSON"):
        with pytest.raises(InvalidSignature):
            take(SIGNED, body)


def test_other_signatures_beside_the_right_one_do_no_harm() -> None:
    signature = f"v2,abc v1,AAAA {SIGNED['webhook-signature']} v1a,xyz"
    assert take(SIGNED | {"webhook-signature": signature}).id == 12


@pytest.mark.parametrize("seconds", [-301, 302])
def test_a_time_too_far_off_is_refused(seconds: int) -> None:
    now = NOW.replace(microsecond=0) - timedelta(seconds=seconds)
    with pytest.raises(StaleTimestamp) as caught:
        take(SIGNED, now=now)
    assert (caught.value.status, caught.value.now) == (401, now)
    assert caught.value.timestamp == NOW.replace(microsecond=0)
    assert take(SIGNED, now=now, tolerance=timedelta(minutes=6)).id == 12


@pytest.mark.parametrize("seconds", [-300, 300])
def test_a_time_at_the_edge_is_taken(seconds: int) -> None:
    assert take(SIGNED, now=NOW.replace(microsecond=0) + timedelta(seconds=seconds)).id == 12


@pytest.mark.parametrize("timestamp", ["", "1.5", "+1", "01", "-1", "x", "9" * 12, "9" * 30, "\u0661"])
def test_what_is_no_timestamp_is_refused(timestamp: str) -> None:
    signature = SECRET.sign("msg_12", timestamp, BODY)
    with pytest.raises(InvalidHeaders) as caught:
        take(SIGNED | {"webhook-timestamp": timestamp, "webhook-signature": signature})
    assert caught.value.header == "webhook-timestamp"


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "X-Mox-Webhook-Attempt"])
def test_what_is_missing_is_named(header: str) -> None:
    with pytest.raises(InvalidHeaders) as caught:
        take({name: value for name, value in SIGNED.items() if name != header})
    assert (caught.value.header, caught.value.status) == (header.lower(), 400)


@pytest.mark.parametrize("header", sorted(SIGNED.keys() - {"Content-Type", "User-Agent"}))
def test_what_is_there_twice_is_refused(header: str) -> None:
    pairs = [*SIGNED.items(), (header.upper(), SIGNED[header])]
    with pytest.raises(InvalidHeaders, match="twice"):
        receive(pairs, BODY, secrets=[SECRET], now=NOW)


def test_the_id_of_a_signed_call_is_the_signed_one() -> None:
    replayed = SIGNED | {"X-Mox-Webhook-ID": "999"}
    assert take(replayed).id == 12
    assert take({name: value for name, value in SIGNED.items() if name != "X-Mox-Webhook-ID"}).id == 12


@pytest.mark.parametrize(
    "id_", ["12", "msg_", "msg_x", "msg_0", "msg_-1", "msg_12.5", "msg_9223372036854775808", "evt_1"]
)
def test_signed_ids_of_another_form_are_refused(id_: str) -> None:
    signature = SECRET.sign(id_, int(NOW.timestamp()), BODY)
    with pytest.raises(InvalidHeaders):
        take(SIGNED | {"webhook-id": id_, "webhook-signature": signature})


def test_moxs_own_calls_are_received_by_their_authorization() -> None:
    received = receive(MOX, BODY, authorization="Basic dXNlcm5hbWU6cGFzc3dvcmQ=")
    assert (received.id, received.attempt, received.payload) == (5, 1, PAYLOAD)


@pytest.mark.parametrize(
    "given", [None, "", "Basic dXNlcm5hbWU6cGFzc3dvcmQ", "basic dXNlcm5hbWU6cGFzc3dvcmQ=", "é\ud800"]
)
def test_another_authorization_is_refused(given: str | None) -> None:
    headers = {name: value for name, value in MOX.items() if name != "Authorization"}
    if given is not None:
        headers["Authorization"] = given
    with pytest.raises(InvalidAuthorization) as caught:
        receive(headers, BODY, authorization="Basic dXNlcm5hbWU6cGFzc3dvcmQ=")
    assert caught.value.status == 401
    assert "dXNl" not in str(caught.value)


def test_what_is_given_has_to_hold_both() -> None:
    both = call_headers(CALL, now=NOW, secrets=[SECRET], authorization="Bearer x")
    assert take(both, authorization="Bearer x").id == 12
    with pytest.raises(InvalidAuthorization):
        take(SIGNED, authorization="Bearer x")
    with pytest.raises(InvalidSignature):
        take(call_headers(CALL, now=NOW, authorization="Bearer x"), authorization="Bearer x")


def test_an_empty_authorization_is_something_to_verify_by() -> None:
    with pytest.raises(InvalidAuthorization):
        receive(MOX, BODY, authorization="")


def test_taking_calls_from_anybody_has_to_be_said() -> None:
    with pytest.raises(InputError, match="unverified=True"):
        receive(MOX, BODY)
    assert receive(MOX, BODY, unverified=True).id == 5


def test_unverified_does_not_switch_off_what_is_there_to_verify_by() -> None:
    with pytest.raises(InvalidSignature):
        receive(MOX, BODY, secrets=[SECRET], unverified=True)


@pytest.mark.parametrize("header", ["X-Mox-Webhook-Id", "X-Mox-Webhook-Attempt"])
@pytest.mark.parametrize("value", ["", "0", "-1", "x", "1.5", "9" * 20, "1,", "12 13", None])
def test_unsigned_ids_and_attempts_are_checked(header: str, value: str | None) -> None:
    headers = {name: old for name, old in MOX.items() if name != header}
    if value is not None:
        headers[header] = value
    with pytest.raises(InvalidHeaders) as caught:
        receive(headers, BODY, unverified=True)
    assert caught.value.header == header.lower()


def test_a_header_has_a_limit() -> None:
    with pytest.raises(InvalidHeaders, match="longer"):
        receive(MOX | {"X-Mox-Webhook-Id": ",".join(["1"] * 10_000)}, BODY, unverified=True)


def test_the_body_has_a_limit() -> None:
    with pytest.raises(BodyTooLarge) as caught:
        take(SIGNED, max_body=len(BODY) - 1)
    assert (caught.value.status, caught.value.limit) == (413, len(BODY) - 1)
    assert take(SIGNED, max_body=len(BODY)).id == 12


def test_what_is_rightly_signed_and_no_payload_is_refused() -> None:
    call = Call(ids=(12,), body=b'{"type": "invoice.paid"}')
    with pytest.raises(InvalidPayload):
        take(call_headers(call, now=NOW, secrets=[SECRET]), call.body)


def test_batches_have_an_id_for_each_payload() -> None:
    incoming = Incoming(structure=Structure(), meta=IncomingMeta(received=NOW))
    call = Call(ids=(12, 15), attempt=2, body=join([BODY, encode(incoming)]))
    headers = call_headers(call, now=NOW, secrets=[SECRET])
    assert headers["X-Mox-Webhook-ID"] == "12,15"
    signed = take(headers, call.body)
    unsigned = receive(call_headers(call, now=NOW), call.body, unverified=True)
    for received in (signed, unsigned):
        assert [(item.id, item.payload) for item in received.items] == [(12, PAYLOAD), (15, incoming)]
        for attribute in ("id", "payload"):
            with pytest.raises(InvalidPayload, match="2 payloads"):
                getattr(received, attribute)


@pytest.mark.parametrize("ids", [(12, 15), (12, 15, 16, 17)])
def test_batches_whose_ids_do_not_fit_are_refused(ids: tuple[int, ...]) -> None:
    call = Call(ids=ids, body=join([BODY] * 3))
    with pytest.raises(InvalidPayload, match="ids"):
        take(call_headers(call, now=NOW, secrets=[SECRET]), call.body)


def test_a_batch_of_one_is_like_a_single_payload() -> None:
    call = Call(ids=(12,), body=join([BODY]))
    assert take(call_headers(call, now=NOW, secrets=[SECRET]), call.body).payload == PAYLOAD


def test_the_largest_batch_is_received() -> None:
    ids = tuple(range(2**63 - MAX_BATCH, 2**63))
    call = Call(ids=ids, body=join([BODY] * MAX_BATCH))
    received = take(call_headers(call, now=NOW, secrets=[SECRET]), call.body)
    assert tuple(item.id for item in received.items) == ids


@pytest.mark.parametrize(
    "options", [{"ids": ()}, {"ids": (0,)}, {"ids": (2**63,)}, {"ids": (1,) * 101}, {"attempt": 0}]
)
def test_calls_are_valid_by_construction(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Call(**{"ids": (1,), "body": b"", **options})


@pytest.mark.parametrize("value", ["", " x", "x ", "x\r\nX-Evil: 1", "x\n", "é", "\x7f", "x" * 4097])
def test_an_authorization_that_no_header_can_have_is_refused(value: str) -> None:
    with pytest.raises(InputError) as caught:
        check_authorization(value)
    assert "Evil" not in str(caught.value)
    if value:
        with pytest.raises(InputError):
            call_headers(CALL, now=NOW, authorization=value)


def test_secrets_are_read_and_do_not_show_themselves() -> None:
    text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert Secret.parse(text).reveal() == text
    assert Secret.parse(text.removeprefix("whsec_")) == SECRET
    assert Secret.parse(OTHER.reveal().rstrip("=") + "\n") == OTHER
    assert "MfKQ" not in f"{SECRET!r} {SECRET}"
    assert repr(SECRET.key) not in repr(SECRET)
    made = Secret.generate()
    assert made != Secret.generate()
    assert len(made.key) == 32
    assert Secret.parse(made.reveal()) == made


@pytest.mark.parametrize(
    "text", ["", "whsec_", "whsec_YQ==", "whsec_not base64!", "whsec_" + "A" * 100, "é" * 32, "A" * 33]
)
def test_what_is_no_secret_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(InvalidSecret) as caught:
        Secret.parse(text)
    assert not text or text not in str(caught.value)
    with pytest.raises(InvalidSecret):
        receive(MOX, BODY, secrets=[text])


def test_times_have_to_be_aware() -> None:
    with pytest.raises(InputError, match="aware"):
        take(SIGNED, now=NOW.replace(tzinfo=None))


def test_the_systems_time_is_the_default() -> None:
    with pytest.raises(StaleTimestamp):
        receive(call_headers(CALL, now=NOW - timedelta(days=100), secrets=[SECRET]), BODY, secrets=[SECRET])
    now = datetime.now(UTC)
    assert receive(call_headers(CALL, now=now, secrets=[SECRET]), BODY, secrets=[SECRET]).id == 12


@pytest.mark.parametrize(
    "error",
    [
        InvalidHeaders("webhook-id", "it is missing"),
        InvalidAuthorization("no"),
        InvalidSignature("no"),
        StaleTimestamp(NOW, NOW, timedelta(1)),
        BodyTooLarge(5),
        InvalidPayload("no"),
        InvalidSecret("no"),
    ],
)
def test_errors_survive_pickling(error: Exception) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (type(error), str(error), vars(error))
    assert isinstance(error, InvalidSecret if isinstance(error, InputError) else WebhookError)
