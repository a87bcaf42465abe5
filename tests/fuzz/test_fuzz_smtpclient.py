"""The one invariant of the client: whatever a peer sends, the session never raises, and holds little of it."""

import sys

from hypothesis import given
from hypothesis import strategies as st

from moxlib.smtpclient import DSNParameters, Reply, ReplyParser, Session, Transaction
from moxlib.smtpclient.parser import MAX_AUTH_LINE, MAX_REPLY_LINE, MAX_REPLY_LINES
from moxlib.smtpclient.reply import Command, escape

# Lines that are nearly replies, and long runs of one byte: limits, and what is quadratic.
lines = st.builds(
    lambda code, separator, text, times, end: code + separator + text * times + end,
    st.sampled_from([b"220", b"250", b"354", b"334", b"421", b"550", b"999", b"000", b"25", b""]),
    st.sampled_from([b" ", b"-", b"", b"\t", b"\xff"]),
    st.binary(max_size=12),
    st.sampled_from([1, 1, 1, 60, 3000]),
    st.sampled_from([b"\r\n", b"\n", b"\r", b"", b"\r\n250 "]),
)


@given(st.lists(lines, max_size=60), st.integers(1, 5000), st.booleans(), st.booleans())
def test_any_bytes(said: list[bytes], size: int, greeted: bool, lmtp: bool) -> None:
    session = Session("client.example", lmtp=lmtp)
    session.greet()
    if greeted:
        session.receive(b"220 x\r\n250-x\r\n250-PIPELINING\r\n250-DSN\r\n250 CHUNKING\r\n")
    dsn = DSNParameters(envid="1")
    transactions = [
        Transaction(session, mail_from="a@x", recipients=["b@x", "c@x"], content=b"hi\r\n", size=4, dsn=dsn)
        for _ in range(3)
    ]
    for transaction in transactions:
        session.submit(transaction)
    data = b"".join(said)
    for start in range(0, len(data), size):
        session.receive(data[start : start + size])
        session.data_to_send()
    session.lost(session.connection_lost("the end"))
    assert [len(transaction.result.recipients) for transaction in transactions] == [2, 2, 2]


@given(st.lists(lines, max_size=60), st.booleans())
def test_memory_is_bounded(said: list[bytes], auth: bool) -> None:
    parser = ReplyParser()
    parser.max_line = MAX_AUTH_LINE if auth else MAX_REPLY_LINE
    for data in said:
        replies, error = parser.feed(data, Command.MAIL)
        held = len(parser._rest) + sum(len(line) for line in parser._lines)
        assert held <= parser.max_line * (1 + 4 * MAX_REPLY_LINES)
        assert all(isinstance(reply, Reply) for reply in replies)
        if error is not None:
            assert sys.getsizeof(str(error)) < 16 * 1024
            return


@given(st.binary())
def test_escaped_text_is_one_harmless_line(raw: bytes) -> None:
    assert escape(raw).replace("\t", "").isprintable()
