"""Webhooks as mox sends them: payloads, the headers and signatures of a call, and verifying and reading one.

receive(headers, body, secrets=[...]) -> Received   for receivers: verify and read in one step; `receive` has more
Received                                            `id`, `attempt`, `payload`; `items`, where a call has several
Outgoing, Incoming                                  what became of a message; a message that came in
encode(payload) -> bytes, decode(body) -> Payload   their JSON; `join([...])` and `decode_any` for several in a call
Call(ids=..., attempt=..., body=...)                what `call_headers(call, now=..., secrets=...)` makes headers for
Secret.generate(), Secret.parse("whsec_...")        signs (Standard Webhooks)
WebhookError and its classes                        why a call is refused: see `moxlib.webhook.errors`
"""

from moxlib.webhook.codec import decode, decode_any, encode, join
from moxlib.webhook.errors import (
    BodyTooLarge,
    InvalidAuthorization,
    InvalidHeaders,
    InvalidPayload,
    InvalidSecret,
    InvalidSignature,
    StaleTimestamp,
    WebhookError,
)
from moxlib.webhook.headers import MAX_BATCH, USER_AGENT, Call, call_headers, check_authorization
from moxlib.webhook.payload import (
    Incoming,
    IncomingMeta,
    NameAddress,
    Outgoing,
    OutgoingEvent,
    Payload,
    Structure,
)
from moxlib.webhook.receive import MAX_BODY, Headers, Received, ReceivedItem, receive
from moxlib.webhook.secret import Secret

__all__ = [
    "MAX_BATCH",
    "MAX_BODY",
    "USER_AGENT",
    "BodyTooLarge",
    "Call",
    "Headers",
    "Incoming",
    "IncomingMeta",
    "InvalidAuthorization",
    "InvalidHeaders",
    "InvalidPayload",
    "InvalidSecret",
    "InvalidSignature",
    "NameAddress",
    "Outgoing",
    "OutgoingEvent",
    "Payload",
    "Received",
    "ReceivedItem",
    "Secret",
    "StaleTimestamp",
    "Structure",
    "WebhookError",
    "call_headers",
    "check_authorization",
    "decode",
    "decode_any",
    "encode",
    "join",
    "receive",
]
