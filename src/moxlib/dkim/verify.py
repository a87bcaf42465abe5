"""Verifying the signatures of a message that has come (RFC 6376 6)."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature as BadSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from moxlib.dkim.canonical import BodyHash, Canonicalization, canonical_field
from moxlib.dkim.errors import InvalidSignature, shown
from moxlib.dkim.head import Head, read_head
from moxlib.dkim.keys import MAX_RSA_BITS, MIN_RSA_BITS, PublicKey
from moxlib.dkim.lookup import Lookup, NotFound, lookup_record
from moxlib.dkim.record import Record
from moxlib.dkim.result import Policy, Problem, Result, Status
from moxlib.dkim.signature import Signature, parse_signature, unsigned
from moxlib.dns import Resolver
from moxlib.message import SupportsReadAt
from moxlib.message.source import BytesSource, Source, chunks_of, open_source

__all__ = ["verify"]

IN_LOOP: Final = 256 * 1024  # octets of a message in memory that are hashed in the event loop: below a millisecond
MAX_AHEAD: Final = 86_400  # seconds that a signature may be from the future: clocks are wrong by time zones
MAX_REASON: Final = 200  # characters of what the caller's policy says

_ALGORITHMS: Final = frozenset({"rsa-sha256", "ed25519-sha256"})

T = TypeVar("T")


async def verify(
    message: bytes | bytearray | memoryview | SupportsReadAt,
    *,
    resolver: Resolver,
    size: int | None = None,
    now: datetime | None = None,
    policy: Policy | None = None,
) -> tuple[Result, ...]:
    """Verify the signatures of a message, from the top.

    A file, or a large message, is read in a thread. Records are looked up all at once.

    Args:
        message: as it came, with CRLF line ends; in memory, or a file that is read by position, a block at a time.
        resolver: looks up the records.
        size: octets of the message; None for all.
        now: the time, aware; None for the system's.
        policy: what is accepted; None for what a `Policy` has without being told.

    Returns:
        One result for each signature, and none for a message that has none. Of signatures beyond those that the policy
        has looked at, one result at the end says that they are there.

    Raises:
        InvalidMessage: the header cannot be read, so that nothing can be said of any signature.
        LimitExceeded: the header is too large.
        OSError: or whatever the file, or the resolver, raises. That the DNS does not answer is no error, but a result.
    """
    policy = policy or Policy()
    seconds = (datetime.now(UTC) if now is None else now).timestamp()
    source = open_source(message, size)
    head = await _read(source, lambda: read_head(source))
    fields = head.fields(Canonicalization.SIMPLE).get(b"dkim-signature", [])
    examined = [_examine(each, head, seconds, policy) for each in fields[: policy.max_signatures]]
    records = await _look_up(resolver, [each.signature for each in examined if isinstance(each, _Candidate)])
    results = await _read(source, lambda: _judge_all(examined, records, _Message(source, head), policy))
    if more := len(fields) - len(examined):
        error = f"{more} more signatures were not looked at"
        results.append(Result(status=Status.POLICY, problem=Problem.TOO_MANY, error=error))
    return tuple(results)


async def _read(source: Source, work: Callable[[], T]) -> T:
    """Do what reads the message: in a thread, if that may take long."""
    if isinstance(source, BytesSource) and source.size <= IN_LOOP:
        return work()
    return await asyncio.to_thread(work)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """A signature to be verified, and its field as it stands."""

    signature: Signature
    text: bytes


class _Refused(Exception):
    """A signature does not pass."""

    def __init__(self, problem: Problem, error: str, status: Status = Status.PERMERROR) -> None:
        super().__init__(error)
        self.problem = problem
        self.status = status


class _Message:
    """The message that is verified; each hash of its body is worked out once."""

    def __init__(self, source: Source, head: Head) -> None:
        self.head = head
        self._source = source
        self._hashes: dict[tuple[Canonicalization, int | None], tuple[bytes, int]] = {}

    def body_hash(self, form: Canonicalization, length: int | None) -> tuple[bytes, int]:
        """Return the hash of the body's first `length` octets, canonical, and how many there are in all."""
        found = self._hashes.get((form, length))
        if found is None:
            body = BodyHash(form, length)
            start = self._source.size if self.head.body_start is None else self.head.body_start
            for chunk in chunks_of(self._source, start, self._source.size):
                body.feed(chunk)
            digest = body.digest()
            found = self._hashes[form, length] = (digest, body.size)
        return found


def _examine(text: bytes, head: Head, now: float, policy: Policy) -> _Candidate | Result:
    """Look at what a signature says (RFC 6376 6.1.1)."""
    try:
        signature = parse_signature(text.partition(b":")[2])
    except InvalidSignature as error:
        return Result(status=Status.PERMERROR, problem=Problem.SYNTAX, error=str(error))
    try:
        _check_signature(signature, head, now)
        _check_policy(signature, policy)
    except _Refused as refused:
        return Result(status=refused.status, signature=signature, problem=refused.problem, error=str(refused))
    return _Candidate(signature=signature, text=text)


def _check_signature(signature: Signature, head: Head, now: float) -> None:
    if "from" not in map(str.lower, signature.headers):
        raise _Refused(Problem.FROM, "From is not signed")
    if len(head.fields(Canonicalization.SIMPLE).get(b"from", ())) > 1:  # RFC 6376 8.15: the other one may be shown
        raise _Refused(Problem.FROM, "there is more than one From")
    if signature.expires_at is not None and signature.expires_at < now:
        raise _Refused(Problem.EXPIRED, f"it has expired, at {signature.expires_at}")
    if signature.signed_at is not None and signature.signed_at > now + MAX_AHEAD:
        raise _Refused(Problem.FUTURE, f"it is from the future: from {signature.signed_at}", Status.POLICY)
    if "." not in signature.domain.ascii:  # RFC 6376 6.1.1: beyond its scope. Differs: mox knows all public suffixes
        raise _Refused(Problem.TOP_LEVEL_DOMAIN, f"{shown(signature.domain.ascii)} is a top-level domain")
    if signature.algorithm not in _ALGORITHMS:  # RFC 8301 3.1: rsa-sha1 fails for good. Differs: mox takes it
        raise _Refused(Problem.ALGORITHM, f"the algorithm {shown(signature.algorithm)} is not accepted")
    if "dns/txt" not in signature.query_methods:
        raise _Refused(Problem.QUERY_METHOD, "no known way to find the key")


def _check_policy(signature: Signature, policy: Policy) -> None:
    reason = policy.refuse and policy.refuse(signature)
    if reason is not None:
        raise _Refused(Problem.REFUSED, reason[:MAX_REASON], Status.POLICY)


async def _look_up(resolver: Resolver, signatures: list[Signature]) -> dict[tuple[str, str], Lookup]:
    """Return what there is at each selector and domain, looked up once."""
    wanted = {(each.selector, each.domain.ascii): each for each in signatures}
    if len(wanted) == 1:
        [(key, only)] = wanted.items()
        return {key: await lookup_record(resolver, only.selector, only.domain)}
    try:
        async with asyncio.TaskGroup() as group:
            tasks = {
                key: group.create_task(lookup_record(resolver, each.selector, each.domain))
                for key, each in wanted.items()
            }
    except ExceptionGroup as errors:  # the first one, as if there had been one lookup
        raise errors.exceptions[0] from None
    return {key: task.result() for key, task in tasks.items()}


def _judge_all(
    examined: list[_Candidate | Result],
    records: dict[tuple[str, str], Lookup],
    message: _Message,
    policy: Policy,
) -> list[Result]:
    return [
        each
        if isinstance(each, Result)
        else _judge(each, records[each.signature.selector, each.signature.domain.ascii], message, policy)
        for each in examined
    ]


def _judge(candidate: _Candidate, found: Lookup, message: _Message, policy: Policy) -> Result:
    """Verify a signature with its record."""
    signature = candidate.signature
    if isinstance(found, NotFound):
        return Result(
            status=found.status,
            signature=signature,
            authentic=found.authentic,
            problem=found.problem,
            error=found.error,
        )
    passed = Result(status=Status.PASS, signature=signature, record=found.record, authentic=found.authentic)
    try:
        key = _usable_key(signature, found.record)
        _check_value(candidate, key, message.head)
        _check_body(signature, message, policy)
    except _Refused as refused:
        # RFC 6376 3.6.1: a bad signature of a domain that tries DKIM is none
        status = Status.NONE if found.record.testing and not policy.ignore_test_mode else refused.status
        return replace(passed, status=status, problem=refused.problem, error=str(refused))
    return passed


def _usable_key(signature: Signature, record: Record) -> PublicKey:
    """Return the key of a record that allows the signature (RFC 6376 6.1.2)."""
    kind, _, hashed_with = signature.algorithm.partition("-")
    if record.hashes and hashed_with not in record.hashes:
        raise _Refused(Problem.KEY_MISMATCH, f"the record does not allow {shown(hashed_with)}")
    if kind != record.key_type:
        raise _Refused(Problem.KEY_MISMATCH, f"the record has a key for {record.key_type}, not for {shown(kind)}")
    key = record.key()
    if key is None:
        raise _Refused(Problem.REVOKED, "the key was revoked")
    if isinstance(key, RSAPublicKey) and not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:  # RFC 8301 3.2
        raise _Refused(Problem.KEY_SIZE, f"an RSA key of {key.key_size} bits")
    if not record.for_email:
        raise _Refused(Problem.NOT_FOR_EMAIL, "the key is not for mail")
    identity = signature.identity
    if record.strict_identity and identity is not None and identity.domain != signature.domain:
        raise _Refused(Problem.IDENTITY, "the record wants the identity to be of the domain itself")
    return key


def _check_value(candidate: _Candidate, key: PublicKey, head: Head) -> None:
    """Verify the signature of the header, that with the hash of the body included (RFC 6376 3.7)."""
    signature = candidate.signature
    names = [each.lower().encode("ascii") for each in signature.headers]
    own = canonical_field(unsigned(candidate.text), signature.header_form)
    signed = head.selected(names, signature.header_form) + own
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(signature.value, signed, PKCS1v15(), SHA256())
        else:
            key.verify(signature.value, hashlib.sha256(signed).digest())  # RFC 8463 3
    except BadSignature:
        raise _Refused(Problem.SIGNATURE, "it is not the key's signature of this header", Status.FAIL) from None


def _check_body(signature: Signature, message: _Message, policy: Policy) -> None:
    length = signature.body_length
    digest, size = message.body_hash(signature.body_form, length)
    if digest != signature.body_hash:
        raise _Refused(Problem.BODY_HASH, "the body is another one", Status.FAIL)
    if length is None:
        return
    if length > size:  # RFC 6376 3.5
        raise _Refused(Problem.BODY_HASH, f"the body is shorter than the {length} octets signed", Status.FAIL)
    if length < size and not policy.accept_partial_body:
        error = f"{size - length} octets at the end of the body are not signed"
        raise _Refused(Problem.PARTIAL_BODY, error, Status.POLICY)
