"""The demo's plan: who gets each message, what is to become of it, and whether it did. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import assert_never

from moxlib.cli.demo.load import Sample
from moxlib.localserve import Received
from moxlib.queue import EventType, ResultKind, Retired

__all__ = [
    "DELIVERS",
    "HELD_DOMAIN",
    "MOVED",
    "POST",
    "SERVERS",
    "Fate",
    "Greylisting",
    "KnownUsers",
    "Planned",
    "judge",
    "make_plan",
    "quick_schedule",
]

PEOPLE = ("ann", "bela", "chiara", "dmitri", "emeka", "fatma", "goran", "hanna", "ines", "joon", "kofi", "lena")
POST, GREYLIST, HELD_DOMAIN = "post.example", "greylist.example", "held.example"
SERVERS = (POST, GREYLIST, HELD_DOMAIN)
"""The recipients' domains; each has a server of its own."""
MOVED = "moved."  # how the addresses begin that their server does not know any more
ADDED = (b"date:", b"message-id:")  # header fields that the queue adds where they are missing


class Fate(StrEnum):
    """What is to happen to a message for one recipient."""

    ACCEPTED = "accepted at once"
    DEFERRED = "deferred twice, then accepted"
    REFUSED = "refused"
    HELD = "held by a rule, released, then accepted"


DELIVERS = frozenset({Fate.ACCEPTED, Fate.DEFERRED, Fate.HELD})
CYCLE = (Fate.ACCEPTED, Fate.DEFERRED, Fate.ACCEPTED, Fate.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One recipient of one message."""

    sample: Sample
    recipient: str
    fate: Fate


def make_plan(samples: Sequence[Sample], recipients: int) -> tuple[tuple[Planned, ...], ...]:
    """Return so many recipients for each message; the last one of the first message is to be held.

    No address occurs twice, so that what a server got can be told apart.
    """
    plan = []
    for at, sample in enumerate(samples):
        fates = [CYCLE[number % len(CYCLE)] for number in range(recipients)]
        if at == 0:
            fates[-1] = Fate.HELD
        people = [(fate, at * recipients + number) for number, fate in enumerate(fates)]
        plan.append(tuple(Planned(sample=sample, recipient=_address(f, n), fate=f) for f, n in people))
    return tuple(plan)


def _address(fate: Fate, number: int) -> str:
    person = f"{PEOPLE[number % len(PEOPLE)]}.{number + 1}"
    match fate:
        case Fate.ACCEPTED:
            return f"{person}@{POST}"
        case Fate.DEFERRED:
            return f"{person}@{GREYLIST}"
        case Fate.REFUSED:
            return f"{MOVED}{person}@{POST}"
        case Fate.HELD:
            return f"{person}@{HELD_DOMAIN}"
        case _:
            assert_never(fate)


def quick_schedule(attempts: int) -> timedelta | None:
    """Wait 0.2, 0.4 and 0.6 seconds, where a real queue waits minutes and hours."""
    return timedelta(seconds=0.2 * attempts) if attempts <= 3 else None  # noqa: PLR2004 - one more than it takes


class KnownUsers:
    """A server's rules: those who moved are not known any more."""

    def recipient(self, address: str) -> str:
        """Refuse those who moved."""
        return f"550 5.1.1 <{address}> is not known here" if address.startswith(MOVED) else ""

    def message(self, recipients: tuple[str, ...]) -> str:  # noqa: ARG002 - as any rules
        """Accept."""
        return ""


class Greylisting:
    """A server's rules: it knows no recipient's sender the first time, and has no space the second time."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def recipient(self, address: str) -> str:
        """Defer the first time."""
        self._seen[address] += 1
        return f"450 4.2.0 <{address}> is greylisted, try again later" if self._seen[address] == 1 else ""

    def message(self, recipients: tuple[str, ...]) -> str:
        """Defer the second time, after the whole message has come."""
        first_chance = any(self._seen[address] == 2 for address in recipients)  # noqa: PLR2004
        return "452 4.3.1 no space left, try again later" if first_chance else ""


KINDS: Mapping[Fate, tuple[ResultKind, ...]] = {
    Fate.ACCEPTED: (ResultKind.DELIVERED,),
    Fate.DEFERRED: (ResultKind.DEFERRED, ResultKind.DEFERRED, ResultKind.DELIVERED),
    Fate.REFUSED: (ResultKind.FAILED,),
    Fate.HELD: (ResultKind.DELIVERED,),
}


def judge(
    plan: Iterable[Planned],
    *,
    history: Mapping[str, Retired],
    held: frozenset[str],
    received: Iterable[Received],
) -> tuple[str, ...]:
    """Return what did not go as planned, a sentence for each; nothing, if all is well.

    Args:
        plan: all that was to happen.
        history: by recipient, how the queue says that it ended.
        held: the recipients whose messages were held when they were submitted.
        received: what all servers together accepted.
    """
    contents: dict[str, list[bytes]] = {}
    for message in received:
        for recipient in message.recipients:
            contents.setdefault(recipient, []).append(message.content)
    problems: list[str] = []
    for planned in plan:
        recipient = planned.recipient
        wrong = _misjudged(planned, history.get(recipient), recipient in held, contents.pop(recipient, []))
        problems += [f"{recipient} ({planned.sample.name}): {what}" for what in wrong]
    problems += [f"{recipient}: a server received a message that nobody planned" for recipient in contents]
    return tuple(problems)


def _misjudged(planned: Planned, retired: Retired | None, held: bool, contents: list[bytes]) -> Iterator[str]:
    fate = planned.fate
    if retired is None:
        yield "it has not ended"
    else:
        event = EventType.DELIVERED if fate in DELIVERS else EventType.FAILED
        kinds = tuple(result.kind for result in retired.results)
        if (retired.event, kinds) != (event, KINDS[fate]):
            yield f"planned was {fate}; it ended as {retired.event} after {', '.join(kinds) or 'no attempt'}"
    if held != (fate is Fate.HELD):
        yield "it was held" if held else "no rule held it"
    if len(contents) != (fate in DELIVERS):
        yield f"its server received it {len(contents)} times"
    if not all(is_same(content, planned.sample.content) for content in contents):
        yield "its server received other content than was submitted"


def is_same(received: bytes, submitted: bytes) -> bool:
    """Say whether a server received what was submitted: the same octets, after header fields that the queue adds."""
    if not received.endswith(submitted):
        return False
    added = received[: len(received) - len(submitted)]
    return all(line.lower().startswith(ADDED) for line in added.splitlines())
