"""Verifying: what each signature, record and policy comes to."""

import asyncio
import base64
import hashlib
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from tests.unit.dkim.keys import DOMAIN, ED25519, RSA, RSA_1024, published, selector
from tests.unit.dkim.test_keys import SHORT

from moxlib.dkim import (
    Canonicalization,
    Found,
    NotFound,
    Policy,
    Problem,
    Record,
    Result,
    Signature,
    Status,
    lookup_record,
    record_for,
    sign,
    verify,
)
from moxlib.dkim.canonical import BodyHash, canonical_field
from moxlib.dns import parse_domain
from moxlib.errors import InputError, LimitExceeded
from moxlib.message import InvalidMessage
from moxlib.testing import MockResolver

NOW = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
BODY = b"Hello\r\nWorld\r\n"
MESSAGE = b"From: a@example.org\r\nSubject: x\r\n\r\n" + BODY
NAME = "ed._domainkey.example.org"


def ed25519(data: bytes) -> bytes:
    return ED25519.sign(hashlib.sha256(data).digest())


def by_hand(signed: Callable[[bytes], bytes] = ed25519, **changes: Any) -> bytes:
    """Return a message that is signed as no `Selector` does: simple header, relaxed body."""
    hashed = BodyHash(Canonicalization.RELAXED, int(changes["l"]) if changes.get("l") else None)
    hashed.feed(BODY)
    tags = {
        "v": "1",
        "a": "ed25519-sha256",
        "c": "simple/relaxed",
        "d": "example.org",
        "s": "ed",
        "h": "From",
        "bh": base64.b64encode(hashed.digest()).decode(),
        **changes,
    }
    rest = ": " + "; ".join(f"{name}={value}" for name, value in tags.items() if value is not None) + "; b="
    value = signed(
        b"From: a@example.org\r\n" + canonical_field(b"DKIM-Signature" + rest.encode(), Canonicalization.SIMPLE)
    )
    return b"DKIM-Signature" + rest.encode() + base64.b64encode(value) + b"\r\n" + MESSAGE


async def result_of(message: bytes, *texts: str, policy: Policy | None = None, **options: Any) -> Result:
    resolver = MockResolver(txt={NAME: texts or [str(record_for(ED25519))]}, **options)
    [result] = await verify(message, resolver=resolver, now=NOW, policy=policy)
    assert (result.problem is None) == (result.status is Status.PASS) == (result.error == "")
    assert len(result.error) < 500
    return result


async def test_what_is_signed_by_hand_passes() -> None:
    result = await result_of(by_hand(), all_authentic=True)
    assert result.status is Status.PASS
    assert (result.domain, result.selector, result.algorithm) == (DOMAIN, "ed", "ed25519-sha256")
    assert (str(result.identity), result.record, result.authentic) == ("@example.org", record_for(ED25519), True)
    assert not (await result_of(by_hand())).authentic


async def test_a_message_without_signature_has_no_results() -> None:
    assert await verify(MESSAGE, resolver=MockResolver()) == ()


@pytest.mark.parametrize(
    ("changes", "status", "problem"),
    [
        ({"v": "2"}, "permerror", "syntax"),
        ({"d": "example.com", "i": "@example.org"}, "permerror", "syntax"),
        ({"h": "Subject:To"}, "permerror", "from"),
        ({"x": str(SECONDS - 1)}, "permerror", "expired"),
        ({"t": str(SECONDS + 86_401)}, "policy", "future"),
        ({"d": "org"}, "permerror", "top_level_domain"),
        ({"a": "ed25519-sha512"}, "permerror", "algorithm"),
        ({"a": "rsa-sha1", "bh": "AAAA"}, "permerror", "algorithm"),
        ({"q": "http/x"}, "permerror", "query_method"),
        ({"s": "other"}, "permerror", "no_record"),
        ({"a": "rsa-sha256"}, "permerror", "key_mismatch"),
        ({"bh": base64.b64encode(b"x" * 32).decode()}, "fail", "body_hash"),
        ({"l": "9999"}, "fail", "body_hash"),
        ({"l": "7"}, "policy", "partial_body"),
        ({"l": "0"}, "policy", "partial_body"),
    ],
)
async def test_signatures_that_do_not_pass(changes: dict[str, Any], status: str, problem: str) -> None:
    result = await result_of(by_hand(**changes))
    assert (result.status, result.problem) == (Status(status), Problem(problem))
    assert (result.signature is None) == (problem == "syntax")
    assert (result.domain is None) == (result.selector is None) == (result.identity is None) == (problem == "syntax")


@pytest.mark.parametrize(
    "changes",
    [
        {"x": str(SECONDS), "t": str(SECONDS - 1)},
        {"t": str(SECONDS + 86_399)},
        {"q": "x/y:dns/txt"},
        {"i": "a@mail.example.org"},
        {"l": str(len(BODY))},
        {"x": "9" * 12},
    ],
)
async def test_signatures_that_pass(changes: dict[str, Any]) -> None:
    assert (await result_of(by_hand(**changes))).status is Status.PASS


KEY = str(record_for(ED25519)).rpartition("p=")[2]


@pytest.mark.parametrize(
    ("text", "status", "problem"),
    [
        ("v=DKIM1;k=ed25519;p=", "permerror", "revoked"),
        (f"v=DKIM1;k=ed25519;h=sha1;p={KEY}", "permerror", "key_mismatch"),
        (f"v=DKIM1;k=ed25519;s=other;p={KEY}", "permerror", "not_for_email"),
        (f"v=DKIM1;k=ed25519;t=s;p={KEY}", "permerror", "identity"),
        (str(record_for(RSA)), "permerror", "key_mismatch"),
        ("v=spf1 -all", "permerror", "record_syntax"),
        ("v=DKIM1;p=x", "permerror", "record_syntax"),
        ("v=DKIM1;n=" + "x" * 20_000, "permerror", "record_syntax"),
        (f"v=DKIM1;k=ed25519;p={'A' * 43}=", "fail", "signature"),
        (f"v=DKIM1;k=ed25519;t=y;p={'A' * 43}=", "none", "signature"),
        ("v=DKIM1;k=ed25519;t=y;p=", "none", "revoked"),
    ],
)
async def test_records_that_do_not_allow_it(text: str, status: str, problem: str) -> None:
    result = await result_of(by_hand(i="a@mail.example.org"), text)
    assert (result.status, result.problem) == (Status(status), Problem(problem))


@pytest.mark.parametrize(
    "text",
    [
        f"v=DKIM1;k=ed25519;h=sha1:sha256;s=x:email;t=y;p={KEY}",
        f"v=DKIM1;k=ed25519;s=*;t=s;g=;p={KEY}",
        f"k=ed25519;p={KEY}",
    ],
)
async def test_records_that_allow_it(text: str) -> None:
    assert (await result_of(by_hand(i="a@example.org"), text)).status is Status.PASS
    assert (await result_of(by_hand(), text)).status is Status.PASS


async def test_what_domains_that_try_dkim_get_wrong_counts_if_asked_for() -> None:
    text = f"v=DKIM1;k=ed25519;t=y;p={KEY}"
    message = by_hand().replace(b"World", b"world")
    assert (await result_of(message, text)).status is Status.NONE
    assert (await result_of(message, text, policy=Policy(ignore_test_mode=True))).status is Status.FAIL


async def test_other_records_beside_it_are_left_alone() -> None:
    good = str(record_for(ED25519))
    assert (await result_of(by_hand(), "v=spf1 -all", good, "x")).status is Status.PASS
    result = await result_of(by_hand(), good, f"v=DKIM1;k=ed25519;p={'A' * 43}=")
    assert (result.status, result.problem) == (Status.TEMPERROR, Problem.SEVERAL_RECORDS)
    result = await result_of(by_hand(), good, "v=DKIM1;p=x", good)
    assert (result.status, result.problem) == (Status.PERMERROR, Problem.RECORD_SYNTAX)


async def test_a_dns_that_does_not_answer_is_a_temporary_error() -> None:
    result = await result_of(by_hand(), fail=[NAME])
    assert (result.status, result.problem, result.record) == (Status.TEMPERROR, Problem.DNS, None)


async def test_rsa_with_sha1_is_refused_though_it_is_right() -> None:
    body_hash = base64.b64encode(hashlib.sha1(BODY).digest()).decode()
    message = by_hand(lambda data: RSA.sign(data, PKCS1v15(), SHA1()), a="rsa-sha1", bh=body_hash)
    result = await result_of(message, str(Record(public_key=record_for(RSA).public_key)))
    assert (result.status, result.problem, result.algorithm) == (Status.PERMERROR, Problem.ALGORITHM, "rsa-sha1")


async def test_short_rsa_keys_are_refused_though_they_are_right() -> None:
    short = load_pem_private_key(SHORT.encode(), None)
    for key, status, problem in ((RSA_1024, Status.PASS, None), (short, Status.PERMERROR, Problem.KEY_SIZE)):
        assert isinstance(key, RSAPrivateKey)

        def signed(data: bytes, key: RSAPrivateKey = key) -> bytes:
            return key.sign(data, PKCS1v15(), SHA256())

        der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        result = await result_of(by_hand(signed, a="rsa-sha256"), str(Record(public_key=der)))
        assert (result.status, result.problem) == (status, problem)


async def test_a_second_from_is_refused_wherever_it_is() -> None:
    for message in (b"From: b@example.com\r\n" + by_hand(), by_hand().replace(b"Subject", b"from : b\r\nSubject")):
        result = await result_of(message)
        assert (result.status, result.problem) == (Status.PERMERROR, Problem.FROM)


async def test_partial_bodies_pass_if_asked_for() -> None:
    policy = Policy(accept_partial_body=True)
    result = await result_of(by_hand(l="7") + b"more", policy=policy)
    assert result.status is Status.PASS
    assert result.signature is not None
    assert result.signature.body_length == 7
    result = await result_of(by_hand(l="7").replace(b"Hello", b"hello"), policy=policy)
    assert result.problem is Problem.BODY_HASH
    result = await result_of(by_hand(l="15"), policy=policy)
    assert result.problem is Problem.BODY_HASH


async def test_policies_see_a_signature_before_anything_is_looked_up() -> None:
    seen: list[Signature] = []

    def refuse(signature: Signature) -> str | None:
        seen.append(signature)
        return "x" * 1000 if signature.body_length is None else None

    resolver = MockResolver()
    [result] = await verify(by_hand(), resolver=resolver, now=NOW, policy=Policy(refuse=refuse))
    assert (result.status, result.problem, result.error) == (Status.POLICY, Problem.REFUSED, "x" * 200)
    assert resolver.lookups == []
    assert [each.selector for each in seen] == ["ed"]
    result = await result_of(by_hand(l=str(len(BODY))), policy=Policy(refuse=refuse))
    assert result.status is Status.PASS


async def test_no_more_signatures_than_the_policy_has_are_looked_at() -> None:
    made = [selector(f"s{number}") for number in range(12)]
    resolver = published(*made)
    message = sign(MESSAGE, made, now=NOW) + MESSAGE
    results = await verify(message, resolver=resolver, now=NOW)
    assert [each.status for each in results] == [Status.PASS] * 10 + [Status.POLICY]
    assert (results[-1].problem, results[-1].error) == (Problem.TOO_MANY, "2 more signatures were not looked at")
    assert len(resolver.lookups) == 10
    results = await verify(message, resolver=resolver, now=NOW, policy=Policy(max_signatures=12))
    assert [each.status for each in results] == [Status.PASS] * 12
    with pytest.raises(InputError):
        Policy(max_signatures=0)


async def test_a_record_is_looked_up_once_and_all_at_once() -> None:
    waiting = asyncio.Event()
    asked: list[str] = []

    class Slow(MockResolver):
        async def lookup_txt(self, name: str) -> Any:
            asked.append(name)
            if len(asked) == 2:
                waiting.set()
            await waiting.wait()
            return await super().lookup_txt(name)

    made = [selector("a"), selector("b", RSA), selector("a")]
    resolver = Slow(txt={each.record_name: [str(each.record())] for each in made})
    results = await verify(sign(MESSAGE, made, now=NOW) + MESSAGE, resolver=resolver, now=NOW)
    assert [each.status for each in results] == [Status.PASS] * 3
    assert sorted(asked) == ["a._domainkey.example.org", "b._domainkey.example.org"]


async def test_what_a_resolver_raises_otherwise_is_raised() -> None:
    class Broken(MockResolver):
        async def lookup_txt(self, name: str) -> Any:
            raise ConnectionError(name)

    for made in ([selector("a")], [selector("a"), selector("b")]):
        with pytest.raises(ConnectionError):
            await verify(sign(MESSAGE, made, now=NOW) + MESSAGE, resolver=Broken(), now=NOW)


async def test_a_message_may_end_after_its_header() -> None:
    made = selector()
    header = b"From: a@example.org\r\n"
    field = sign(header + b"\r\n", [made], now=NOW)
    for end in (b"", b"\r\n", b"\r\n\r\n"):
        [result] = await verify(field + header + end, resolver=published(made), now=NOW)
        assert result.status is Status.PASS
    [result] = await verify(field + header + b"\r\nx", resolver=published(made), now=NOW)
    assert result.problem is Problem.BODY_HASH


@pytest.mark.parametrize("message", [b"", b"x", b"From: a\nTo: b\r\n\r\n", b"\r\nx", b"From: a\r\n\0: b\r\n\r\n"])
async def test_headers_that_cannot_be_read(message: bytes) -> None:
    with pytest.raises(InvalidMessage):
        await verify(message, resolver=MockResolver())


async def test_headers_have_limits() -> None:
    with pytest.raises(LimitExceeded):
        await verify(b"DKIM-Signature: x\r\n" * 20_001 + b"\r\n", resolver=MockResolver())
    results = await verify(b"DKIM-Signature: x\r\n" * 19_999 + b"\r\n", resolver=MockResolver())
    assert [each.problem for each in results] == [Problem.SYNTAX] * 10 + [Problem.TOO_MANY]


async def test_large_messages_and_files_are_verified() -> None:
    made = selector("rsa", RSA)
    message = MESSAGE + b"a  line \r\n" * 60_000
    message = sign(message, [made], now=NOW) + message
    for given in (message, bytearray(message), _at(message + b"?")):
        [result] = await verify(given, size=len(message), resolver=published(made), now=NOW)
        assert result.status is Status.PASS
    [result] = await verify(message + b"x", resolver=published(made), now=NOW)
    assert result.problem is Problem.BODY_HASH


class _at:
    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def read_at(self, size: int, offset: int, /) -> bytes:
        self._file.seek(offset)
        return self._file.read(size)


async def test_the_system_s_time_is_the_default() -> None:
    made = selector(expires_after=timedelta(days=1))
    [result] = await verify(sign(MESSAGE, [made]) + MESSAGE, resolver=published(made))
    assert result.status is Status.PASS
    [result] = await verify(sign(MESSAGE, [made], now=NOW) + MESSAGE, resolver=published(made))
    assert result.problem is Problem.EXPIRED


async def test_looking_a_record_up_alone() -> None:
    resolver = MockResolver(txt={NAME: [str(record_for(ED25519))]}, all_authentic=True)
    assert await lookup_record(resolver, "ED", DOMAIN) == Found(record=record_for(ED25519), authentic=True)
    found = await lookup_record(resolver, "no", DOMAIN)
    assert isinstance(found, NotFound)
    assert (found.status, found.problem, found.authentic) == (Status.PERMERROR, Problem.NO_RECORD, True)
    long = parse_domain(".".join(["a" * 60] * 4))
    found = await lookup_record(resolver, "ed", long)
    assert isinstance(found, NotFound)
    assert (found.problem, len(resolver.lookups)) == (Problem.NO_RECORD, 2)
