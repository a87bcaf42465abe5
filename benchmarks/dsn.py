"""Reading bounces, beside flufl.bounce, which Mailman reads them with, and `email`, which that has to parse them first.

The samples are those of the tests, in the styles of some fifteen servers. Of each, our reader tells the recipients with
codes, dates and reasons, and returns the message; flufl.bounce tells the addresses; `email` parses, and tells nothing.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from email import message_from_bytes
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import flufl.bounce

from benchmarks._report import Figure, compare
from moxlib.dsn import (
    DSN,
    MTA,
    Action,
    InvalidReport,
    RecipientStatus,
    Returned,
    TypedAddress,
    compose,
    parse_report,
    read_bounce,
)
from moxlib.smtp import EnhancedCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks._options import Options

SAMPLES = Path(__file__).parents[1] / "tests" / "unit" / "dsn" / "samples"
T = TypeVar("T")
AT = datetime(2024, 3, 11, 8, 15, 7, tzinfo=UTC)


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of `moxlib.dsn`."""
    rounds, times = (3, 1) if options.quick else (21, 20)
    samples = [path.read_bytes().replace(b"\n", b"\r\n") for path in sorted(SAMPLES.glob("*.eml"))]
    notifications = [raw for raw in samples if isinstance(read(raw), DSN)]
    others = [raw for raw in samples if raw not in notifications]
    for name, chosen in (("all", samples), ("delivery status", notifications), ("others", others)):
        yield compare(
            rate(read, chosen, times),
            {"flufl.bounce": rate(flufl_bounce, chosen, times), "email": rate(message_from_bytes, chosen, times)},
            rounds,
            name=f"dsn, read, {name}",
            unit="messages/s",
        )
    for name, recipients in (("1 recipient", 1), ("100 recipients", 100)):
        dsn = notification(recipients)
        raw = compose(dsn, smtputf8=False)
        yield compare(rate(parse_report, [raw], times), None, rounds, name=f"dsn, read, {name}", unit="messages/s")
        for form, smtputf8 in (("7-bit", False), ("UTF-8", True)):

            def written(each: DSN, smtputf8: bool = smtputf8) -> bytes:
                return compose(each, smtputf8=smtputf8)

            yield compare(
                rate(written, [dsn], times), None, rounds, name=f"dsn, compose, {name}, {form}", unit="messages/s"
            )


def read(raw: bytes) -> object:
    """Read a message as something that takes mail would: as a report, else as a bounce."""
    try:
        report = parse_report(raw)
    except InvalidReport:
        report = None
    return read_bounce(raw) if report is None else report


def flufl_bounce(raw: bytes) -> object:
    """Find the addresses that failed."""
    return flufl.bounce.all_failures(message_from_bytes(raw))


def notification(recipients: int) -> DSN:
    """Return what a queue would write about a message of which it returns the header."""
    return DSN(
        reporting_mta=MTA(name="mail.example.org"),
        recipients=tuple(
            RecipientStatus(
                final_recipient=TypedAddress(address=f"jo{number}@example.com"),
                action=Action.FAILED,
                status=EnhancedCode(5, 1, 1),
                status_comment="no such user",
                remote_mta=MTA(name="mx.example.com", comment="[203.0.113.25]"),
                diagnostic_type="smtp",
                diagnostic_text="550 5.1.1 no such user",
                last_attempt_date=AT,
            )
            for number in range(recipients)
        ),
        subject="mail delivery failed",
        from_address="postmaster@mail.example.org",
        to_address="shop@example.org",
        message_id="<17@mail.example.org>",
        text="Your message could not be delivered.\n\n550 5.1.1 no such user\n" * 5,
        arrival_date=AT,
        returned=Returned(content=b"Received: from a.example.org by b.example.org\r\nSubject: x\r\n" * 8, whole=False),
    )


def rate(work: Callable[[T], object], inputs: Sequence[T], times: int) -> Callable[[], float]:
    """Return what measures how many of `inputs` a second `work` does."""

    def measure() -> float:
        start = time.perf_counter()
        for _ in range(times):
            for each in inputs:
                work(each)
        return times * len(inputs) / (time.perf_counter() - start)

    return measure
