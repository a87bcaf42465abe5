"""Base addresses are fixed points that merge no domains, and a list survives CSV."""

import io
import string
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dns import parse_domain
from moxlib.queue import ReplyClass
from moxlib.queue.suppression import (
    BaseRules,
    Cause,
    Evidence,
    Origin,
    Suppression,
    base_address,
    mox_base_address,
    read_suppressions,
    write_suppressions,
)
from moxlib.smtp import Address, InvalidAddress, Localpart, Path

DOMAINS = ("example.org", "gmail.com", "googlemail.com", "xn--bcher-kva.example")
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def localpart(value: str) -> Localpart | None:
    try:
        return Localpart(value=value)
    except InvalidAddress:
        return None


characters = st.sampled_from(string.ascii_letters + "..++--==' \"\\@0" + "ÜéΣςİıßẞ\u01c5\u023a日☺")
localparts = st.one_of(st.text(characters, max_size=70), st.text(max_size=30)).map(localpart)
known_localparts = localparts.filter(lambda part: part is not None and part.value != "")


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    part = draw(known_localparts)
    assert part is not None
    try:
        return Address(localpart=part, domain=parse_domain(draw(st.sampled_from(DOMAINS))))
    except InvalidAddress:  # an invisible space, which only whole addresses refuse
        return Address(localpart=Localpart(value="x"), domain=parse_domain("example.org"))


separators = st.lists(st.sampled_from(["+", "-", "--", "+-", "=", "'"]), max_size=3).map(tuple)
rules = st.builds(
    BaseRules,
    separators=st.dictionaries(st.sampled_from(DOMAINS), separators, max_size=2),
    default_separators=separators,
    dotless_domains=st.frozensets(st.sampled_from(DOMAINS)),
    all_dotless=st.booleans(),
)


@given(addresses(), rules)
def test_a_base_address_is_its_own_base_address(address: Address, these: BaseRules) -> None:
    base = base_address(address, these)
    assert base_address(base, these) == base
    assert base.localpart.value
    assert base.host == Path.of(address).host


@given(addresses(), addresses(), rules)
def test_domains_are_never_merged(first: Address, second: Address, these: BaseRules) -> None:
    if first.domain != second.domain:
        assert str(base_address(first, these)) != str(base_address(second, these))


@given(addresses())
def test_by_default_only_a_plus_and_case_are_ignored(address: Address) -> None:
    base = base_address(address)
    if address.domain.ascii == "example.org" and address.localpart.value.isascii():
        value = address.localpart.value.lower()
        assert value.startswith(base.localpart.value)
        assert value[len(base.localpart.value) :][:1] in ("", "+")


@given(addresses())
def test_moxs_is_its_own_too(address: Address) -> None:
    base = mox_base_address(address)
    if base.localpart.value:
        assert mox_base_address(base) == base
        assert not set(base.localpart.value[1:]) & set("+-.")


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
cells = st.one_of(texts, texts.map(lambda text: f"={text}"), st.text("'=+-@\t\r\n;,\" a\uff0b", max_size=12))
numbers = st.integers(0, 10**18 - 1)
times = st.datetimes(
    datetime(1000, 1, 1),
    datetime(9000, 1, 1),
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=9))]),
)
evidence = st.builds(
    Evidence,
    origin=st.sampled_from(Origin),
    code=st.integers(0, 999),
    enhanced=cells,
    command=cells,
    text=st.one_of(cells, st.text()),
    reply_class=st.none() | st.sampled_from(ReplyClass),
    failures=numbers,
    message=st.none() | numbers,
    attempt=st.none() | numbers,
    message_id=cells,
    dsn_message_id=cells,
)


@st.composite
def suppressions(draw: st.DrawFn) -> Suppression:
    address = draw(addresses())
    since = draw(times)
    return Suppression(
        account=draw(cells),
        base_address=str(base_address(address)),
        original_address=str(address),
        since=since,
        cause=draw(st.sampled_from(Cause)),
        reason=draw(cells),
        evidence=draw(st.none() | evidence),
        expires=draw(st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=9999)).map(since.__add__)),
        repeats=draw(numbers),
    )


@given(st.lists(suppressions(), max_size=5))
def test_a_list_survives_csv(entries: list[Suppression]) -> None:
    text = "".join(write_suppressions(entries))
    again = list(read_suppressions(io.StringIO(text, newline=""), now=NOW))
    assert again == entries
    assert "".join(write_suppressions(again)) == text
