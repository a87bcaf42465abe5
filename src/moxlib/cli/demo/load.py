"""Messages for the demo: from a directory, a file, an mbox, or those that come with moxlib."""

import mailbox
from contextlib import closing
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from moxlib.errors import InputError
from moxlib.message import to_crlf

__all__ = ["Sample", "load", "shipped"]

MBOX_START = b"From "


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A message to submit."""

    name: str
    """Where it came from, for people."""
    content: bytes
    """With CRLF line ends, the last line's included."""


def shipped() -> tuple[Sample, ...]:
    """Return the messages that come with moxlib."""
    found = [entry for entry in files("moxlib.cli.demo").joinpath("mail").iterdir() if entry.name.endswith(".eml")]
    return tuple(_sample(entry.name, entry.read_bytes()) for entry in sorted(found, key=lambda entry: entry.name))


def load(path: Path) -> tuple[Sample, ...]:
    """Return the messages of a directory of .eml files, of an mbox file, or of a single file.

    Raises:
        InputError: there are none, or a file cannot be read.
    """
    try:
        samples = _of_directory(path) if path.is_dir() else _of_file(path)
    except OSError as error:
        raise InputError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    if not samples:
        raise InputError(f"{path}: there are no messages in it")
    return samples


def _of_directory(path: Path) -> tuple[Sample, ...]:
    found = sorted(entry for entry in path.iterdir() if entry.suffix.lower() == ".eml" and entry.is_file())
    return tuple(_sample(entry.name, entry.read_bytes()) for entry in found)


def _of_file(path: Path) -> tuple[Sample, ...]:
    with path.open("rb") as file:
        start = file.read(len(MBOX_START))
        if start and start != MBOX_START:
            return (_sample(path.name, start + file.read()),)
    with closing(mailbox.mbox(path, create=False)) as box:
        return tuple(_sample(f"{path.name}:{number}", box.get_bytes(key)) for number, key in enumerate(box.keys(), 1))


def _sample(name: str, data: bytes) -> Sample:
    content = to_crlf(data)
    return Sample(name=name, content=content if content.endswith(b"\r\n") else content + b"\r\n")
