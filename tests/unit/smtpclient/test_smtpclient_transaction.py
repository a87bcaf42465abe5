"""Transactions: what is sent, and what becomes of each recipient. The vectors have many more; see tests/conformance."""

from collections.abc import Sequence

import pytest

from moxlib.errors import InputError, StateError
from moxlib.smtpclient import (
    Accepted,
    Command,
    CommandTimeout,
    ConnectionLost,
    DeliveryResult,
    ExtensionMissing,
    InvalidContent,
    MessageTooLarge,
    NotSent,
    ProtocolError,
    RecipientResult,
    Refused,
    ReplyError,
    Session,
    Transaction,
    Unknown,
)

ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "SIZE 1000", "ENHANCEDSTATUSCODES", "REQUIRETLS")
STEPWISE = ("ENHANCEDSTATUSCODES",)
PIPELINED = ("PIPELINING", "ENHANCEDSTATUSCODES")


def greeted(*extensions: str, tls: bool = False) -> Session:
    session = Session("client.example", tls=tls)
    session.greet()
    lines = ["mx.example", *extensions]
    session.receive(b"220 mx.example\r\n")
    session.receive(b"".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines))
    session.data_to_send()
    return session


def submitted(
    session: Session,
    *recipients: str,
    content: bytes | None = b"hi\r\n",
    mail_from: str = "a@client.example",
    size: int = 4,
    needs_8bit: bool = False,
    needs_smtputf8: bool = False,
    require_tls: bool = False,
    lines_checked: bool = False,
) -> Transaction:
    return session.submit(
        Transaction(
            session,
            mail_from=mail_from,
            recipients=recipients or ["b@mx.example"],
            content=content,
            size=size,
            needs_8bit=needs_8bit,
            needs_smtputf8=needs_smtputf8,
            require_tls=require_tls,
            lines_checked=lines_checked,
        )
    )


def talk(session: Session, replies: Sequence[str], transaction: Transaction) -> tuple[list[bytes], DeliveryResult]:
    """Give one reply to each command and to each final dot; return what was sent, and the result."""
    sent: list[bytes] = []
    waiting = list(replies)
    while not transaction.done:
        data = session.data_to_send()
        assert data
        sent.append(data)
        expected = 1 if sent[-1].endswith(b"\r\n.\r\n") or sent[-1] == b".\r\n" else data.count(b"\r\n")
        for _ in range(expected):
            session.receive(f"{waiting.pop(0)}\r\n".encode())
    return sent, transaction.result


def kinds(result: DeliveryResult) -> list[type[RecipientResult]]:
    return [type(one) for one in result.recipients]


def test_a_group_and_the_message() -> None:
    session = greeted("PIPELINING")
    replies = ["250 ok", "250 ok", "250 ok", "354 go", "250 queued"]
    sent, result = talk(session, replies, submitted(session, "b@x", "c@x", content=b".dot\r\n"))
    assert sent == [
        b"MAIL FROM:<a@client.example>\r\nRCPT TO:<b@x>\r\nRCPT TO:<c@x>\r\nDATA\r\n",
        b"..dot\r\n.\r\n",
    ]
    assert kinds(result) == [Accepted, Accepted]
    assert [one.lines for one in result.recipients] == [("250 queued",)] * 2
    assert result.usable
    assert result.answered
    assert not session.needs_reset


def test_one_command_at_a_time_without_pipelining() -> None:
    session = greeted()
    sent, result = talk(session, ["250 ok", "250 ok", "354 go", "250 queued"], submitted(session, mail_from=""))
    assert sent == [b"MAIL FROM:<>\r\n", b"RCPT TO:<b@mx.example>\r\n", b"DATA\r\n", b"hi\r\n.\r\n"]
    assert kinds(result) == [Accepted]


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (b"", b".\r\n"),
        (b"no line end", b"no line end\r\n.\r\n"),
        (b".\r\n.\r\n", b"..\r\n..\r\n.\r\n"),
        (b"a\r\n..\r\n", b"a\r\n...\r\n.\r\n"),
    ],
)
def test_what_the_content_becomes(content: bytes, sent: bytes) -> None:
    session = greeted()
    writes, _ = talk(session, ["250 ok", "250 ok", "354 go", "250 queued"], submitted(session, content=content))
    assert writes[-1] == sent


@pytest.mark.parametrize(
    ("needs", "parameters"),
    [
        ({}, " SIZE=4 BODY=7BIT"),
        ({"needs_8bit": True}, " SIZE=4 BODY=8BITMIME"),
        ({"needs_8bit": True, "needs_smtputf8": True}, " SIZE=4 BODY=8BITMIME SMTPUTF8"),
        ({"require_tls": True}, " SIZE=4 BODY=7BIT REQUIRETLS"),
        ({"mail_from": "ü@client.example"}, " SIZE=4 BODY=7BIT SMTPUTF8"),
    ],
)
def test_parameters(needs: dict[str, bool], parameters: str) -> None:
    session = greeted(*ALL, tls=True)
    submitted(session, **needs)  # type: ignore[arg-type]  # as each case gives them
    assert f">{parameters}\r\n".encode() in session.data_to_send()


@pytest.mark.parametrize(
    ("extensions", "needs", "error", "permanent"),
    [
        ((), {"needs_8bit": True}, ExtensionMissing, True),
        ((), {"needs_smtputf8": True}, ExtensionMissing, False),
        ((), {"mail_from": "ü@client.example"}, ExtensionMissing, False),
        (("REQUIRETLS",), {"require_tls": True}, ExtensionMissing, False),  # not over TLS
        (("SIZE 3",), {}, MessageTooLarge, True),
    ],
)
def test_what_the_server_cannot_carry_is_not_sent(
    extensions: tuple[str, ...], needs: dict[str, bool], error: type[Exception], permanent: bool
) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, **needs)  # type: ignore[arg-type]  # as each case gives them
    [one] = transaction.result.recipients
    assert isinstance(one, NotSent)
    assert isinstance(one.error, error)
    assert (one.local, one.permanent, one.code, one.enhanced) == (True, permanent, 0, "")
    assert session.data_to_send() == b""
    assert transaction.result.usable
    assert not transaction.result.answered
    assert session.transactions == 0


BAD_ADDRESSES = [
    "a b@x",
    "a@x\r\nRSET",
    "a@x\0",
    "a>b@x",
    "<a@x>",
    "a@x\x85",
    "\udcff@x",
    "x" * 1001,
    '"a\n"@x',
    '"a\0"@x',
]


@pytest.mark.parametrize("address", BAD_ADDRESSES)
def test_an_address_that_cannot_stand_in_a_command(address: str) -> None:
    session = greeted()
    with pytest.raises(InputError):
        submitted(session, mail_from=address)
    with pytest.raises(InputError):
        submitted(session, "ok@x", address)
    assert session.data_to_send() == b""


@pytest.mark.parametrize("recipients", [[], [""]])
def test_no_recipients(recipients: list[str]) -> None:
    with pytest.raises(InputError):
        Transaction(greeted(), mail_from="", recipients=recipients, content=b"", size=0)


def test_quoted_localparts_are_sent_as_they_are() -> None:
    session = greeted()
    submitted(session, mail_from='"a b <c>"@x')
    assert session.data_to_send() == b'MAIL FROM:<"a b <c>"@x>\r\n'


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
def test_recipients_have_their_own_results(extensions: tuple[str, ...]) -> None:
    session = greeted(*extensions)
    replies = ["250 ok", "250 ok", "550 5.1.1 b", "450 4.2.1 c", "251 2.1.5 will forward", "354 go", "250 2.0.0 queued"]
    _, result = talk(session, replies, submitted(session, "a@x", "b@x", "c@x", "d@x"))
    a, b, c, d = result.recipients
    assert isinstance(a, Accepted)
    assert isinstance(b, Refused)
    assert (b.recipient, b.command, b.code, b.enhanced, b.permanent) == ("b@x", Command.RCPT, 550, "5.1.1", True)
    assert b.lines == ("550 5.1.1 b",)
    assert isinstance(c, Refused)
    assert (c.permanent, c.further_transaction) == (False, False)
    assert isinstance(d, Accepted)  # unlike mox, which wants 250
    assert (d.code, d.enhanced) == (250, "2.0.0")
    assert [reply.code for reply in result.rcpt_replies if reply is not None] == [250, 550, 450, 251]


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
def test_552_to_the_first_recipient_is_its_full_mailbox_and_permanent(extensions: tuple[str, ...]) -> None:
    """With pipelining or not; mox has it temporary with."""
    session = greeted(*extensions)
    _, result = talk(session, ["250 ok", "552 5.2.2 full", "503 no rcpt"], submitted(session))
    [one] = result.recipients
    assert isinstance(one, Refused)
    assert (one.code, one.permanent, one.further_transaction) == (552, True, False)


@pytest.mark.parametrize("code", [452, 552])
@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
def test_too_many_recipients_go_into_a_further_transaction(extensions: tuple[str, ...], code: int) -> None:
    session = greeted(*extensions)
    full = f"{code} 4.5.3 too many"
    rest = [full] if "PIPELINING" in extensions else []
    replies = ["250 ok", "250 ok", full, *rest, "354 go", "250 queued"]
    _, result = talk(session, replies, submitted(session, "a@x", "b@x", "c@x"))
    assert kinds(result) == [Accepted, Refused, Refused]
    assert [getattr(one, "further_transaction", None) for one in result.recipients] == [None, True, True]


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize(
    ("replies", "command", "code"),
    [
        (["550 5.7.1 no", "503 no mail", "503 no rcpt"], Command.MAIL, 550),
        (["250 ok", "250 ok", "451 4.3.0 busy"], Command.DATA, 451),
        (["250 ok", "250 ok", "250 strange"], Command.DATA, 250),
        (["250 ok", "250 ok", "354 go", "554 5.7.1 spam"], Command.END_OF_DATA, 554),
        (["250 ok", "250 ok", "354 go", "251 strange"], Command.END_OF_DATA, 251),
    ],
)
def test_a_refusal_of_the_whole_transaction(
    extensions: tuple[str, ...], replies: list[str], command: Command, code: int
) -> None:
    session = greeted(*extensions)
    _, result = talk(session, replies, submitted(session))
    [one] = result.recipients
    assert isinstance(one, Refused)
    assert (one.command, one.code, one.permanent) == (command, code, code >= 500)
    assert result.usable
    assert session.needs_reset is (command is not Command.END_OF_DATA)


def test_a_refused_recipient_keeps_its_own_reply_when_the_message_is_refused() -> None:
    session = greeted(*PIPELINED)
    replies = ["250 ok", "250 ok", "550 5.1.1 b", "354 go", "554 5.7.1 spam"]
    _, result = talk(session, replies, submitted(session, "a@x", "b@x"))
    assert [one.code for one in result.recipients] == [554, 550]


def test_data_taken_without_recipients_is_ended_with_a_dot() -> None:
    session = greeted(*PIPELINED)
    sent, result = talk(session, ["250 ok", "550 5.1.1 no", "354 go", "554 5.5.1 none"], submitted(session))
    assert sent[1:] == [b".\r\n"]
    assert [one.code for one in result.recipients] == [550]
    assert result.usable


def test_data_taken_for_recipients_of_a_refused_sender_is_not_ended() -> None:
    session = greeted(*PIPELINED)
    transaction = submitted(session)
    session.data_to_send()
    session.receive(b"550 no\r\n250 ok\r\n354 go\r\n")
    [one] = transaction.result.recipients
    assert isinstance(one, Refused)
    assert one.command is Command.MAIL
    assert isinstance(session.failure, ProtocolError)
    assert session.data_to_send() == b""


def test_rset_before_the_next_one_after_a_failure() -> None:
    session = greeted(*PIPELINED)
    talk(session, ["250 ok", "550 no", "503 no rcpt"], submitted(session))
    sent, result = talk(session, ["250 reset", "250 ok", "250 ok", "354 go", "250 queued"], submitted(session))
    assert sent[0] == b"RSET\r\n"
    assert kinds(result) == [Accepted]


def test_a_refused_rset_sends_nothing_more() -> None:
    session = greeted(*PIPELINED)
    session.needs_reset = True
    sent, result = talk(session, ["502 5.5.1 no"], submitted(session))
    assert sent == [b"RSET\r\n"]
    [one] = result.recipients
    assert isinstance(one, NotSent)
    assert isinstance(one.error, ReplyError)
    assert (one.command, one.permanent, one.local) == (Command.RSET, False, False)
    assert not result.usable
    assert not result.answered


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
def test_a_server_without_room_for_anybody_is_not_asked_again_at_once(extensions: tuple[str, ...]) -> None:
    session = greeted(*extensions)
    replies = ["250 ok", "452 4.3.1 disk full", "452 4.3.1 disk full", "503 no rcpt"]
    _, result = talk(session, replies, submitted(session, "a@x", "b@x"))
    assert [getattr(one, "further_transaction", None) for one in result.recipients] == [False, False]


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize(
    ("replies", "kind", "command"),
    [
        ([], NotSent, Command.MAIL),
        (["250 ok"], NotSent, Command.RCPT),
        (["250 ok", "250 ok"], NotSent, Command.DATA),
        (["250 ok", "250 ok", "354 go"], Unknown, Command.END_OF_DATA),
    ],
)
@pytest.mark.parametrize(
    "end",
    [
        lambda session: session.lost(session.connection_lost("reset")),
        lambda session: session.lost(CommandTimeout(command=session.awaiting, seconds=1)),
        lambda session: session.receive(b"garbage\r\n"),
    ],
)
def test_only_after_the_final_dot_is_a_failure_unknown(
    extensions: tuple[str, ...], replies: list[str], kind: type[RecipientResult], command: Command, end: object
) -> None:
    session = greeted(*extensions)
    transaction = submitted(session)
    for reply in replies:
        session.data_to_send()
        session.receive(f"{reply}\r\n".encode())
    session.data_to_send()
    assert callable(end)
    end(session)
    result = transaction.result
    [one] = result.recipients
    assert isinstance(one, kind)
    assert isinstance(one, NotSent | Unknown)
    assert getattr(one.error, "command", None) is command
    assert (one.code, one.permanent) == (0, False)
    assert not isinstance(one, NotSent) or not one.local
    assert not result.usable
    assert result.answered is bool(replies)


def test_definite_refusals_stay_when_the_connection_is_lost() -> None:
    session = greeted(*PIPELINED)
    transaction = submitted(session, "a@x", "b@x", "c@x")
    session.receive(b"250 ok\r\n550 5.1.1 a\r\n250 ok\r\n")
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [Refused, NotSent, NotSent]
    assert [reply and reply.code for reply in transaction.result.rcpt_replies] == [550, 250, None]


def test_a_session_that_has_failed_takes_nothing() -> None:
    session = greeted()
    session.lost(session.connection_lost("reset"))
    transaction = submitted(session)
    [one] = transaction.result.recipients
    assert isinstance(one, NotSent)
    assert isinstance(one.error, ConnectionLost)
    assert not transaction.result.answered
    assert session.data_to_send() == b""


@pytest.mark.parametrize(
    ("content", "where"),
    [(b"a\nb\r\n", 1), (b"a\rb\r\n", 1), (b"\n", 0), (b"a\r", 1), (b"a\r\n\r\r\n", 3), (b"\r\n\n", 2)],
)
def test_a_bare_line_end_in_the_content(content: bytes, where: int) -> None:
    session = greeted()
    transaction = submitted(session, content=content)
    session.data_to_send()
    session.receive(b"250 ok\r\n")
    session.data_to_send()
    session.receive(b"250 ok\r\n")
    assert session.data_to_send() == b"DATA\r\n"
    session.receive(b"354 go\r\n")
    [one] = transaction.result.recipients
    assert isinstance(one, NotSent)
    assert isinstance(one.error, InvalidContent)
    assert one.error.where == where
    assert (one.local, one.command) == (True, Command.CONTENT)
    assert session.data_to_send() == b""
    assert not transaction.result.usable


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED, ("CHUNKING",), (*PIPELINED, "CHUNKING")])
@pytest.mark.parametrize("content", [b"hi\r\n", b".\r\n..\r\nno end", b""])
def test_what_is_prepared_while_the_server_has_yet_to_answer_is_what_is_sent(
    extensions: tuple[str, ...], content: bytes
) -> None:
    sent: dict[bool, list[bytes]] = {False: [], True: []}
    for prepared, pieces in sent.items():
        session = greeted(*extensions)
        transaction = submitted(session, content=content, size=len(content))
        while not transaction.done:
            if prepared:
                transaction.prepare()  # at any time, and again
            pieces.append(session.data_to_send())
            session.receive(b"354 go\r\n" if transaction.awaiting is Command.DATA else b"250 ok\r\n")
        assert kinds(transaction.result) == [Accepted]
    assert sent[True] == sent[False]


def test_a_bare_line_end_that_is_found_early_is_told_when_the_content_is_asked_for() -> None:
    session = greeted(*PIPELINED)
    transaction = submitted(session, content=b"a\nb\r\n")
    transaction.prepare()
    session.data_to_send()
    assert not transaction.done
    session.receive(b"250 ok\r\n550 5.1.1 no\r\n503 5.5.1 nobody\r\n")
    assert kinds(transaction.result) == [Refused], "nothing of it was asked for"


def test_checked_lines_are_not_checked_again() -> None:
    session = greeted()
    sent, _ = talk(
        session, ["250 ok", "250 ok", "354 go", "250 ok"], submitted(session, content=b"a\nb\r\n", lines_checked=True)
    )
    assert sent[-1] == b"a\nb\r\n.\r\n"


# Content in chunks


def started(session: Session, *, lines_checked: bool = False) -> Transaction:
    transaction = submitted(session, content=None, size=100, lines_checked=lines_checked)
    session.data_to_send()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert transaction.wants_content
    assert session.data_to_send() == b""
    return transaction


def test_chunks() -> None:
    session = greeted(*PIPELINED)
    transaction = started(session)
    assert b"".join(map(transaction.feed, [b".a\r", b"\n", b"", b".b", b"\r\n"])) == b"..a\r\n..b\r\n"
    waited_for = [session.awaiting]
    transaction.end()
    waited_for.append(session.awaiting)
    assert waited_for == [Command.CONTENT, Command.END_OF_DATA]
    assert session.data_to_send() == b".\r\n"
    session.receive(b"250 queued\r\n")
    assert kinds(transaction.result) == [Accepted]
    with pytest.raises(StateError):
        transaction.feed(b"more")
    with pytest.raises(StateError):
        transaction.end()


@pytest.mark.parametrize(
    ("chunks", "where"),
    [([b"a\r\n", b"b\nc"], 4), ([b"a\r", b"b"], 1), ([b"a", b"\n"], 1), ([b"a\r", b"\r", b"\n"], 1)],
)
def test_a_bare_line_end_in_chunks(chunks: list[bytes], where: int) -> None:
    transaction = started(greeted(*PIPELINED))
    with pytest.raises(InvalidContent) as caught:
        list(map(transaction.feed, chunks))
    assert caught.value.where == where


def test_chunks_that_end_in_cr() -> None:
    transaction = started(greeted(*PIPELINED))
    transaction.feed(b"a\r\nb\r")
    with pytest.raises(InvalidContent) as caught:
        transaction.end()
    assert caught.value.where == 4


def test_chunks_whose_lines_are_checked() -> None:
    transaction = started(greeted(*PIPELINED), lines_checked=True)
    assert transaction.feed(b"a\nb") == b"a\nb"


@pytest.mark.parametrize("ended", [False, True])
def test_lost_while_content_is_sent(ended: bool) -> None:
    session = greeted(*PIPELINED)
    transaction = started(session)
    transaction.feed(b"half of it")
    if ended:
        transaction.end()
        session.data_to_send()
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [Unknown if ended else NotSent]


@pytest.mark.parametrize(("reply", "kind"), [(b"552 5.3.4 too big", Refused), (b"250 ok", NotSent)])
def test_a_reply_before_the_final_dot_ends_the_session(reply: bytes, kind: type[RecipientResult]) -> None:
    session = greeted(*PIPELINED)
    transaction = started(session)
    session.receive(reply + b"\r\n")
    [one] = transaction.result.recipients
    assert isinstance(one, kind)
    assert isinstance(one, Refused | NotSent)
    assert one.command is Command.CONTENT
    assert not transaction.wants_content
    assert isinstance(session.failure, ProtocolError)


def test_what_was_not_taken_to_be_sent_has_not_arrived() -> None:
    session = greeted(*PIPELINED)
    transaction = submitted(session)
    session.data_to_send()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [NotSent]


@pytest.mark.parametrize(("reply", "kind"), [(b"250 ok", NotSent), (b"554 no", Refused)])
def test_a_reply_to_the_final_dot_before_it_was_sent(reply: bytes, kind: type[RecipientResult]) -> None:
    session = greeted(*PIPELINED)
    transaction = submitted(session)
    session.data_to_send()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n" + reply + b"\r\n")
    assert kinds(transaction.result) == [kind]
    assert isinstance(session.failure, ProtocolError)
    assert session.data_to_send() == b""


def test_an_abandoned_transaction() -> None:
    session = greeted(*PIPELINED)
    transaction = started(session)
    waiting = submitted(session)
    session.abandon(transaction, InvalidContent(3))
    [one], [other] = transaction.result.recipients, waiting.result.recipients
    assert isinstance(one, NotSent)
    assert one.local
    assert isinstance(other, NotSent)
    assert not other.local


# One right behind the other


def test_the_next_one_begins_behind_the_final_dot() -> None:
    session = greeted(*PIPELINED)
    first, second, third = (submitted(session, f"{name}@x") for name in "abc")
    assert session.data_to_send().count(b"MAIL FROM") == 1
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    sent = session.data_to_send()
    assert sent == b"hi\r\n.\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<b@x>\r\nDATA\r\n"
    session.receive(b"554 5.7.1 spam\r\n250 ok\r\n250 ok\r\n354 go\r\n")
    assert [one.code for one in first.result.recipients] == [554]
    assert session.data_to_send().startswith(b"hi\r\n.\r\nMAIL")
    session.receive(b"250 queued\r\n")
    assert kinds(second.result) == [Accepted]
    session.lost(session.connection_lost("reset"))
    assert kinds(third.result) == [NotSent]


def test_a_lost_connection_leaves_only_the_one_that_was_whole_unknown() -> None:
    session = greeted(*PIPELINED)
    first, second = submitted(session), submitted(session)
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.data_to_send()
    session.lost(session.connection_lost("reset"))
    assert kinds(first.result) == [Unknown]
    assert kinds(second.result) == [NotSent]
    assert not second.result.answered


def test_nothing_is_sent_behind_a_dot_without_pipelining() -> None:
    session = greeted()
    submitted(session)
    submitted(session)
    for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
        session.data_to_send()
        session.receive(reply)
    assert session.data_to_send() == b"hi\r\n.\r\n"
