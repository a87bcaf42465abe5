"""For receivers: verify and read a webhook call, in one step."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final, cast

from moxlib.errors import InputError
from moxlib.webhook.codec import decode_any
from moxlib.webhook.errors import (
    BodyTooLarge,
    InvalidAuthorization,
    InvalidHeaders,
    InvalidPayload,
    InvalidSignature,
    StaleTimestamp,
)
from moxlib.webhook.headers import MAX_BATCH, MAX_ID
from moxlib.webhook.payload import Payload
from moxlib.webhook.secret import Secret

__all__ = ["MAX_BODY", "TOLERANCE", "Headers", "Received", "ReceivedItem", "receive"]

Headers = Mapping[str, str] | Iterable[tuple[str, str]] | Iterable[tuple[bytes, bytes]]
"""What frameworks have: a mapping, in any case; or pairs, as text or, in ASGI, as bytes."""

# Incoming has up to 1 MiB of text and as much of HTML, and each "<" of it is six octets of JSON.
MAX_BODY: Final = 16 * 1024 * 1024
TOLERANCE: Final = timedelta(minutes=5)  # as the libraries of Standard Webhooks
MAX_SIGNATURES: Final = 32  # a sender has two secrets while it replaces one
MAX_VALUE: Final = 16 * 1024  # octets of a header: a few signatures, or the ids of a batch, are a quarter

_mox_ids = re.compile(r"[0-9]{1,19}(?:,[0-9]{1,19})*").fullmatch
_webhook_ids = re.compile(r"msg_[0-9]{1,19}(?:_[0-9]{1,19})*").fullmatch
_attempt = re.compile(r"[1-9][0-9]{0,8}").fullmatch
_timestamp = re.compile(r"0|[1-9][0-9]{0,11}").fullmatch  # with leading zeros, another text would be signed
_LATEST: Final = 253402300799  # the last second of the year 9999, as datetime

_WANTED: Final = frozenset(
    (
        "authorization",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
        "x-mox-webhook-id",
        "x-mox-webhook-attempt",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedItem:
    """One payload of a call, and the id to know it by when it comes again."""

    id: int
    payload: Payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A call that was verified."""

    attempt: int
    """Which attempt the sender said this is, from 1. It is not signed."""
    items: tuple[ReceivedItem, ...]
    """The payloads in order: one, unless the sender sends batches."""

    @property
    def id(self) -> int:
        """The id of the one payload: the same in each attempt, so that what comes twice can be told.

        Raises:
            InvalidPayload: there are several; look at `items`.
        """
        return self._only().id

    @property
    def payload(self) -> Payload:
        """The one payload.

        Raises:
            InvalidPayload: there are several; look at `items`.
        """
        return self._only().payload

    def _only(self) -> ReceivedItem:
        if len(self.items) != 1:
            raise InvalidPayload(f"the call has {len(self.items)} payloads, where one is wanted")
        return self.items[0]


def receive(
    headers: Headers,
    body: bytes,
    *,
    secrets: Sequence[Secret | str] = (),
    authorization: str | None = None,
    unverified: bool = False,
    tolerance: timedelta = TOLERANCE,
    now: datetime | None = None,
    max_body: int = MAX_BODY,
) -> Received:
    """Verify a webhook call, and return what it carries.

    It is verified by its signature, by its Authorization header, or by both: what is given here has to hold. mox does
    not sign; its calls are verified by Authorization, over HTTPS. Secrets and headers are compared in constant time.

    A call may come more than once: remember the ids of what was done, and answer 2xx to what comes again.

    Args:
        headers: of the request.
        body: of the request, the octets as they came. Read no more than `max_body` of it.
        secrets: any one of them may have signed; two, while one replaces the other.
        authorization: the value that the header must have, such as "Bearer ..."; None: it is not looked at.
        unverified: take calls from anybody. Needed when there is neither of the above, so that it is not forgotten.
        tolerance: how far the time of a signed call may be from `now`, either way.
        now: aware; None: the system's time.
        max_body: bytes that the body may have.

    Raises:
        WebhookError: the call must not be acted upon; answer it with the error's `status`. Its classes say why:
            `BodyTooLarge`, `InvalidHeaders`, `InvalidAuthorization`, `InvalidSignature`, `StaleTimestamp`,
            `InvalidPayload`.
        InputError: nothing to verify by, a secret that is none (`InvalidSecret`), or a `now` without a zone.
    """
    if not secrets and authorization is None and not unverified:
        raise InputError("receive needs secrets or an authorization to verify by; or say unverified=True")
    if now is not None and now.tzinfo is None:
        raise InputError("now must be an aware datetime")
    keys = [secret if isinstance(secret, Secret) else Secret.parse(secret) for secret in secrets]
    if len(body) > max_body:
        raise BodyTooLarge(max_body)
    found = _wanted(headers)
    if authorization is not None and not _equal(found.get("authorization", ""), authorization):
        raise InvalidAuthorization("the Authorization header is not the one agreed upon")
    if keys:
        ids = _check_signature(found, body, keys)
        _check_timestamp(found, datetime.now(UTC) if now is None else now, tolerance)
    else:
        ids = _ids(found, "x-mox-webhook-id")
    attempt = _value(found, "x-mox-webhook-attempt")
    if not _attempt(attempt):
        raise InvalidHeaders("x-mox-webhook-attempt", "it is no number from 1")
    payloads = decode_any(body)
    if len(payloads) != len(ids):
        raise InvalidPayload(f"the call has {len(payloads)} payloads and {len(ids)} ids")
    items = [ReceivedItem(id=id_, payload=payload) for id_, payload in zip(ids, payloads, strict=True)]
    return Received(attempt=int(attempt), items=tuple(items))


def _wanted(headers: Headers) -> Mapping[str, str]:
    """Return the headers that count, by their names in lower case.

    Raises:
        InvalidHeaders: one is there twice, or too long.
    """
    found: dict[str, str] = {}
    given = headers.items() if isinstance(headers, Mapping) else headers
    pairs = cast("Iterable[tuple[str | bytes, str | bytes]]", given)
    for name, value in pairs:
        lower = _text(name).lower()
        if lower not in _WANTED:
            continue
        if lower in found:  # who put the second one there?
            raise InvalidHeaders(lower, "it is there twice")
        if len(value) > MAX_VALUE:
            raise InvalidHeaders(lower, f"it is longer than {MAX_VALUE}")
        found[lower] = _text(value).strip(" \t")
    return MappingProxyType(found)


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _value(found: Mapping[str, str], name: str) -> str:
    try:
        return found[name]
    except KeyError:
        raise InvalidHeaders(name, "it is missing") from None


def _ids(found: Mapping[str, str], name: str) -> list[int]:
    """Return the ids of the payloads.

    Of a signed call, those of webhook-id: X-Mox-Webhook-ID is not signed, and who sends a call that was overheard once
    more could write there what was never seen.
    """
    text = _value(found, name)
    signed = name == "webhook-id"
    if not (_webhook_ids if signed else _mox_ids)(text):
        raise InvalidHeaders(name, "it is not of the form that mox and moxlib write")
    ids = [int(id_) for id_ in text.removeprefix("msg_").split("_" if signed else ",")]
    if len(ids) > MAX_BATCH or not all(0 < id_ <= MAX_ID for id_ in ids):
        raise InvalidHeaders(name, f"it has more than {MAX_BATCH} ids, or one that is out of range")
    return ids


def _check_signature(found: Mapping[str, str], body: bytes, secrets: Sequence[Secret]) -> list[int]:
    """Check that one of the signatures is by one of the secrets, in the same time whichever it is; return the ids."""
    if "webhook-signature" not in found:
        raise InvalidSignature("it is not signed")
    ids = _ids(found, "webhook-id")
    timestamp = _value(found, "webhook-timestamp")
    if not _timestamp(timestamp) or int(timestamp) > _LATEST:
        raise InvalidHeaders("webhook-timestamp", "it is no number of seconds")
    given = found["webhook-signature"].split(" ")
    if len(given) > MAX_SIGNATURES:
        raise InvalidSignature(f"it has more than {MAX_SIGNATURES} signatures")
    octets = [signature.encode("utf-8", "surrogatepass") for signature in given]
    valid = False
    for secret in secrets:
        expected = secret.sign(found["webhook-id"], timestamp, body).encode()
        for signature in octets:
            valid |= hmac.compare_digest(expected, signature)
    if not valid:
        raise InvalidSignature("no signature is by one of the secrets")
    return ids


def _check_timestamp(found: Mapping[str, str], now: datetime, tolerance: timedelta) -> None:
    made = datetime.fromtimestamp(int(found["webhook-timestamp"]), UTC)
    if abs(now - made) > tolerance:
        raise StaleTimestamp(made, now, tolerance)


def _equal(given: str, expected: str) -> bool:
    """Compare in a time that depends on neither, nor on their lengths."""
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in (given, expected)]
    return hmac.compare_digest(*digests)
