"""Any claim survives its token, and no other key reads it."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxlib.queue.unsubscribe import ForgedToken, Unsubscribe, UnsubscribeHeaders, UnsubscribeTokens, token_in_subject

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KEYS = (b"a" * 32, b"b" * 40, b"c" * 64)
HEADERS = UnsubscribeHeaders(url="https://example.org/{token}/x", mailbox="jörg@example.org")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
claims = st.builds(
    Unsubscribe,
    account=texts,
    recipient=st.sampled_from(["a@b.example", "jörg@bücher.example", '"a b"@c.example', "x@[192.0.2.1]"]),
    tag=texts,
)
expiries = st.none() | st.timedeltas(timedelta(seconds=1), timedelta(days=10_000)).map(NOW.__add__)


@given(claims, expiries, st.permutations(KEYS))
def test_round_trip(claim: Unsubscribe, expires: datetime | None, keys: list[bytes]) -> None:
    token = UnsubscribeTokens(keys=tuple(keys)).sign(claim, expires=expires)
    assert len(token) <= 600
    assert UnsubscribeTokens(keys=KEYS).read(token, NOW) == claim
    assert token_in_subject(f"unsubscribe {token}") == token
    with pytest.raises(ForgedToken):
        UnsubscribeTokens(keys=tuple(keys[1:])).read(token, NOW)
    for line in HEADERS.block(token).split(b"\r\n"):
        assert line.isascii()
        assert len(line) <= 998
