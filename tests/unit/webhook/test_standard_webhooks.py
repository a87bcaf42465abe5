"""Signatures, against Standard Webhooks' own package, both ways. It knows the system's time only."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from moxlib.webhook import Call, InvalidSignature, Outgoing, Secret, StaleTimestamp, call_headers, encode, receive

NOW = datetime.now(UTC)
SECRET = Secret.generate()
OTHER = Secret.generate()
BODY = encode(Outgoing(event="failed", webhook_queued=NOW, subject="Grüße <x>", extra={"a": "b"}))
CALL = Call(ids=(12,), attempt=1, body=BODY)


def theirs(call: Call, timestamp: datetime, secret: Secret) -> dict[str, str]:
    signature = Webhook(secret.reveal()).sign(call.webhook_id, timestamp, call.body.decode())
    return {
        "webhook-id": call.webhook_id,
        "webhook-timestamp": str(int(timestamp.timestamp())),
        "webhook-signature": signature,
        "X-Mox-Webhook-Attempt": "1",
    }


@pytest.mark.parametrize("secrets", [[SECRET], [SECRET, OTHER], [OTHER, SECRET]])
@pytest.mark.parametrize("call", [CALL, Call(ids=(1, 2), body=b"[%b,%b]" % (BODY, BODY))])
def test_what_we_sign_they_verify(secrets: list[Secret], call: Call) -> None:
    headers = call_headers(call, now=datetime.now(UTC), secrets=secrets)
    assert Webhook(SECRET.reveal()).verify(call.body, headers) == json.loads(call.body)


def test_what_we_sign_by_another_secret_or_at_another_time_they_refuse() -> None:
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(OTHER.reveal()).verify(BODY, call_headers(CALL, now=datetime.now(UTC), secrets=[SECRET]))
    old = call_headers(CALL, now=datetime.now(UTC) - timedelta(minutes=10), secrets=[SECRET])
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET.reveal()).verify(BODY, old)


def test_what_they_sign_we_verify() -> None:
    assert receive(theirs(CALL, NOW, SECRET), BODY, secrets=[OTHER, SECRET], now=NOW).id == 12


def test_what_they_sign_by_another_secret_or_at_another_time_we_refuse() -> None:
    with pytest.raises(InvalidSignature):
        receive(theirs(CALL, NOW, OTHER), BODY, secrets=[SECRET], now=NOW)
    with pytest.raises(StaleTimestamp):
        receive(theirs(CALL, NOW, SECRET), BODY, secrets=[SECRET], now=NOW + timedelta(minutes=6))
