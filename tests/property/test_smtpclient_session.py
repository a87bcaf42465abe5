"""Any bytes from a peer are replies or our error, in bounded memory, and how they are cut does not matter."""

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from moxlib.smtpclient import (
    Accepted,
    Command,
    Extensions,
    NotSent,
    ProtocolError,
    Refused,
    Reply,
    ReplyParser,
    Session,
    SMTPError,
    Transaction,
    Unknown,
)
from moxlib.smtpclient.extensions import parse_extensions
from moxlib.smtpclient.parser import MAX_REPLY_LINE, MAX_REPLY_LINES

EHLO = b"250-mx.example\r\n250-ENHANCEDSTATUSCODES\r\n250 PIPELINING\r\n"
OFFERS = [
    EHLO,
    b"250 mx.example\r\n",
    b"250-mx.example\r\n250 CHUNKING\r\n",
    b"250-mx.example\r\n250-CHUNKING\r\n250 PIPELINING\r\n",
]
# Mostly what a server might say, so that a dialogue gets somewhere.
said = st.sampled_from(
    [
        b"250 ok\r\n",
        b"250 2.0.0 ok\r\n",
        b"354 go\r\n",
        b"550 5.1.1 no\r\n",
        b"500 5.5.1 what?\r\n",
        b"452 4.5.3 full\r\n",
        b"421 4.3.2 bye\r\n",
        b"220 ready\r\n",
        b"250-more\r\n",
        b"250",
        b"\r\n",
        b"-",
        b"\xff\x00",
        b"9" * 700,
        EHLO,
    ]
)
dialogues = st.lists(said | st.binary(max_size=20), max_size=25).map(b"".join)


@st.composite
def cut(draw: st.DrawFn) -> list[bytes]:
    data = draw(dialogues)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    return [data[start:end] for start, end in pairwise([0, *cuts, len(data)])]


def parsed(chunks: list[bytes]) -> tuple[list[Reply], str | None]:
    parser = ReplyParser()
    parser.enhanced = True
    replies: list[Reply] = []
    for chunk in chunks:
        more, error = parser.feed(chunk, Command.MAIL)
        replies += more
        if error is not None:
            return replies, error.reason
    return replies, None


@given(cut())
def test_cutting_does_not_matter(chunks: list[bytes]) -> None:
    assert parsed(chunks) == parsed([b"".join(chunks)])


@given(dialogues)
def test_what_is_said_again_is_read_again(data: bytes) -> None:
    parser = ReplyParser()
    replies, error = parser.feed(data, Command.MAIL)
    if error is None and not parser.pending:
        assert parser.feed(data, Command.MAIL) == (tuple(replies), None)


@given(dialogues)
def test_replies_are_bounded_and_printable(data: bytes) -> None:
    for reply in parsed([data])[0]:
        assert 0 <= reply.code <= 999
        assert 1 <= len(reply.lines) <= MAX_REPLY_LINES + 1
        for line in reply.lines:
            assert len(line) <= 4 * MAX_REPLY_LINE
            assert line.replace("\t", "").isprintable()


@given(st.lists(st.text(max_size=40), max_size=6))
def test_any_announcement_is_read(lines: list[str]) -> None:
    reply = Reply(code=250, lines=("250-mx", *(f"250-{line}" for line in lines)))
    assert isinstance(parse_extensions(reply), Extensions)


def session_with(
    count: int, recipients: int, in_chunks: bool, *, offer: bytes = EHLO, lmtp: bool = False
) -> tuple[Session, list[Transaction]]:
    session = Session("client.example", lmtp=lmtp)
    session.greet()
    session.receive(b"220 x\r\n" + offer)
    transactions = [
        Transaction(
            session,
            mail_from="a@x",
            recipients=[f"{number}@x" for number in range(recipients)],
            content=None if in_chunks else b".hi\r\n",
            size=5,
        )
        for _ in range(count)
    ]
    for transaction in transactions:
        session.submit(transaction)
    return session, transactions


@given(cut(), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.sampled_from(OFFERS), st.booleans())
def test_a_transaction_always_ends_with_a_result_for_each_recipient(
    chunks: list[bytes], count: int, recipients: int, in_chunks: bool, offer: bytes, lmtp: bool
) -> None:
    session, transactions = session_with(count, recipients, in_chunks, offer=offer, lmtp=lmtp)
    sent = session.data_to_send()
    for chunk in chunks:
        session.receive(chunk)
        for transaction in transactions:
            if transaction.wants_content:
                session.send(transaction.feed(b".hi\r\n"))
                transaction.end()
        sent += session.data_to_send()
    session.lost(session.connection_lost("the end"))
    whole = sent.count(b"..hi\r\n.\r\n") + sent.count(b"BDAT 5 LAST\r\n.hi\r\n")
    accepted = sum(any(isinstance(one, Accepted | Unknown) for one in t.result.recipients) for t in transactions)
    assert accepted <= whole  # only what was sent can have arrived
    for transaction in transactions:
        assert len(transaction.result.recipients) == recipients
        for one in transaction.result.recipients:
            assert isinstance(one, Accepted | Refused | NotSent | Unknown)
            assert transaction.ended or not isinstance(one, Accepted | Unknown)
            assert not one.permanent or one.code >= 500
        last = transaction.result.recipients[-1]
        assert transaction.result.answered or not transaction.ended or isinstance(last, NotSent)


@given(cut(), st.sampled_from(OFFERS), st.booleans())
def test_cutting_does_not_matter_to_a_session(chunks: list[bytes], offer: bytes, lmtp: bool) -> None:
    def outcome(pieces: list[bytes]) -> list[object]:
        session, transactions = session_with(3, 2, in_chunks=False, offer=offer, lmtp=lmtp)
        for piece in pieces:
            session.receive(piece)
        session.lost(session.connection_lost("the end"))
        return [[(type(one), one.code, one.lines) for one in t.result.recipients] for t in transactions]

    assert outcome(chunks) == outcome([b"".join(chunks)])


@given(cut(), st.sampled_from([Session.greet, Session.hello, Session.starttls, Session.reset, Session.quit]))
def test_any_exchange_ends_with_a_result_or_our_error(chunks: list[bytes], begin: Callable[[Session], object]) -> None:
    session = Session("client.example")
    exchange = begin(session)
    for chunk in chunks:
        session.receive(chunk)
    session.lost(ProtocolError(command=Command.QUIT, reason="the end"))
    try:
        exchange.result  # type: ignore[attr-defined]  # noqa: B018 - each begins an exchange
    except SMTPError as error:
        assert str(error)  # noqa: PT017 - it may as well succeed
