"""LMTP (RFC 2033): LHLO, and a reply to the end of a message for each recipient, in step whatever happens."""

import pytest

from moxlib.smtpclient import (
    Accepted,
    Command,
    DeliveryResult,
    NotSent,
    ProtocolError,
    RecipientResult,
    Refused,
    ReplyError,
    Session,
    Transaction,
    Unknown,
)

STEPWISE = ("ENHANCEDSTATUSCODES",)
DATA = ("PIPELINING", "ENHANCEDSTATUSCODES")
BDAT = ("PIPELINING", "CHUNKING", "ENHANCEDSTATUSCODES")
BDAT_STEPWISE = ("CHUNKING", "ENHANCEDSTATUSCODES")
WAYS = [STEPWISE, DATA, BDAT, BDAT_STEPWISE]


def greeted(*extensions: str) -> Session:
    session = Session("client.example", lmtp=True)
    session.greet()
    session.receive(b"220 lmtp.example LMTP\r\n")
    assert session.data_to_send() == b"LHLO client.example\r\n"
    lines = ["lmtp.example", *extensions]
    session.receive(b"".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines))
    return session


def submitted(session: Session, *recipients: str, content: bytes | None = b"hi\r\n") -> Transaction:
    return session.submit(Transaction(session, mail_from="a@x", recipients=recipients, content=content, size=4))


def told(session: Session, *replies: str) -> None:
    for reply in replies:
        session.data_to_send()
        session.receive(f"{reply}\r\n".encode())
    session.data_to_send()


def through(extensions: tuple[str, ...], *rcpt: str) -> tuple[Session, Transaction]:
    """Return a transaction for b@x, c@x, ... whose message has gone out whole, RCPT answered as told."""
    session = greeted(*extensions)
    transaction = submitted(session, *(f"{letter}@x" for letter in "bcdef"[: len(rcpt)]))
    told(session, "250 ok", *rcpt)
    if "CHUNKING" not in extensions:
        told(session, "354 go")
    assert transaction.ended
    assert session.awaiting is Command.END_OF_DATA
    return session, transaction


def kinds(result: DeliveryResult) -> list[type[RecipientResult]]:
    return [type(one) for one in result.recipients]


@pytest.mark.parametrize("code", [500, 502, 550])
def test_there_is_no_way_but_lhlo(code: int) -> None:
    session = Session("client.example", lmtp=True)
    greeting = session.greet()
    session.receive(b"220 mx.example ESMTP\r\n")
    session.data_to_send()
    session.receive(f"{code} no\r\n".encode())
    with pytest.raises(ReplyError) as caught:
        greeting.result  # noqa: B018 - raises
    assert (caught.value.command, caught.value.permanent) == (Command.LHLO, True)
    assert session.data_to_send() == b""


def test_lhlo_is_said_again_after_tls() -> None:
    session = greeted("STARTTLS")
    session.starttls()
    told(session, "220 go")
    session.tls_started()
    session.hello()
    assert session.data_to_send() == b"LHLO client.example\r\n"


@pytest.mark.parametrize("extensions", WAYS)
def test_a_reply_for_each_recipient(extensions: tuple[str, ...]) -> None:
    session, transaction = through(extensions, "250 ok", "550 5.1.1 no", "250 ok", "250 ok")
    told(session, "250 2.0.0 b", "452 4.2.2 d is full")
    assert not transaction.done
    told(session, "554 5.7.1 e does not want it")
    b, c, d, e = transaction.result.recipients
    assert isinstance(b, Accepted)
    assert b.lines == ("250 2.0.0 b",)
    assert isinstance(c, Refused)
    assert (c.command, c.code) == (Command.RCPT, 550)
    assert isinstance(d, Refused)
    assert (d.command, d.code, d.permanent, d.further_transaction) == (Command.END_OF_DATA, 452, False, False)
    assert isinstance(e, Refused)
    assert (e.command, e.enhanced, e.permanent) == (Command.END_OF_DATA, "5.7.1", True)
    assert transaction.result.usable


@pytest.mark.parametrize("extensions", WAYS)
@pytest.mark.parametrize("end", ["lost", "garbage", "neither"])
@pytest.mark.parametrize("replied", [0, 1, 2])
def test_those_without_a_reply_are_in_doubt(extensions: tuple[str, ...], end: str, replied: int) -> None:
    session, transaction = through(extensions, "250 ok", "250 ok", "550 5.1.1 no", "250 ok")
    told(session, *["250 2.0.0 b", "450 4.2.1 c"][:replied])
    if end == "lost":
        session.lost(session.connection_lost("reset"))
    else:
        session.receive(b"199 go on\r\n" if end == "neither" else b"\x00\r\n")
    results = kinds(transaction.result)
    first_two: list[type[RecipientResult]] = [Accepted, Refused]
    assert results == [*first_two[:replied], *[Unknown] * (2 - replied), Refused, Unknown]
    assert not transaction.result.usable


def test_421_for_one_says_nothing_of_the_next() -> None:
    session, transaction = through(DATA, "250 ok", "250 ok")
    told(session, "421 4.3.2 bye")
    session.lost(session.connection_lost("closed"))
    assert kinds(transaction.result) == [Refused, Unknown]


@pytest.mark.parametrize("extensions", [DATA, BDAT])
def test_the_next_one_keeps_in_step(extensions: tuple[str, ...]) -> None:
    session, first = through(extensions, "250 ok", "250 ok")
    told(session, "250 1", "250 2")
    second, third = submitted(session, "d@x", "e@x"), submitted(session, "f@x")
    told(session, "250 ok", "250 ok", "250 ok", *(["354 go"] if extensions is DATA else []))
    told(session, "250 2.0.0 d", "550 5.2.1 e", *(["250 reset"] if extensions is BDAT else []))
    told(session, "250 ok", "250 ok", *(["354 go"] if extensions is DATA else []), "250 2.0.0 f")
    assert [one.code for one in first.result.recipients] == [250, 250]
    assert [one.lines for one in second.result.recipients] == [("250 2.0.0 d",), ("550 5.2.1 e",)]
    assert [one.lines for one in third.result.recipients] == [("250 2.0.0 f",)]
    assert session.usable


@pytest.mark.parametrize("extensions", [DATA, BDAT])
def test_nobody_accepted_has_one_reply(extensions: tuple[str, ...]) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, "b@x", "c@x")
    told(session, "250 ok", "550 5.1.1 b", "550 5.1.1 c", "503 5.5.1 nobody")
    assert kinds(transaction.result) == [Refused, Refused]
    assert transaction.result.usable


@pytest.mark.parametrize(("extensions", "reply"), [(DATA, "354 go"), (BDAT, "250 taken")])
@pytest.mark.parametrize("mail", ["250 ok", "550 no"])
def test_a_message_for_nobody_may_have_any_number_of_replies(
    extensions: tuple[str, ...], reply: str, mail: str
) -> None:
    session = greeted(*extensions)
    transaction = submitted(session, "b@x")
    told(session, mail, "550 5.1.1 b", reply)
    [one] = transaction.result.recipients
    assert isinstance(one, Refused)
    assert one.command is (Command.RCPT if mail.startswith("250") else Command.MAIL)
    assert isinstance(session.failure, ProtocolError)


def test_bdat_refused_as_a_command_is_refused_to_all() -> None:
    session, transaction = through(BDAT, "250 ok", "250 ok")
    told(session, "500 5.5.1 what?")
    assert [(type(one), one.code, one.permanent) for one in transaction.result.recipients] == [
        (Refused, 500, False),
        (Refused, 500, False),
    ]
    assert transaction.result.chunking_refused


def test_content_in_chunks_has_its_replies() -> None:
    session = greeted(*DATA)
    transaction = submitted(session, "b@x", "c@x", content=None)
    told(session, "250 ok", "250 ok", "250 ok", "354 go")
    session.send(transaction.feed(b"hi\r\n"))
    transaction.end()
    assert session.data_to_send() == b"hi\r\n.\r\n"
    told(session, "250 b", "250 c")
    assert kinds(transaction.result) == [Accepted, Accepted]


def test_a_reply_before_the_end_is_for_all() -> None:
    session = greeted(*DATA)
    transaction = submitted(session, "b@x", "c@x", content=None)
    told(session, "250 ok", "250 ok", "250 ok", "354 go", "451 4.3.0 no room")
    assert [(type(one), one.code) for one in transaction.result.recipients] == [(Refused, 451), (Refused, 451)]
    assert not transaction.result.usable


def test_lost_before_the_end_is_not_sent() -> None:
    session = greeted(*DATA)
    transaction = submitted(session, "b@x", "c@x")
    told(session, "250 ok", "250 ok", "250 ok")
    session.lost(session.connection_lost("reset"))
    assert kinds(transaction.result) == [NotSent, NotSent]
