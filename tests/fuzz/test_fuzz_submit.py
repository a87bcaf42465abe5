"""Whatever is submitted is stored whole, or refused with one of our errors and not stored at all."""

import io
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.fuzz.conftest import Target

from moxlib.errors import InputError, MoxlibError
from moxlib.queue import Submission

LONG_AGO = datetime.min.replace(tzinfo=UTC)
SENDER, RECIPIENT = "sender@here.example", "user@there.example"

# Pieces that are nearly messages: what parsers and writers trip over.
NAMES = [
    *(b"From", b"To", b"Cc", b"Bcc", b"Sender", b"Subject", b"Date", b"Message-ID", b"TLS-Required", b"MIME-Version"),
    *(b"Content-Type", b"Content-Transfer-Encoding", b"", b" ", b"X" * 80, b"X\xff", b"X Y"),
]
VALUES = [
    *(b"a@b.example", b"A <a@b.example>, c@d.example", b"group: a@b.example;", b'"a b"@c.example', b"<@", b"a\x00b"),
    *(
        b"=?utf-8?q?=C3?=",
        b"=?x?b?====?= <a@b.example>",
        "ü@münchen.example".encode(),
        b"<m@here.example>",
        b"x" * 1100,
    ),
    *(b"multipart/mixed; boundary=x", b"text/plain; charset=nonsense", b"base64", b"No"),
    b"Mon, 02 Nov 2026 10:00:00 +0000",
]
ENDS = [b"\r\n", b"\r\n", b"\r\n", b"\r\n ", b"\n", b"\r", b""]
LINES = [b"hello\r\n", b".\r\n", b"x", b"\n", b"\xff\r\n", b"--x\r\n"]
ADDRESSES = [
    RECIPIENT,
    "a@[127.0.0.1]",
    "<a@b.example>",
    '"a\\"b"@c.example',
    "ü@münchen.example",
    "a@b.example\r\nRCPT",
]


def joined(*parts: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.tuples(*parts).map(b"".join)


fields = joined(
    st.sampled_from(NAMES),
    st.sampled_from([b": ", b": ", b":", b" :", b""]),
    st.binary(max_size=40) | st.sampled_from(VALUES),
    st.sampled_from(ENDS),
)
bodies = st.binary(max_size=60) | st.builds(
    lambda line, times: line * times, st.sampled_from(LINES), st.integers(0, 600)
)
messages = st.binary(max_size=300) | joined(
    st.lists(fields, max_size=8).map(b"".join), st.sampled_from([b"\r\n", b"\r\n", b"\n", b""]), bodies
)
texts = st.text(st.characters(codec=None), max_size=40)
addresses = st.one_of(
    texts,
    st.sampled_from(ADDRESSES),
    st.builds(lambda local, domain: f"{local}@{domain}", texts, texts),
)


def check(target: Target, result: Any, data: bytes | None) -> None:
    """What was accepted is there, whole; what was refused is not there."""
    if isinstance(result, MoxlibError):
        assert isinstance(result, InputError)
        assert (target.count(), target.files()) == (0, 0)
        return
    assert target.count() == len(result) > 0
    assert all(isinstance(receipt, Submission) for receipt in result)
    message = target.run(target.queue.get(result[0].id))
    assert message is not None
    sent = target.content(message.id)
    if data is not None:
        assert sent in (message.prefix + data, message.prefix + data + b"\r\n")
    assert sent.replace(b"\r\n", b"").count(b"\n") == sent.replace(b"\r\n", b"").count(b"\r") == 0
    assert sent.endswith(b"\r\n")
    target.empty()


@given(data=messages)
@example(data=b"")
@example(data=b"\r\n")
def test_any_bytes_as_a_message(target: Target, data: bytes) -> None:
    result = target.attempt(lambda queue: queue.submit(data, sender=SENDER, recipients=RECIPIENT))
    check(target, result, data)


@given(data=messages)
def test_a_file_is_judged_as_its_bytes_are(target: Target, data: bytes) -> None:
    whole = target.attempt(lambda queue: queue.submit(data))
    target.empty()
    streamed = target.attempt(lambda queue: queue.submit(io.BytesIO(data)))
    assert isinstance(whole, tuple) is isinstance(streamed, tuple)
    if isinstance(whole, tuple) and isinstance(streamed, tuple):
        assert [receipt.recipient for receipt in whole] == [receipt.recipient for receipt in streamed]
    check(target, streamed, None)


@given(data=messages, modern=st.booleans())
def test_any_parsed_message(target: Target, data: bytes, modern: bool) -> None:
    parsed = message_from_bytes(data, policy=policy.default if modern else policy.compat32)
    check(target, target.attempt(lambda queue: queue.submit(parsed, sender=SENDER, recipients=RECIPIENT)), None)
    check(target, target.attempt(lambda queue: queue.submit(parsed)), None)


@given(sender=addresses, recipients=st.lists(addresses, max_size=7))
def test_any_addresses(target: Target, sender: str, recipients: list[str]) -> None:
    data = b"Subject: hello\r\n\r\nhello\r\n"
    result = target.attempt(lambda queue: queue.submit(data, sender=sender, recipients=recipients))
    if isinstance(result, tuple):
        for receipt in result:
            assert receipt.recipient.isprintable()
            address = receipt.recipient
            again = target.run(target.queue.submit(data, sender="", recipients=address))
            assert isinstance(again, tuple), "what was accepted is acceptable"
            target.empty()
        return
    check(target, result, data)


@given(
    account=texts,
    extra=st.dictionaries(texts, texts, max_size=3),
    schedule=st.none() | texts | st.sampled_from(["1m", "1m, 5m*2", "", "1h*1000", "9999999d", "٣m", "1m*0"]),
    max_attempts=st.none() | st.integers(),
    transport=st.none() | texts | st.just("test"),
    not_before=st.none() | st.datetimes() | st.datetimes(timezones=st.just(UTC)),
)
@example(account="\ud800", extra={}, schedule=None, max_attempts=None, transport=None, not_before=None)
@example(account="", extra={"a": "\ud800"}, schedule=None, max_attempts=None, transport=None, not_before=None)
@example(account="", extra={}, schedule=None, max_attempts=2**70, transport=None, not_before=None)
@example(
    account="", extra={}, schedule=None, max_attempts=None, transport=None, not_before=datetime.min.replace(tzinfo=UTC)
)
def test_any_options(target: Target, **options: Any) -> None:
    data = b"Subject: hello\r\n\r\nhello\r\n"
    result = target.attempt(lambda queue: queue.submit(data, sender=SENDER, recipients=RECIPIENT, **options))
    check(target, result, data)
