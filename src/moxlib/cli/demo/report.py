"""The demo's report: what happened to each message, attempt by attempt, and the totals. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from moxlib.cli.demo.feedback import FeedbackStory
from moxlib.cli.demo.plan import Fate, Planned, judge
from moxlib.localserve import Received
from moxlib.queue import AttemptResult, Retired

__all__ = ["Story"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that happened in one run of the demo."""

    plan: tuple[tuple[Planned, ...], ...]
    """The recipients of each message."""
    history: Mapping[str, Retired]
    """How each message ended, by recipient."""
    held: frozenset[str]
    """Recipients whose messages were held when they were submitted."""
    refused: tuple[str, ...]
    """Messages that the queue would not take, with its reasons."""
    received: tuple[Received, ...]
    """What the servers accepted."""
    seconds: float
    feedback: FeedbackStory
    """What came back."""

    def problems(self) -> tuple[str, ...]:
        """Return what did not go as planned, a sentence for each; nothing, if all is well."""
        planned = [each for group in self.plan for each in group]
        wrong = judge(planned, history=self.history, held=self.held, received=self.received)
        return (*self.refused, *wrong, *self.feedback.problems)

    def lines(self) -> Iterator[str]:
        """Return the report as lines of text."""
        for group in self.plan:
            yield ""
            yield from self._message(group)
        yield from self.feedback.lines
        yield ""
        yield from self._totals()
        yield ""
        problems = self.problems()
        yield "Not as planned:" if problems else "Every message ended as planned, and arrived once and unchanged."
        for problem in problems:
            yield f"  {problem}"

    def _message(self, group: tuple[Planned, ...]) -> Iterator[str]:
        sample = group[0].sample
        known = [self.history[planned.recipient] for planned in group if planned.recipient in self.history]
        what = f"{known[0].subject!r} from {known[0].sender}" if known else "nothing is known of it"
        yield f"{sample.name}: {what}, {len(sample.content)} bytes"
        for planned in group:
            retired = self.history.get(planned.recipient)
            how = "not finished" if retired is None else str(retired.event)
            held = ", held at first and then released" if planned.recipient in self.held else ""
            yield f"  {planned.recipient}: {how}{held}"
            for result in () if retired is None else retired.results:
                yield f"    {_attempt(result)}"

    def _totals(self) -> Iterator[str]:
        fates = Counter(planned.fate for group in self.plan for planned in group)
        yield f"{len(self.plan)} messages for {fates.total()} recipients, planned to be"
        for fate in Fate:
            yield f"  {fates[fate]:6} {fate}"
        yield "They ended as"
        events = Counter(retired.event.value for retired in self.history.values())
        for event, count in sorted(events.items()):
            yield f"  {count:6} {event}"
        if unfinished := fates.total() - events.total():
            yield f"  {unfinished:6} not finished"
        kinds = Counter(result.kind.value for retired in self.history.values() for result in retired.results)
        yield f"{kinds.total()} attempts in {self.seconds:.1f} seconds, among them"
        for kind, count in sorted(kinds.items()):
            yield f"  {count:6} {kind}"


def _attempt(result: AttemptResult) -> str:
    took = 1000 * result.duration.total_seconds()
    return f"attempt {result.attempt} at {result.started:%H:%M:%S.%f}, {took:.0f} ms: {result.kind}, {result.summary}"
