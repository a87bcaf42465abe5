"""What one sees of the demo: a progress bar on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

__all__ = ["Display", "PlainDisplay", "RichDisplay", "display"]

PLAIN_SECONDS = 0.5  # between two plain lines of progress


class Display(Protocol):
    """Where the demo speaks."""

    def say(self, text: str) -> None:
        """Show lines of text that stay."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """Show how far it is."""
        ...


class PlainDisplay:
    """Lines of text only."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._next = 0.0

    def say(self, text: str) -> None:
        """Write it."""
        self._out.write(f"{printable(text)}\n")
        self._out.flush()

    def progress(self, done: int, total: int, what: str) -> None:
        """Write a line now and then."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + PLAIN_SECONDS
            self.say(f"  {done} of {total} done: {what}")


class RichDisplay:
    """Text above a progress bar."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def say(self, text: str) -> None:
        """Write it above the bar."""
        self._bar.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)

    def progress(self, done: int, total: int, what: str) -> None:
        """Move the bar."""
        if self._task is None:
            self._task = self._bar.add_task("", total=total)
        self._bar.update(self._task, completed=done, total=total, description=printable(what))


@contextmanager
def display(out: TextIO | None = None) -> Iterator[Display]:
    """Return the display that suits where the output goes."""
    stream = sys.stdout if out is None else out
    console = Console(file=stream)
    if not console.is_terminal:
        yield PlainDisplay(stream)
        return
    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        yield RichDisplay(bar)


def printable(text: str) -> str:
    """Return text that came from messages and servers without what a terminal would obey."""
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)
