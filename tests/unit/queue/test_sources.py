"""Source addresses and the choice among them, by example."""

from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.sources import Source, SourceSet

A = Source(ipv4="192.0.2.1", ipv6="2001:db8::1", ehlo_name="a.example")
B = Source(ipv4="192.0.2.2", ehlo_name="b.example")
C = Source(ipv6="2001:db8::3", ehlo_name="c.example")


def no_random() -> float:
    pytest.fail("a stable choice is not made at random")


def test_a_source_without_addresses_is_what_the_system_chooses() -> None:
    anywhere = Source()
    assert (anywhere.ipv4, anywhere.ipv6, anywhere.ehlo_name, anywhere.weight) == (None, None, "localhost", 1)
    assert SourceSet((anywhere,)).choose("example.net", no_random, ipv4=False) == anywhere


@pytest.mark.parametrize(
    ("source", "ipv4", "ipv6"), [(A, True, True), (B, True, False), (C, False, True), (Source(), True, True)]
)
def test_families(source: Source, ipv4: bool, ipv6: bool) -> None:
    assert source.has(ipv4=True, ipv6=False) == ipv4
    assert source.has(ipv4=False, ipv6=True) == ipv6
    assert source.has(ipv4=True, ipv6=True)
    assert not source.has(ipv4=False, ipv6=False)


def test_addresses_are_kept_in_their_usual_form() -> None:
    source = Source(ipv6="2001:0DB8:0:0::1")
    assert source == Source(ipv6="2001:db8::1")
    assert source.ipv6 == "2001:db8::1"


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("ipv4", {"ipv4": "2001:db8::1"}),
        ("ipv4", {"ipv4": ""}),
        ("ipv4", {"ipv4": "192.0.2.256"}),
        ("ipv4", {"ipv4": "192.0.2.0/24"}),
        ("ipv4", {"ipv4": "mx.example"}),
        ("ipv4", {"ipv4": "0.0.0.0"}),
        ("ipv4", {"ipv4": "224.0.0.1"}),
        ("ipv6", {"ipv6": "192.0.2.1"}),
        ("ipv6", {"ipv6": "::"}),
        ("ipv6", {"ipv6": "ff02::1"}),
        ("ehlo_name", {"ehlo_name": ""}),
        ("ehlo_name", {"ehlo_name": "a b"}),
        ("ehlo_name", {"ehlo_name": "a\r\nMAIL FROM:<>"}),
        ("ehlo_name", {"ehlo_name": "bücher.example"}),
        ("ehlo_name", {"ehlo_name": "a" * 256}),
        ("weight", {"weight": 0}),
        ("weight", {"weight": -1}),
        ("weight", {"weight": 1_000_001}),
    ],
)
def test_what_is_no_source(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Source.{field}"):
        Source(**options)


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ((), "from 1 to 10000 sources, not 0"),
        ((A, B, Source(ipv4="192.0.2.9", ipv6="2001:db8:0::1")), "the same address: 2001:db8::1"),
        ((B, C, Source(ipv4="192.0.2.2")), "the same address: 192.0.2.2"),
        ((Source(ehlo_name="a.example"), Source(ehlo_name="b.example")), "the same address: what the system chooses"),
    ],
)
def test_sets_that_cannot_be(sources: tuple[Source, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SourceSet(sources)


def test_only_a_source_with_an_address_of_the_family_is_chosen() -> None:
    sources = SourceSet((A, B, C))
    keys = [f"{number}.example" for number in range(200)]
    assert {sources.choose(key, no_random) for key in keys} == {A, B, C}
    assert {sources.choose(key, no_random, ipv6=False) for key in keys} == {A, B}
    assert {sources.choose(key, no_random, ipv4=False) for key in keys} == {A, C}


def test_where_there_is_none_none_is_chosen() -> None:
    assert SourceSet((B,)).choose("example.net", no_random, ipv4=False) is None
    assert SourceSet((A, B)).choose("example.net", no_random, ipv4=False, ipv6=False) is None


def test_a_destination_keeps_its_source_over_releases() -> None:
    """Known answers: a change of the hashing would move every destination of every user."""
    sources = SourceSet((A, B, C))
    chosen = [
        sources.choose(key, no_random) for key in ("example.net", "example.org", "gmail.com", "b\xfccher.example")
    ]
    assert [source and source.ehlo_name for source in chosen] == ["b.example", "c.example", "a.example", "b.example"]


def test_the_order_and_the_names_do_not_matter_to_it() -> None:
    renamed = SourceSet(
        (C, Source(ipv4="192.0.2.2", ehlo_name="new.example"), Source(ipv4=A.ipv4, ipv6=A.ipv6, ehlo_name="a.example"))
    )
    for number in range(100):
        before = SourceSet((A, B, C)).choose(str(number), no_random)
        after = renamed.choose(str(number), no_random)
        assert before is not None
        assert after is not None
        assert (before.ipv4, before.ipv6) == (after.ipv4, after.ipv6)


@pytest.mark.parametrize(
    ("number", "chosen"), [(0.0, A), (0.24, A), (0.25, B), (0.74, B), (0.75, C), (0.999999999, C), (1.0, C)]
)
def test_a_choice_at_random_is_by_weight(number: float, chosen: Source) -> None:
    heavy = Source(ipv4=B.ipv4, ehlo_name="b.example", weight=2)
    sources = SourceSet((A, heavy, C), stable=False)
    found = sources.choose("example.net", lambda: number)
    assert found == (heavy if chosen is B else chosen)


def test_nothing_is_drawn_where_there_is_no_choice() -> None:
    assert SourceSet((A, B), stable=False).choose("example.net", no_random, ipv4=False) == A


def test_a_source_to_avoid_is_chosen_only_where_there_is_no_other() -> None:
    both = SourceSet((A, B))
    destinations = [f"{number}.example.net" for number in range(50)]
    assert {both.choose(name, no_random, avoid={A}) for name in destinations} == {B}
    usual = [both.choose(name, no_random) for name in destinations]
    assert [both.choose(name, no_random, avoid={A, B}) for name in destinations] == usual
    assert both.choose("example.net", no_random, ipv4=False, avoid={A}) == A
