"""Reading messages, beside the standard library's `email` with its old and its modern policy.

Each reader looks at the same things: the type of each part, file names, and sender, recipients, subject and date; or at
the tree alone. `email` reads a message whole for either.
"""

from __future__ import annotations

import random
import time
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import TYPE_CHECKING

from benchmarks._report import Figure, compare
from moxlib.message import read_message, readable, structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._options import Options


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of `moxlib.message`'s reading half."""
    rounds = 3 if options.quick else 15
    for name, size in (("4 KB", 4 * 1024), ("1 MB", 1024 * 1024)):
        data = sample(size)
        times = 3 if options.quick else max(3, 2_000_000 // size)
        for what, ours, compat32, modern in (
            ("headers", headers, compat32_headers, modern_headers),
            ("tree", tree, compat32_tree, modern_tree),
        ):
            yield compare(
                rate(ours, data, times * 10),
                {"email, compat32": rate(compat32, data, times), "email, default": rate(modern, data, times // 3 or 1)},
                rounds,
                name=f"message, {what}, {name}",
                unit="messages/s",
            )
        yield compare(
            rate(everything, data, times), None, rounds, name=f"message, structure and text, {name}", unit="messages/s"
        )


def headers(data: bytes) -> object:
    """Read who wrote to whom, when and about what."""
    return read_message(data).envelope


def tree(data: bytes) -> object:
    """Find all parts, their types and file names."""
    return [(part.media_type, part.filename) for part in read_message(data).walk()]


def everything(data: bytes) -> object:
    """Do what an incoming webhook takes."""
    part = read_message(data)
    return part.envelope, structure(part), readable(part)


def compat32_headers(data: bytes) -> object:
    """Get the same fields, not decoded."""
    message = message_from_bytes(data)
    return [message[name] for name in ("From", "To", "Cc", "Subject", "Date", "Message-ID")]


def compat32_tree(data: bytes) -> object:
    """Find all parts, their types and file names."""
    return [(part.get_content_type(), part.get_filename()) for part in message_from_bytes(data).walk()]


def modern_headers(data: bytes) -> object:
    """Get the same fields, decoded."""
    message = message_from_bytes(data, policy=policy.default)
    return [message[name] for name in ("From", "To", "Cc", "Subject", "Date", "Message-ID")]


def modern_tree(data: bytes) -> object:
    """Find all parts, their types and file names."""
    walked = message_from_bytes(data, policy=policy.default).walk()
    return [(part.get_content_type(), part.get_filename()) for part in walked]


def rate(read: Callable[[bytes], object], data: bytes, times: int) -> Callable[[], float]:
    """Return what measures how many messages a second `read` reads."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(times):
            read(data)
        return times / (time.perf_counter() - start)

    return measure


def sample(size: int) -> bytes:
    """Return a message of text, HTML and an attachment, about `size` octets long."""
    message = EmailMessage()
    for index in range(4):
        hosts = f"from a{index}.example.net by b{index}.example.org with ESMTPS id {index:010}"
        message["Received"] = f"{hosts}; Mon, 01 Jan 2024 10:00:00 +0100"
    message["From"] = "Jürgen Müller <juergen@example.com>"
    message["To"] = "Jane Doe <jane@example.org>, john@example.org"
    message["Cc"] = '"Doe, John" <doe@example.org>'
    message["Subject"] = "Grüße aus Köln"
    message["Date"] = "Mon, 01 Jan 2024 10:00:00 +0100"
    message["Message-ID"] = "<1234567890@example.com>"
    line = "The quick brown fox jumps over the lazy dog, as it does each day of the week.\n"
    message.set_content(line * 8)
    message.add_alternative(f"<html><body>{line * 8}</body></html>\n", subtype="html")
    rest = max(100, size - len(message.as_bytes()) - 500) * 3 // 4 * 76 // 78
    octets = random.Random(1).randbytes(rest)
    message.add_attachment(octets, maintype="application", subtype="pdf", filename="report.pdf")
    return message.as_bytes(policy=policy.SMTP)
