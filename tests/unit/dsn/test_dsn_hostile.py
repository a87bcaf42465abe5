"""Messages of 2 MB that are made to take long: what is done for them grows as they do, and no faster, up to a bound.

What is counted is calls, of Python and of C, so that it is the same on each machine. Regular expressions are one call
each; that none of them goes back over what it has matched is in how they are written (possessive, atomic, or bounded).
"""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from moxlib.dsn import parse_dsn, parse_report, read_bounce
from moxlib.errors import InputError

SIZE = 2_000_000
MOST_CALLS = 400_000  # for all readers together: twenty thousand lines, of which each takes some calls
# Of which each piece has to be looked at, up to the message's end; here the bound is by its size.
SCANNED = {"almost boundaries", "encoded words"}

FROM = b"From: mailer-daemon@a.example\nMessage-ID: <a@b>\n"
REPORT = FROM + b"Content-Type: multipart/report; boundary=B\n"
TEXT = b"--B\n\nSorry.\n"
STATUS = b"--B\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; a\n"
RECIPIENT = b"\nFinal-Recipient: rfc822; a@b.example\nAction: failed\nStatus: 5.1.1\n"
FEEDBACK = b"--B\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\n"

# What comes before, what is repeated, and what comes after.
SHAPES: dict[str, tuple[bytes, bytes, bytes]] = {
    "fields": (REPORT + b"\n" + TEXT + STATUS, b"X-A: b\n", RECIPIENT + b"\n--B--\n"),
    "long fields": (REPORT + b"\n" + TEXT + STATUS, b"X-A: " + b"b" * 7000 + b"\n", RECIPIENT + b"\n--B--\n"),
    "fields without an end": (REPORT + b"\n" + TEXT + STATUS + RECIPIENT, b"X-A: b (\n", b""),
    "recipients": (REPORT + b"\n" + TEXT + STATUS, RECIPIENT, b"\n--B--\n"),
    "malformed recipients": (REPORT + b"\n" + TEXT + STATUS, b"\nFinal-Recipient: rfc822; a@b.example\n", b"\n--B--\n"),
    "groups of the message": (REPORT + b"\n" + TEXT + STATUS, b"\nX-A: b\n", RECIPIENT + b"\n--B--\n"),
    "blank lines": (REPORT + b"\n" + TEXT + STATUS, b" \n", RECIPIENT + b"\n--B--\n"),
    "empty lines": (REPORT + b"\n" + TEXT + STATUS, b"\n", RECIPIENT + b"\n--B--\n"),
    "folded lines": (REPORT + b"\n" + TEXT + STATUS + b"X-A: b\n", b" b\n", RECIPIENT + b"\n--B--\n"),
    "a line": (REPORT + b"\n" + TEXT + STATUS + b"X-A: ", b"b", RECIPIENT + b"\n--B--\n"),
    "comments": (REPORT + b"\n" + TEXT + STATUS + b"X-A: ", b"(a)\n (b(\n ", RECIPIENT + b"\n--B--\n"),
    "encoded words": (REPORT + b"\n" + TEXT + STATUS, b"X-A: " + b"=?utf-8?q?x?= " * 500 + b"\n", RECIPIENT),
    "escapes": (REPORT + b"\n" + TEXT + STATUS, b"\nFinal-Recipient: utf-8; " + rb"\x{e4}" * 1000 + b"\n", b""),
    "parts before": (REPORT + b"\n", b"--B\n\nSorry.\n", STATUS + RECIPIENT + b"--B--\n"),
    "parts after": (REPORT + b"\n" + TEXT + STATUS + RECIPIENT, b"--B\n\nx\n", b"--B--\n"),
    "boundaries": (REPORT + b"\n", b"--B\n", b""),
    "almost boundaries": (REPORT + b"\n" + TEXT + STATUS, b"\n--BX", b""),
    "multiparts": (REPORT + b"\n", b"--B\nContent-Type: multipart/mixed; boundary=B\n\n", b""),
    "messages": (REPORT + b"\n" + TEXT, b"--B\nContent-Type: message/rfc822\n\n", b""),
    "fields of the header": (FROM, b"X-A: b\n", b"\nHi.\n"),
    "failed recipients": (FROM, b"X-Failed-Recipients: a@b.example\n", b"\nHi.\n"),
    "a field of failed recipients": (FROM + b"X-Failed-Recipients: ", b"a@b.example,\n ", b"\n\nHi.\n"),
    "references": (REPORT + b"References:", b"\n <a@b>", b"\n\n" + TEXT + STATUS + RECIPIENT + b"\n--B--\n"),
    "a text": (FROM + b"\nHi. This is the \n", b"<a@b.example>:\nno\n\n", b""),
    "HTML": (FROM + b"Content-Type: text/html\n\n", b"<style><!--<br>", b""),
    "a report's text": (REPORT + b"\n--B\nContent-Type: text/html\n\n", b"<br><style", b"\n" + STATUS + RECIPIENT),
    "base64": (REPORT + b"\n--B\nContent-Transfer-Encoding: base64\n\n", b"Cg==\n", b"\n" + STATUS + RECIPIENT),
    "feedback": (REPORT + b"\n" + TEXT + FEEDBACK, b"X-A: b\n", b"\n--B--\n"),
    "feedback's recipients": (REPORT + b"\n" + TEXT + FEEDBACK, b"Original-Rcpt-To: a@b.example\n", b"\n--B--\n"),
    "a returned header": (
        REPORT + b"\n" + TEXT + STATUS + RECIPIENT + b"--B\nContent-Type: text/rfc822-headers\n\n",
        b"Message-I\n ",
        b"",
    ),
}


def calls(work: Callable[[], object]) -> int:
    """Return how many calls are made in `work`."""
    count = 0

    def watch(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def read(raw: bytes) -> None:
    for reader in (parse_dsn, parse_report, read_bounce):
        try:
            reader(raw)
        except InputError as error:
            assert len(str(error)) < 1000  # noqa: PT017 - it may as well succeed


def message(shape: str, size: int) -> bytes:
    before, repeated, after = SHAPES[shape]
    return before + repeated * (size // len(repeated)) + after


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_done_is_bounded_and_linear(shape: str) -> None:
    half, whole = (calls(lambda size=size: read(message(shape, size))) for size in (SIZE // 2, SIZE))  # type: ignore[misc]
    assert whole < (4 * SIZE if shape in SCANNED else MOST_CALLS)
    assert whole < 2.2 * half + 1000
