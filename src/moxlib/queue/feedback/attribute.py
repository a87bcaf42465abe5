"""Which messages feedback is about: each recipient of a report on its own, by its address. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from moxlib.queue.feedback.report import ReceivedFeedback, ReportedStatus, address_key
from moxlib.queue.types import EventType, Message, Retired

__all__ = ["About", "Attribution", "Candidate", "attribute"]

Candidate = Message | Retired
"""A message that feedback may be about: in the queue, or in its history."""

# Of what a report says twice of the same message, such as of an alias that leads to two mailboxes, the first counts.
_GRAVEST: Final = (
    EventType.FAILED,
    EventType.COMPLAINED,
    EventType.DELAYED,
    EventType.EXPANDED,
    EventType.RELAYED,
    EventType.DELIVERED,
    EventType.UNRECOGNIZED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """One message, and what is said of it."""

    message: Candidate
    status: ReportedStatus
    certain: bool
    """The report names its recipient; else nobody is suppressed for it (its mail was forwarded, perhaps)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """What a report is about."""

    about: tuple[About, ...] = ()
    """Each message once, in order of id."""
    unmatched: tuple[ReportedStatus, ...] = ()
    """What it says of recipients that none of the messages is to."""


def attribute(report: ReceivedFeedback, candidates: Sequence[Candidate], *, alone: bool) -> Attribution:
    """Say which messages a report is about.

    Args:
        report: what came in.
        candidates: the messages that it may be about, by their identifiers.
        alone: the identifier is of one message only, so that a report that names somebody else is about it all the
            same.
    """
    by_address: dict[str, Candidate] = {}
    for candidate in sorted(candidates, key=lambda candidate: candidate.id):
        for key in _addresses(candidate):
            by_address[key] = candidate  # of several to the same address, the latest
    said: dict[int, About] = {}
    unmatched: list[ReportedStatus] = []
    for status in report.statuses:
        named = next((by_address[key] for key in status.recipients if key in by_address), None)
        if named is None:
            unmatched.append(status)
        else:
            _add(said, About(message=named, status=status, certain=True))
    if not said and alone and len(candidates) == 1:
        gravest = min(report.statuses, key=lambda status: _GRAVEST.index(status.event))
        certain = not gravest.recipients or gravest.event is EventType.COMPLAINED  # reports hide who complained
        about = About(message=candidates[0], status=gravest, certain=certain)
        return Attribution(about=(about,), unmatched=tuple([s for s in unmatched if s is not gravest]))
    return Attribution(about=tuple([said[id_] for id_ in sorted(said)]), unmatched=tuple(unmatched))


def _addresses(candidate: Candidate) -> Iterable[str]:
    yield address_key(candidate.recipient)
    if isinstance(candidate, Message) and candidate.orcpt:
        yield address_key(candidate.orcpt.partition(";")[2])


def _add(said: dict[int, About], about: About) -> None:
    there = said.get(about.message.id)
    if there is None or _GRAVEST.index(about.status.event) < _GRAVEST.index(there.status.event):
        said[about.message.id] = about
