"""Any bytes are a report, a bounce, something else, or refused by our error; and none of it takes long.

What is read is fit to be kept: it passes the constructors' checks, which reading goes past.
"""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dsn import (
    DSN,
    MTA,
    AbuseReport,
    InvalidDSN,
    RecipientStatus,
    TypedAddress,
    compose,
    parse_dsn,
    parse_report,
    read_bounce,
)
from moxlib.errors import InputError

SAMPLES = Path(__file__).parents[1] / "unit" / "dsn" / "samples"
samples = st.sampled_from(sorted(SAMPLES.glob("*.eml"))).map(Path.read_bytes)

# What means something to a parser, and long runs of one byte, for what is quadratic.
words = rb"""\r \0 : ; ( ) " \\ < > @ =? ?= =?utf-8?q? \x{41} -- rfc822; utf-8; <a@b.example>: 550""".split()
lines = [
    b"Final-Recipient: rfc822; a@b.example",
    b"Action: failed",
    b"Status: 5.1.1 (no)",
    b"Reporting-MTA: dns; a",
    b"Content-Type: message/delivery-status",
    b"Diagnostic-Code: smtp; 550 5.1.1 no",
]
runs = [
    run * (3000 // len(run))
    for run in (
        b"(",
        b'"',
        b"\\",
        b" ",
        b"\n",
        b"<",
        b"@",
        b" \n",
        b"a@",
        b"=?a?q?",
        b"  a@b.example\n",
        b"<style>",
        b"<!--",
    )
]
torn = st.sampled_from(
    [*words, *runs, *(line + b"\n" for line in lines), b"\r\n", b"\n", b"\n\n", b"\n ", b"\t", b"\0", b"\xff", b"\r"]
)


def everything(raw: bytes) -> None:
    for read in (parse_dsn, parse_report, read_bounce):
        try:
            found = read(raw)
        except InputError as error:
            assert len(str(error)) < 1000  # noqa: PT017 - it may as well succeed
        else:
            check(found)


def check(found: Any) -> None:
    match found:
        case DSN():
            assert rebuilt(found) == found
            for recipient in found.recipients:
                assert 200 <= recipient.code < 600
                assert str(recipient.enhanced)
            composed(found)
        case AbuseReport():
            assert found.feedback_type
    if found is not None:
        assert len(found.returned_message_id) <= len(found.returned.content) if found.returned else True


def rebuilt(data: Any) -> Any:
    """Make data anew, by its constructor."""
    if isinstance(data, tuple):
        return tuple(map(rebuilt, data))
    if isinstance(data, DSN | MTA | RecipientStatus | TypedAddress):
        return type(data)(**{field.name: rebuilt(getattr(data, field.name)) for field in fields(data)})
    return data


def composed(found: DSN) -> None:
    try:
        raw = compose(found, smtputf8=False)
    except InvalidDSN as error:
        assert error.reason in {"missing", "a text without a type"}  # noqa: PT017
        return
    assert parse_dsn(raw) == found


@given(st.binary(max_size=2000) | st.lists(torn, max_size=40).map(b"".join))
def test_any_bytes(raw: bytes) -> None:
    everything(raw)


@given(st.lists(torn | st.binary(max_size=20), max_size=30).map(b"".join), st.sampled_from([b"", b"global-"]))
def test_any_status(status: bytes, form: bytes) -> None:
    everything(
        b"From: a@b.example\nMessage-ID: <a@b>\nContent-Type: multipart/report; boundary=B\n\n--B\n\nSorry.\n--B\n"
        b"Content-Type: message/%bdelivery-status\n\nReporting-MTA: dns; a\n\n%b\n--B--\n" % (form, status)
    )


@given(st.lists(torn | st.binary(max_size=20), max_size=30).map(b"".join))
def test_any_text_of_a_mail_system(text: bytes) -> None:
    openings = b"Hi. This is the \nThe following address(es) failed:\nThis is the mail system at host \n"
    everything(b"From: mailer-daemon@b.example\nX-Failed-Recipients: a@b.example\n\n" + openings + text)


@given(samples, st.data())
def test_mutated_samples(raw: bytes, data: st.DataObject) -> None:
    for _ in range(data.draw(st.integers(1, 4))):
        begin = data.draw(st.integers(0, len(raw)))
        end = data.draw(st.integers(begin, min(len(raw), begin + 60)))
        raw = raw[:begin] + data.draw(torn | st.binary(max_size=8)) + raw[end:]
    everything(raw)


@given(samples, st.data())
def test_samples_with_lines_moved(raw: bytes, data: st.DataObject) -> None:
    lines = re.split(rb"(?<=\n)", raw)
    for _ in range(data.draw(st.integers(1, 6))):
        line = lines.pop(data.draw(st.integers(0, len(lines) - 1)))
        lines.insert(data.draw(st.integers(0, len(lines))), line)
    everything(b"".join(lines))
