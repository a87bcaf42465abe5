"""`WebAPIObserver`: what a program hears of calls, for metrics and logs."""

from datetime import timedelta
from typing import Protocol

__all__ = ["NullWebAPIObserver", "WebAPIObserver"]


class WebAPIObserver(Protocol):
    """Called in the event loop, after the fact; keep it short. What it raises is logged and goes no further."""

    def called(self, method: str, result: str, duration: timedelta) -> None:
        """A call ended.

        Args:
            method: its name, such as `Send`; one that exists.
            result: `ok`, the code of the error that was answered, or `badauth`, `ratelimited`, `busy`, `crosssite`;
                `gone` if the client was.
            duration: from the request's header to the answer.
        """
        ...

    def submitted_by_call(self, result: str) -> None:
        """A message was to be sent: `ok`, or the code of the error; each of a batch by itself."""
        ...


class NullWebAPIObserver:
    """Hears everything, says nothing."""

    def called(self, method: str, result: str, duration: timedelta) -> None:
        """Ignore it."""

    def submitted_by_call(self, result: str) -> None:
        """Ignore it."""
