"""The choice of sources: by weight, stable, and moved only by what changes."""

from collections import Counter
from dataclasses import replace
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from moxlib.queue.sources import Source, SourceSet


def source(number: int, weight: int) -> Source:
    """Every third has both families, the others one each."""
    ipv4 = f"192.0.2.{number}" if number % 3 != 1 else None
    ipv6 = f"2001:db8::{number:x}" if number % 3 != 2 else None
    return Source(ipv4=ipv4, ipv6=ipv6, weight=weight)


sources = st.dictionaries(st.integers(1, 250), st.integers(1, 20), min_size=1, max_size=8).map(
    lambda weights: tuple(source(number, weight) for number, weight in weights.items())
)
keys = st.text(max_size=30)
families = st.sampled_from([{"ipv4": True, "ipv6": True}, {"ipv4": True, "ipv6": False}, {"ipv4": False, "ipv6": True}])


def draw() -> float:
    raise AssertionError("a stable choice is not made at random")


@given(sources, keys, families, st.booleans(), st.floats(0, 1, exclude_max=True))
def test_one_that_can_be_used_is_chosen(
    given_sources: tuple[Source, ...], key: str, family: dict[str, bool], stable: bool, number: float
) -> None:
    chosen = SourceSet(given_sources, stable=stable).choose(
        key, lambda: number, ipv4=family["ipv4"], ipv6=family["ipv6"]
    )
    possible = [source for source in given_sources if source.has(**family)]
    assert chosen in possible if possible else chosen is None


@given(sources, st.lists(keys, min_size=1, max_size=50), st.randoms())
def test_without_a_source_only_its_destinations_move(
    given_sources: tuple[Source, ...], destinations: list[str], random: Random
) -> None:
    """Read the other way round: one that is added takes what it gets, and moves nothing else."""
    gone = random.choice(given_sources)
    rest = tuple(source for source in given_sources if source is not gone)
    if not rest:
        return
    before, after = SourceSet(given_sources), SourceSet(tuple(random.sample(rest, len(rest))))
    for key in destinations:
        chosen = before.choose(key, draw)
        if chosen is not gone:
            assert after.choose(key, draw) == chosen


@given(sources, st.lists(keys, min_size=1, max_size=50), st.integers(1, 100))
def test_more_weight_only_takes_destinations(
    given_sources: tuple[Source, ...], destinations: list[str], more: int
) -> None:
    heavier = replace(given_sources[0], weight=given_sources[0].weight + more)
    before, after = SourceSet(given_sources), SourceSet((heavier, *given_sources[1:]))
    for key in destinations:
        assert after.choose(key, draw) in (heavier, before.choose(key, draw))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.booleans(), st.integers(0, 2**32))
def test_each_gets_its_share(weights: list[int], stable: bool, seed: int) -> None:
    """Of 2,000 destinations or deliveries, to within six standard deviations of what chance would make of it."""
    given_sources = tuple(Source(ipv4=f"192.0.2.{n}", weight=weight) for n, weight in enumerate(weights, 1))
    chooser, random, times = SourceSet(given_sources, stable=stable), Random(seed), 2000
    counts = Counter(chooser.choose(f"{seed}.{number}.example", random.random) for number in range(times))
    for one in given_sources:
        share = one.weight / sum(weights)
        assert abs(counts[one] - times * share) <= 6 * (times * share * (1 - share)) ** 0.5 + 1
