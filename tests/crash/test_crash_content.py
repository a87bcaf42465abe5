"""The directory of large contents: what is swept, and what a sweep of another process must not take away."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from moxlib.moxio import link_or_copy
from moxlib.queue.storage.content import ContentDirectory, ContentWriter

NOW = datetime(2026, 11, 1, tzinfo=UTC)
DATA = b"x" * 100


def sweep(directory: Path) -> tuple[str, ...]:
    """Sweep as another process does when it opens the queue, and finds no row yet."""
    return ContentDirectory(directory).sweep(lambda: (), now=NOW)


def write(directory: Path) -> str:
    """Store a content as `submit` does, and return its file's name; the lock is released at the end."""
    with ContentWriter(ContentDirectory(directory), inline_max=10, max_size=1000) as writer:
        writer.write(DATA)
        stored = writer.finish()
        assert sweep(directory) == (), "a running submit's file was swept"
    assert stored.file is not None
    assert (directory / stored.file).read_bytes() == DATA
    return stored.file


class SweepAfter:
    """A function that another process's sweep follows, after its first call with a temporary file."""

    def __init__(self, function: Callable[..., Any], directory: Path) -> None:
        self.function = function
        self.directory = directory
        self.swept: tuple[str, ...] | None = None

    def __call__(self, *args: Any, **options: Any) -> Any:
        result = self.function(*args, **options)
        if self.swept is None and any(str(arg).endswith(".tmp") for arg in args):
            self.swept = sweep(self.directory)
        return result


def no_links(*_: Any, **__: Any) -> None:
    raise OSError(errno.EPERM, "this file system has no hard links")


def test_what_a_crash_left_is_swept_under_both_its_names(tmp_path: Path) -> None:
    (tmp_path / "a.tmp").write_bytes(DATA)
    os.link(tmp_path / "a.tmp", tmp_path / "a")
    assert sorted(sweep(tmp_path)) == ["a", "a.tmp"]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_being_written_is_not_swept(tmp_path: Path) -> None:
    name = write(tmp_path)
    assert sweep(tmp_path) == (name,), "once its lock is released, and no row names it, it is"


def test_a_sweep_before_the_new_file_is_locked_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opening = SweepAfter(os.open, tmp_path)
    monkeypatch.setattr(os, "open", opening)
    name = write(tmp_path)
    assert opening.swept is not None
    assert len(opening.swept) == 1
    assert opening.swept != (f"{name}.tmp",)


def test_a_sweep_before_the_copy_is_locked_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_links)
    copying = SweepAfter(link_or_copy, tmp_path)
    monkeypatch.setattr("moxlib.queue.storage.content.link_or_copy", copying)
    assert (write(tmp_path),) == copying.swept
