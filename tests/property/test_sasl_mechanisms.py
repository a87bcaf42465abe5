"""Any challenge is answered or refused with our error; preparing a password twice is preparing it once."""

import base64
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from moxlib.sasl import CRAMMD5, SCRAM, Login, Mechanism, Plain, SASLError, SCRAMHash, XOAuth2, prepared_password

pieces = st.sampled_from(
    [
        b"r=nonce",
        b"12345678",
        b",s=",
        b"c2FsdHNhbHQ=",
        b",i=",
        b"4096",
        b"2048",
        b"v=",
        b"e=",
        b"<",
        b"1.2@h",
        b">",
        b",",
    ]
)
challenges = st.none() | st.binary(max_size=60) | st.lists(pieces, max_size=8).map(b"".join)
mechanisms = st.sampled_from(
    [
        lambda: Plain("u", "p"),
        lambda: Login("u", "p"),
        lambda: XOAuth2("u", "t"),
        lambda: CRAMMD5("u", "p"),
        lambda: SCRAM(SCRAMHash.SHA1, "u", "p", nonce=lambda: "nonce"),
        lambda: SCRAM(SCRAMHash.SHA256, "u", "p", binding=b"x", nonce=lambda: "nonce"),
    ]
)


@given(mechanisms, st.lists(challenges, max_size=5))
def test_any_challenge(make: Callable[[], Mechanism], sent: list[bytes | None]) -> None:
    mechanism = make()
    steps = [mechanism.step()]
    try:
        steps.extend(mechanism.step(challenge) for challenge in sent)
    except SASLError as error:
        assert error.mechanism == mechanism.name  # noqa: PT017 - it may as well succeed
    assert sum(step.last for step in steps) <= 2
    assert all(step.data is not None for step in steps[1:])


@given(st.text())
def test_preparing_twice_is_preparing_once(password: str) -> None:
    assert prepared_password(prepared_password(password)) == prepared_password(password)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_stays(password: str) -> None:
    assert prepared_password(password) == password


@given(st.text(st.characters(codec="utf-8"), max_size=20), st.text(st.characters(codec="utf-8"), max_size=20))
def test_plain_holds_both(username: str, password: str) -> None:
    data = Plain(username, password).step().data
    assert data == base64.b64decode(base64.b64encode(f"\0{username}\0{password}".encode()))
