"""Reading messages, beside the standard library's `email` with its old and its modern policy; and composing them.

Each reader looks at the same things: the type of each part, file names, and sender, recipients, subject and date; or at
the tree alone. `email` reads a message whole for either.

Composed are a short text, and text and HTML with an attachment of 50 KB, in international words: each time from the
strings and octets they are made of to the octets of the message, in the standard library with `EmailMessage`, its
modern policy.
"""

from __future__ import annotations

import random
import time
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from typing import TYPE_CHECKING

from benchmarks._report import Figure, compare
from moxlib.message import Draft, File, NamedAddress, compose, read_message, readable, structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._options import Options

LINE = "The quick brown fox jumps over the lazy dog, as it does each day.\n"
FILE = random.Random(1).randbytes(50_000)


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of both halves of `moxlib.message`."""
    yield from reading(options)
    yield from composing(options)


def reading(options: Options) -> Iterator[Figure]:
    """Yield the figures of the reading half."""
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


def composing(options: Options) -> Iterator[Figure]:
    """Yield the figures of the composing half."""
    rounds = 3 if options.quick else 15
    times = 5 if options.quick else 200
    for what, ours, theirs in (
        ("a short text", compose_short, modern_short),
        ("text, HTML and a file of 50 KB", compose_rich, modern_rich),
    ):
        yield compare(
            rate(ours, FILE, times * 10),
            {"email, default": rate(theirs, FILE, times)},
            rounds,
            name=f"message, composing {what}",
            unit="messages/s",
        )


def compose_short(_data: bytes) -> object:
    """Compose a short text."""
    draft = Draft(from_="shop@example.com", to="jane@example.org", subject="Your order 17", text=LINE)
    return compose(draft).to_bytes()


def modern_short(_data: bytes) -> object:
    """Compose the same."""
    message = modern("shop@example.com", "jane@example.org", "Your order 17")
    message.set_content(LINE)
    return message.as_bytes()


def compose_rich(data: bytes) -> object:
    """Compose text, HTML and an attachment."""
    draft = Draft(
        from_=NamedAddress(address="juergen@example.com", name="Jürgen Müller"),
        to=NamedAddress(address="jane@example.org", name="Jane Doe"),
        subject="Grüße aus Köln",
        text=LINE * 10,
        html=f"<html><body>{LINE * 10}</body></html>\n",
        attachments=File(data=data, name="report.pdf", content_type="application/pdf"),
    )
    return compose(draft).to_bytes()


def modern_rich(data: bytes) -> object:
    """Compose the same."""
    message = modern(
        Address("Jürgen Müller", "juergen", "example.com"), Address("Jane Doe", "jane", "example.org"), "Grüße aus Köln"
    )
    message.set_content(LINE * 10)
    message.add_alternative(f"<html><body>{LINE * 10}</body></html>\n", subtype="html")
    message.add_attachment(data, maintype="application", subtype="pdf", filename="report.pdf")
    return message.as_bytes()


def modern(author: str | Address, recipient: str | Address, subject: str) -> EmailMessage:
    """Begin a message with the fields that ours writes as well."""
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = author
    message["To"] = recipient
    message["Subject"] = subject
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = make_msgid(domain="example.com")
    return message


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
