"""Messages by BDAT: when, what is sent, and what becomes of each recipient whatever is answered, or is not."""

import pytest

from moxlib.smtpclient import (
    Accepted,
    Command,
    CommandTimeout,
    DeliveryResult,
    InvalidContent,
    NotSent,
    ProtocolError,
    RecipientResult,
    Refused,
    ReplyError,
    Session,
    Transaction,
    Unknown,
)
from moxlib.smtpclient.transaction import MAX_IN_GROUP

GROUPED = ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")
STEPWISE = ("CHUNKING", "ENHANCEDSTATUSCODES")
MESSAGE = b".hi\r\n"
ONE = b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nBDAT 5 LAST\r\n.hi\r\n"


def greeted(*extensions: str, lmtp: bool = False) -> Session:
    session = Session("client.example", lmtp=lmtp)
    session.greet()
    lines = ["mx.example", *extensions]
    session.receive(b"220 mx.example\r\n")
    session.receive(b"".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines))
    session.data_to_send()
    return session


def submitted(
    session: Session,
    *recipients: str,
    content: bytes | None = MESSAGE,
    lines_checked: bool = False,
    chunking: bool = True,
) -> Transaction:
    return session.submit(
        Transaction(
            session,
            mail_from="a@x",
            recipients=recipients or ("b@x",),
            content=content,
            size=5,
            lines_checked=lines_checked,
            chunking=chunking,
        )
    )


def told(session: Session, *replies: str) -> None:
    """Let the replies come, each after what was to be sent before it."""
    for reply in replies:
        if session.awaiting is Command.END_OF_DATA:
            session.data_to_send()
        session.receive(f"{reply}\r\n".encode())


def proven() -> Session:
    """Return a session on which BDAT has worked."""
    session = greeted(*GROUPED)
    submitted(session)
    session.data_to_send()
    told(session, "250 ok", "250 ok", "250 2.0.0 queued")
    assert session.chunking_works
    return session


def kinds(result: DeliveryResult) -> list[type[RecipientResult]]:
    return [type(one) for one in result.recipients]


# When, and what


def test_all_in_one_group() -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session, "b@x", "c@x")
    assert session.data_to_send() == (
        b"MAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nBDAT 5 LAST\r\n.hi\r\n"  # no dot is doubled
    )
    assert transaction.ended
    waited_for = []
    for reply in ("250 ok", "250 ok", "250 ok", "250 2.0.0 queued"):
        waited_for.append(session.awaiting)
        told(session, reply)
    assert waited_for == [Command.MAIL, Command.RCPT, Command.RCPT, Command.END_OF_DATA]
    assert kinds(transaction.result) == [Accepted, Accepted]
    assert [one.lines for one in transaction.result.recipients] == [("250 2.0.0 queued",)] * 2
    assert (transaction.result.usable, transaction.result.answered, transaction.result.chunking_refused) == (
        True,
        True,
        False,
    )
    assert not session.needs_reset


def test_one_round_trip_less_without_pipelining() -> None:
    session = greeted(*STEPWISE)
    transaction = submitted(session, "b@x", "c@x")
    sent = []
    for reply in ("250 ok", "250 ok", "550 5.1.1 no", "250 queued"):
        sent.append(session.data_to_send())
        told(session, reply)
    assert sent == [b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@x>\r\n", b"RCPT TO:<c@x>\r\n", b"BDAT 5 LAST\r\n.hi\r\n"]
    assert kinds(transaction.result) == [Accepted, Refused]


def test_without_pipelining_nothing_is_sent_for_nobody() -> None:
    session = greeted(*STEPWISE)
    transaction = submitted(session)
    session.data_to_send()
    told(session, "250 ok", "550 5.1.1 no")
    assert transaction.done
    assert session.data_to_send() == b"RCPT TO:<b@x>\r\n"
    assert not transaction.ended


@pytest.mark.parametrize(
    ("content", "chunk"),
    [
        (b"", b"BDAT 0 LAST\r\n"),
        (b"no line end", b"BDAT 13 LAST\r\nno line end\r\n"),
        (b".\r\n", b"BDAT 3 LAST\r\n.\r\n"),
        (b"a\r\n.\r\nb\r\n", b"BDAT 9 LAST\r\na\r\n.\r\nb\r\n"),
    ],
)
@pytest.mark.parametrize("extensions", [GROUPED, STEPWISE])
def test_what_the_content_becomes(extensions: tuple[str, ...], content: bytes, chunk: bytes) -> None:
    session = greeted(*extensions)
    submitted(session, content=content)
    sent = session.data_to_send()
    told(session, "250 ok")
    sent += session.data_to_send()
    told(session, "250 ok")
    sent += session.data_to_send()
    assert sent.endswith(b"RCPT TO:<b@x>\r\n" + chunk)


@pytest.mark.parametrize(("size", "verb"), [(MAX_IN_GROUP, b"BDAT"), (MAX_IN_GROUP + 1, b"DATA")])
def test_a_large_message_waits_for_a_recipient(size: int, verb: bytes) -> None:
    session = greeted(*GROUPED)
    submitted(session, content=b"x" * (size - 2) + b"\r\n")
    assert session.data_to_send().split(b"\r\n")[2].startswith(verb)


def test_without_pipelining_size_does_not_matter() -> None:
    session = greeted(*STEPWISE)
    submitted(session, content=b"x" * MAX_IN_GROUP + b"\r\n")
    session.data_to_send()
    told(session, "250 ok", "250 ok")
    assert session.data_to_send().startswith(b"RCPT TO:<b@x>\r\nBDAT 65538 LAST\r\n")


@pytest.mark.parametrize("extensions", [GROUPED, STEPWISE])
@pytest.mark.parametrize("content", [None, MESSAGE])
def test_data_for_content_in_chunks_or_if_told_so(extensions: tuple[str, ...], content: bytes | None) -> None:
    session = greeted(*extensions)
    submitted(session, content=content, chunking=content is None)
    sent = session.data_to_send()
    told(session, "250 ok")
    sent += session.data_to_send()
    told(session, "250 ok")
    sent += session.data_to_send()
    assert sent.endswith(b"DATA\r\n")


@pytest.mark.parametrize("content", [b"a\nb\r\n", b"a\r"])
def test_a_bare_line_end_is_found_before_anything_is_sent(content: bytes) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session, content=content)
    [one] = transaction.result.recipients
    assert isinstance(one, NotSent)
    assert isinstance(one.error, InvalidContent)
    assert (one.local, one.command) == (True, Command.CONTENT)
    assert session.data_to_send() == b""
    assert (transaction.result.usable, transaction.result.answered) == (True, False)
    assert not session.needs_reset
    submitted(session)
    assert session.data_to_send() == ONE


def test_a_bare_line_end_without_pipelining_leaves_a_usable_session() -> None:
    session = greeted(*STEPWISE)
    transaction = submitted(session, content=b"a\nb\r\n")
    session.data_to_send()
    told(session, "250 ok", "250 ok")
    [one] = transaction.result.recipients
    assert isinstance(one, NotSent)
    assert one.local
    assert transaction.result.usable
    submitted(session)
    assert session.data_to_send() == b"RCPT TO:<b@x>\r\nRSET\r\n"


# What is answered


@pytest.mark.parametrize("extensions", [GROUPED, STEPWISE])
@pytest.mark.parametrize(("reply", "permanent"), [("451 4.3.0 later", False), ("554 5.7.1 spam", True)])
def test_a_refused_message(extensions: tuple[str, ...], reply: str, permanent: bool) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, "b@x", "c@x")
    session.data_to_send()
    told(session, "250 ok", "250 ok", "550 5.1.1 c", reply)
    b, c = transaction.result.recipients
    assert isinstance(b, Refused)
    assert (b.command, b.permanent, b.lines) == (Command.END_OF_DATA, permanent, (reply,))
    assert isinstance(c, Refused)
    assert (c.command, c.code) == (Command.RCPT, 550)
    assert transaction.result.usable
    assert session.needs_reset  # RFC 3030 2 does not say that the transaction is over
    assert session.chunking_works


@pytest.mark.parametrize("last", ["503 5.5.1 nobody", "554 5.5.1 nobody", "250 taken for nobody"])
def test_all_recipients_refused(last: str) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session, "b@x", "c@x")
    session.data_to_send()
    told(session, "250 ok", "550 5.1.1 b", "451 4.2.1 c", last)
    assert [(type(one), one.code) for one in transaction.result.recipients] == [(Refused, 550), (Refused, 451)]
    assert transaction.result.usable
    assert not transaction.result.chunking_refused
    submitted(session)
    assert session.data_to_send() == b"RSET\r\n"
    told(session, "250 ok")
    assert session.data_to_send() == ONE


@pytest.mark.parametrize(
    ("rcpt", "last", "usable"),
    [
        ("250 ok", "503 5.5.1 no mail", True),
        ("503 5.5.1 no mail", "503 5.5.1 no mail", True),
        ("503 5.5.1 no mail", "250 taken for nobody", True),
        ("503 5.5.1 no mail", "500 what?", False),
    ],
)
def test_a_refused_sender(rcpt: str, last: str, usable: bool) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session)
    session.data_to_send()
    told(session, "550 5.7.1 no", rcpt, last)
    [one] = transaction.result.recipients
    assert isinstance(one, Refused)
    assert (one.command, one.code, one.permanent) == (Command.MAIL, 550, True)
    assert transaction.result.usable is usable


def test_a_message_taken_of_a_refused_sender_is_in_doubt() -> None:
    """The server contradicts itself: it has a recipient and the message, and may do anything with them."""
    session = greeted(*GROUPED)
    transaction = submitted(session, "b@x", "c@x")
    session.data_to_send()
    told(session, "550 5.7.1 no", "250 ok", "550 5.1.1 no", "250 taken")
    b, c = transaction.result.recipients
    assert isinstance(b, Unknown)
    assert isinstance(b.error, ProtocolError)
    assert isinstance(c, Refused)
    assert c.command is Command.RCPT
    assert not transaction.result.usable


@pytest.mark.parametrize("extensions", [GROUPED, STEPWISE])
@pytest.mark.parametrize("reply", ["500 5.5.1 what?", "502 5.5.1 what?", "503 5.5.1 not now"])
def test_bdat_refused_as_a_command(extensions: tuple[str, ...], reply: str) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, "b@x", "c@x")
    after = submitted(session)
    session.data_to_send()
    told(session, "250 ok", "250 ok", "550 5.1.1 c")
    session.data_to_send()
    told(session, reply, "500 what is .hi?")
    b, c = transaction.result.recipients
    assert isinstance(b, Refused)
    assert (b.code, b.permanent, b.command) == (int(reply[:3]), False, Command.END_OF_DATA)
    assert (c.code, c.permanent) == (550, True)
    assert (transaction.result.chunking_refused, transaction.result.usable) == (True, False)
    assert isinstance(session.failure, ProtocolError)
    assert not session.chunking_works
    [late] = after.result.recipients  # waited: its message would have been taken for commands as well
    assert isinstance(late, NotSent)
    assert not after.result.answered


@pytest.mark.parametrize("reply", ["500 what?", "502 what?"])
def test_bdat_unknown_where_nobody_was_accepted(reply: str) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session)
    session.data_to_send()
    told(session, "250 ok", "550 5.1.1 no", reply)
    [one] = transaction.result.recipients
    assert (one.code, one.permanent) == (550, True)
    assert (transaction.result.chunking_refused, transaction.result.usable) == (True, False)


@pytest.mark.parametrize("reply", ["199 well", "600 hm"])
def test_neither_yes_nor_no(reply: str) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session)
    session.data_to_send()
    told(session, "250 ok", "250 ok", reply)
    assert kinds(transaction.result) == [Unknown]
    assert not transaction.result.usable


@pytest.mark.parametrize("extensions", [GROUPED, STEPWISE])
def test_too_many_recipients_go_into_a_further_transaction(extensions: tuple[str, ...]) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, "b@x", "c@x")
    session.data_to_send()
    told(session, "250 ok", "250 ok", "452 4.5.3 too many", "250 2.0.0 queued")
    b, c = transaction.result.recipients
    assert isinstance(b, Accepted)
    assert isinstance(c, Refused)
    assert c.further_transaction


@pytest.mark.parametrize(("reply", "kind"), [("250 taken", NotSent), ("550 5.7.1 no", Refused)])
def test_a_reply_to_what_was_not_sent(reply: str, kind: type[RecipientResult]) -> None:
    """It came with the reply to the message before, and the second one had not gone out."""
    session = greeted(*GROUPED)
    first, second = submitted(session), submitted(session)
    session.data_to_send()
    session.receive(f"250 ok\r\n250 ok\r\n250 queued\r\n250 ok\r\n250 ok\r\n{reply}\r\n".encode())
    assert kinds(first.result) == [Accepted]
    assert kinds(second.result) == [kind]
    assert isinstance(session.failure, ProtocolError)
    assert session.data_to_send() == b""


def test_a_reply_to_what_was_not_sent_without_pipelining() -> None:
    session = greeted(*STEPWISE)
    transaction = submitted(session)
    session.data_to_send()
    told(session, "250 ok")
    session.data_to_send()
    session.receive(b"250 ok\r\n250 and so on\r\n")
    assert kinds(transaction.result) == [NotSent]
    assert session.data_to_send() == b""


# What is not answered


@pytest.mark.parametrize(
    ("replies", "expected"),
    [
        ([], [Unknown, Unknown]),
        (["250 ok"], [Unknown, Unknown]),
        (["250 ok", "250 ok"], [Unknown, Unknown]),
        (["250 ok", "550 5.1.1 no"], [Refused, Unknown]),
        (["250 ok", "250 ok", "550 5.1.1 no"], [Unknown, Refused]),
        (["250 ok", "550 5.1.1 no", "550 5.1.1 no"], [Refused, Refused]),
        (["550 5.7.1 no"], [Refused, Refused]),
        (["550 5.7.1 no", "250 ok", "250 ok"], [Refused, Refused]),
        (["421 4.3.2 bye"], [Refused, Refused]),
        (["250 ok", "421 4.3.2 bye"], [Refused, NotSent]),  # it closes, and has not looked at what comes after
        (["250 ok", "250 ok", "421 4.3.2 bye"], [NotSent, Refused]),
        (["250 ok", "421 4.3.2 bye", "250 ok"], [Refused, Unknown]),  # it went on
    ],
)
@pytest.mark.parametrize("end", ["lost", "timeout", "garbage"])
def test_a_session_that_ends(replies: list[str], expected: list[type[RecipientResult]], end: str) -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session, "b@x", "c@x")
    session.data_to_send()
    told(session, *replies)
    match end:
        case "lost":
            session.lost(session.connection_lost("reset"))
        case "timeout":
            session.lost(CommandTimeout(command=session.awaiting or Command.CONNECT, seconds=1))
        case _:
            session.receive(b"garbage\r\n")
    assert kinds(transaction.result) == expected
    assert not transaction.result.usable
    assert transaction.result.answered  # or else somebody would try again at once, and deliver twice


def test_nothing_can_have_arrived_before_it_was_given_to_the_connection() -> None:
    session = greeted(*GROUPED)
    transaction = submitted(session)
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [NotSent]
    assert not transaction.ended
    assert not transaction.result.answered


@pytest.mark.parametrize(
    ("replies", "expected"),
    [([], NotSent), (["250 ok"], NotSent), (["250 ok", "250 ok"], Unknown), (["250 ok", "550 no"], Refused)],
)
def test_a_session_that_ends_without_pipelining(replies: list[str], expected: type[RecipientResult]) -> None:
    session = greeted(*STEPWISE)
    transaction = submitted(session)
    session.data_to_send()
    for reply in replies:
        told(session, reply)
        session.data_to_send()
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [expected]


# One behind the other


def test_the_next_one_waits_until_bdat_is_known_to_work() -> None:
    session = greeted(*GROUPED)
    submitted(session)
    submitted(session)
    assert session.data_to_send() == ONE
    told(session, "250 ok", "250 ok", "250 queued")
    assert session.data_to_send() == ONE


def test_then_two_are_under_way_at_once() -> None:
    """The second cannot know whether the first ends its transaction, and says RSET; a third one waits."""
    session = proven()
    transactions = [submitted(session, f"{number}@x") for number in range(3)]
    group = b"MAIL FROM:<a@x>\r\nRCPT TO:<%d@x>\r\nBDAT 5 LAST\r\n.hi\r\n"
    assert session.data_to_send() == group % 0 + b"RSET\r\n" + group % 1
    told(session, "250 ok", "250 ok")
    assert session.data_to_send() == b""
    told(session, "250 2.0.0 first")
    assert session.data_to_send() == b"RSET\r\n" + group % 2
    told(session, "250 reset", "250 ok", "250 ok", "250 2.0.0 second")
    told(session, "250 reset", "250 ok", "550 5.1.1 no", "503 nobody")
    results = [transaction.result.recipients[0] for transaction in transactions]
    assert [one.lines for one in results] == [("250 2.0.0 first",), ("250 2.0.0 second",), ("550 5.1.1 no",)]
    assert session.needs_reset  # by the third; the first two have not ended that
    assert session.transactions == 4


def test_a_failed_first_one_does_not_spoil_the_second() -> None:
    session = proven()
    first, second = submitted(session), submitted(session)
    session.data_to_send()
    told(session, "250 ok", "550 5.1.1 no", "554 nobody", "250 reset", "250 ok", "250 ok", "250 queued")
    assert kinds(first.result) == [Refused]
    assert kinds(second.result) == [Accepted]
    assert not session.needs_reset


def test_data_behind_a_chunk_says_rset_too() -> None:
    session = proven()
    first, second = submitted(session), submitted(session, content=None)
    assert session.data_to_send() == ONE + b"RSET\r\nMAIL FROM:<a@x>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    told(session, "250 ok", "250 ok", "451 later", "250 reset", "250 ok", "250 ok", "354 go")
    assert kinds(first.result) == [Refused]
    assert second.wants_content


def test_a_refused_rset_in_a_group_leaves_doubt_only_of_what_was_sent() -> None:
    session = proven()
    first, second = submitted(session), submitted(session)
    session.data_to_send()
    told(session, "250 ok", "250 ok", "250 queued", "502 5.5.1 no RSET", "250 ok")
    assert kinds(first.result) == [Accepted]
    [one] = second.result.recipients
    assert isinstance(one, Unknown)
    assert isinstance(one.error, ReplyError)
    assert not second.result.usable


def test_421_to_the_first_message_spares_the_second() -> None:
    session = proven()
    first, second = submitted(session), submitted(session)
    session.data_to_send()
    told(session, "250 ok", "250 ok", "421 4.3.2 bye")
    session.lost(session.connection_lost("closed"))
    assert kinds(first.result) == [Refused]
    assert kinds(second.result) == [NotSent]
    assert not second.result.answered  # so that it is tried on another connection


def test_both_are_in_doubt_when_the_connection_is_lost() -> None:
    session = proven()
    first, second, third = submitted(session), submitted(session), submitted(session)
    session.data_to_send()
    session.lost(session.connection_lost("closed"))
    assert [kinds(one.result) for one in (first, second, third)] == [[Unknown], [Unknown], [NotSent]]
    assert [one.result.answered for one in (first, second, third)] == [True, True, False]
