"""`Observer`: what a program hears of the queue's work, for metrics and logs. Not durable; the event log is."""

from typing import Protocol

from moxlib.queue.submission import NewSubmission, Submission
from moxlib.queue.types import AttemptResult, Message
from moxlib.tlsrpt import Result

__all__ = ["NullObserver", "Observer"]


class Observer(Protocol):
    """Called in the event loop, after the fact; keep it short. What it raises is logged and goes no further."""

    def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        """A submission is on disk."""
        ...

    def attempted(self, message: Message, result: AttemptResult) -> None:
        """An attempt ended; its settlement is on its way to the disk."""
        ...

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        """A direct delivery to a recipient domain learned something of TLS at its hosts, as RFC 8460 counts it.

        Add up a day's (`moxlib.tlsrpt.merge`), and `moxlib.tlsrpt.render_report` makes the report of them.
        """
        ...

    def lease_lost(self, worker: int, lost: int) -> None:
        """A worker came too late with the outcomes of `lost` messages: others had taken them back."""
        ...

    def trouble(self, doing: str, error: Exception) -> None:
        """The worker met an error of this machine and will try again; `doing` says at what."""
        ...


class NullObserver:
    """Hears everything, says nothing."""

    def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        """Ignore it."""

    def attempted(self, message: Message, result: AttemptResult) -> None:
        """Ignore it."""

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        """Ignore it."""

    def lease_lost(self, worker: int, lost: int) -> None:
        """Ignore it."""

    def trouble(self, doing: str, error: Exception) -> None:
        """Ignore it."""
