"""The mechanisms by the RFCs' own examples, and what they refuse. The vectors have more; see tests/conformance."""

import base64
import pickle

import pytest

from moxlib.errors import InputError, RemoteError
from moxlib.sasl import (
    CRAMMD5,
    SCRAM,
    ChannelBinding,
    External,
    Login,
    Mechanism,
    Plain,
    SASLError,
    SCRAMHash,
    XOAuth2,
    make_nonce,
)
from moxlib.sasl.mechanism import MAX_CHALLENGE
from moxlib.sasl.scram import MAX_ITERATIONS, MIN_ITERATIONS


def scram(**changes: object) -> SCRAM:
    given: dict[str, object] = {"nonce": lambda: "rOprNGfwEbeRWgbNEkqO"}
    return SCRAM(SCRAMHash.SHA256, "user", "pencil", **(given | changes))  # type: ignore[arg-type]  # by each test


def first(nonce: str = "rOprNGfwEbeRWgbNEkqO12345678", salt: bytes = b"saltsalt", iterations: object = 4096) -> bytes:
    return f"r={nonce},s={base64.b64encode(salt).decode()},i={iterations}".encode()


def test_plain() -> None:
    """RFC 4616 4."""
    step = Plain("tim", "tanstaaftanstaaf").step()
    assert (step.data, step.last) == (b"\0tim\0tanstaaftanstaaf", True)
    assert Plain("Kurt", "xipj3plmq", authorize_as="Ursel").step().data == b"Ursel\0Kurt\0xipj3plmq"


def test_login() -> None:
    mechanism = Login("mjl", "secret")
    steps = [mechanism.step(), mechanism.step(b"Password:")]
    assert [(step.data, step.last) for step in steps] == [(b"mjl", False), (b"secret", True)]


def test_external() -> None:
    assert External().step().data == b""
    assert External("mjl").step().data == b"mjl"


def test_cram_md5() -> None:
    """RFC 2195 2."""
    mechanism = CRAMMD5("tim", "tanstaaftanstaaf")
    assert mechanism.step().data is None
    step = mechanism.step(b"<1896.697170952@postoffice.reston.mci.net>")
    assert (step.data, step.last) == (b"tim b913a602c7eda7a495b4e6e7334d3890", True)


@pytest.mark.parametrize("challenge", [b"", b"x", b"<>", b"<x>", b"<1.@h>", b"<1.2@>", b"<1.2>", b"1.2@h", None])
def test_bad_cram_md5_challenges(challenge: bytes | None) -> None:
    mechanism = CRAMMD5("tim", "x")
    mechanism.step()
    with pytest.raises(SASLError):
        mechanism.step(challenge)


def test_scram_sha_1() -> None:
    """RFC 5802 5."""
    mechanism = SCRAM(SCRAMHash.SHA1, "user", "pencil", nonce=lambda: "fyko+d2lbbFgONRv9qkxdawL")
    assert mechanism.name == "SCRAM-SHA-1"
    assert mechanism.step().data == b"n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
    final = mechanism.step(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
    assert final.data == (b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=")
    last = mechanism.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    assert (last.data, last.last) == (b"", True)


def test_scram_sha_256() -> None:
    """RFC 7677 3."""
    mechanism = scram()
    assert mechanism.step().data == b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    final = mechanism.step(b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    assert final.data == b"c=biws,r=" + nonce + b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    assert mechanism.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").last


def test_scram_plus_binds_the_channel() -> None:
    mechanism = scram(binding=b"\x01\x02")
    assert mechanism.name == "SCRAM-SHA-256-PLUS"
    assert mechanism.step().data == b"p=tls-unique,,n=user,r=rOprNGfwEbeRWgbNEkqO"
    data = mechanism.step(first()).data or b""
    assert base64.b64decode(data.partition(b",")[0].removeprefix(b"c=")) == b"p=tls-unique,,\x01\x02"


@pytest.mark.parametrize(
    ("binding", "header"), [(ChannelBinding.UNSUPPORTED, b"n,,"), (ChannelBinding.NOT_OFFERED, b"y,,")]
)
def test_scram_says_why_no_channel_is_bound(binding: ChannelBinding, header: bytes) -> None:
    assert (scram(binding=binding).step().data or b"").startswith(header)


def test_scram_names_are_normalized_and_escaped() -> None:
    mechanism = SCRAM(SCRAMHash.SHA256, "a,b=A\u030a", "x", authorize_as="c,d", nonce=lambda: "nonce")
    assert mechanism.step().data == "n,a=c=2Cd,n=a=2Cb=3D\u00c5,r=nonce".encode()


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"garbage",
        b"m=ext,r=rOprNGfwEbeRWgbNEkqO12345678,s=c2FsdHNhbHQ=,i=4096",
        b"e=unknown-user",
        first("someone-elses-nonce"),
        first("rOprNGfwEbeRWgbNEkqO"),
        first("rOprNGfwEbeRWgbNEkqO1234567"),
        first(salt=b"short"),
        first(iterations=MIN_ITERATIONS - 1),
        first(iterations=MAX_ITERATIONS + 1),
        first(iterations="04096"),
        first(iterations="9" * 100),
        first().replace(b"s=", b"s=!"),
        first().replace(b"=,i", b",i"),
        first() + b",",
        first() + b"\0",
    ],
)
def test_bad_first_messages_of_a_scram_server(message: bytes) -> None:
    mechanism = scram()
    mechanism.step()
    with pytest.raises(SASLError):
        mechanism.step(message)


def test_scram_passes_over_extensions() -> None:
    mechanism = scram()
    mechanism.step()
    assert mechanism.step(first() + b",x=new,y=newer").data


@pytest.mark.parametrize("message", [b"", b"v=", b"v=AAAA", b"v=!", b"v=A", b"e=invalid-proof", b"v=AAAA\0", b"ok"])
def test_a_scram_server_that_does_not_prove_itself(message: bytes) -> None:
    mechanism = scram()
    mechanism.step()
    mechanism.step(first())
    with pytest.raises(SASLError):
        mechanism.step(message)


def test_empty_channel_binding() -> None:
    with pytest.raises(InputError):
        scram(binding=b"")


def test_nonces_differ_and_fit() -> None:
    nonces = {make_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert all(len(nonce) == 16 and nonce.isascii() and "," not in nonce for nonce in nonces)


def test_xoauth2() -> None:
    mechanism = XOAuth2("someuser@example.com", "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg")
    step = mechanism.step()
    assert (
        step.data == b"user=someuser@example.com\x01auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
    )
    assert (step.last, step.or_challenge) == (True, True)
    explained = mechanism.step(b'{"status":"401"}')
    assert (explained.data, explained.last, explained.or_challenge) == (b"", True, False)
    assert mechanism.status == b'{"status":"401"}'


ALL: list[tuple[Mechanism, int]] = [
    (Plain("u", "p"), 1),
    (Login("u", "p"), 2),
    (External("u"), 1),
    (XOAuth2("u", "t"), 2),
]


@pytest.mark.parametrize(("mechanism", "steps"), ALL, ids=lambda value: getattr(value, "name", None))
def test_a_server_that_asks_for_more(mechanism: Mechanism, steps: int) -> None:
    for _ in range(steps):
        mechanism.step(b"")
    with pytest.raises(SASLError) as caught:
        mechanism.step(b"")
    assert caught.value.mechanism == mechanism.name


def test_cram_md5_and_scram_end_too() -> None:
    cram = CRAMMD5("tim", "x")
    cram.step()
    cram.step(b"<1.2@h>")
    with pytest.raises(SASLError):
        cram.step(b"<1.2@h>")
    mechanism = SCRAM(SCRAMHash.SHA1, "user", "pencil", nonce=lambda: "fyko+d2lbbFgONRv9qkxdawL")
    mechanism.step()
    mechanism.step(b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096")
    mechanism.step(b"v=rmF9pqV8S7suAoZWja4dJRkFsKQ=")
    with pytest.raises(SASLError):
        mechanism.step(b"")


@pytest.mark.parametrize(
    "mechanism", [Plain("u", "p"), XOAuth2("u", "t"), CRAMMD5("u", "p"), scram()], ids=lambda mechanism: mechanism.name
)
def test_a_challenge_over_the_limit(mechanism: Mechanism) -> None:
    with pytest.raises(SASLError):
        mechanism.step(b"x" * (MAX_CHALLENGE + 1))


def test_errors() -> None:
    error = pickle.loads(pickle.dumps(SASLError("PLAIN", "no")))
    assert (error.mechanism, error.reason, str(error)) == ("PLAIN", "no", "PLAIN: no")
    assert isinstance(error, RemoteError)
