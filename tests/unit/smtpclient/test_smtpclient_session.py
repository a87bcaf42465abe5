"""The session: greeting, EHLO and HELO, STARTTLS, RSET, QUIT, and what a peer must not do."""

import pytest

from moxlib.errors import InputError, StateError
from moxlib.smtpclient import Command, ConnectionLost, ProtocolError, ReplyError, ResponseInjected, Session, Transaction


def greeted(*extensions: str) -> Session:
    session = Session("client.example")
    greeting = session.greet()
    lines = ["mx.example", *extensions]
    ehlo = b"".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines)
    session.receive(b"220 mx.example ESMTP\r\n")
    assert session.data_to_send() == b"EHLO client.example\r\n"
    session.receive(ehlo)
    greeting.result  # noqa: B018 - raises if it failed
    return session


def transaction(session: Session, **changes: object) -> Transaction:
    given: dict[str, object] = {
        "mail_from": "a@client.example",
        "recipients": ["b@mx.example"],
        "content": b"hi\r\n",
        "size": 4,
    }
    return session.submit(Transaction(session, **(given | changes)))  # type: ignore[arg-type]  # as each test gives them


def test_greeting_and_ehlo() -> None:
    session = greeted("PIPELINING", "SIZE 100")
    assert session.server == "mx.example ESMTP"
    assert session.extensions.pipelining
    assert session.usable
    assert session.idle
    assert session.awaiting is None


@pytest.mark.parametrize(("name"), ["", "two words", "a\r\nMAIL", "ü.example", "a\tb"])
def test_a_name_that_cannot_stand_in_ehlo(name: str) -> None:
    with pytest.raises(InputError):
        Session(name)


@pytest.mark.parametrize(
    ("greeting", "permanent"), [(b"554 5.7.1 no\r\n", True), (b"421 busy\r\n", False), (b"250 ok\r\n", False)]
)
def test_a_refused_greeting(greeting: bytes, permanent: bool) -> None:
    session = Session("client.example")
    exchange = session.greet()
    session.receive(greeting)
    with pytest.raises(ReplyError) as caught:
        exchange.result  # noqa: B018
    assert caught.value.command is Command.GREETING
    assert caught.value.permanent is permanent
    assert session.data_to_send() == b""


@pytest.mark.parametrize("code", [500, 501, 502, 503, 504])
def test_helo_where_ehlo_is_not_known(code: int) -> None:
    session = Session("client.example")
    exchange = session.greet()
    session.receive(b"220 old\r\n")
    session.data_to_send()
    session.receive(f"{code} what?\r\n".encode())
    assert session.data_to_send() == b"HELO client.example\r\n"
    session.receive(b"250 hello\r\n")
    exchange.result  # noqa: B018
    assert not session.extensions.pipelining


def test_other_refusals_of_ehlo_are_final() -> None:
    session = Session("client.example")
    exchange = session.greet()
    session.receive(b"220 x\r\n550 go away\r\n")
    with pytest.raises(ReplyError) as caught:
        exchange.result  # noqa: B018
    assert caught.value.command is Command.EHLO


def test_no_helo_after_tls() -> None:
    session = greeted("STARTTLS")
    session.tls_started()
    exchange = session.hello()
    session.receive(b"500 what?\r\n")
    with pytest.raises(ReplyError) as caught:
        exchange.result  # noqa: B018
    assert caught.value.permanent


def test_starttls_forgets_what_was_said_in_clear() -> None:
    session = greeted("STARTTLS", "PIPELINING", "AUTH PLAIN")
    exchange = session.starttls()
    assert session.data_to_send() == b"STARTTLS\r\n"
    session.receive(b"220 go\r\n")
    exchange.result  # noqa: B018
    session.tls_started()
    assert session.tls
    assert not session.extensions.pipelining
    assert session.extensions.auth == ()
    session.hello()
    assert session.data_to_send() == b"EHLO client.example\r\n"


def test_a_refused_starttls() -> None:
    session = greeted("STARTTLS")
    exchange = session.starttls()
    session.receive(b"454 not now\r\n")
    with pytest.raises(ReplyError) as caught:
        exchange.result  # noqa: B018
    assert (caught.value.command, caught.value.permanent) == (Command.STARTTLS, False)
    assert session.usable


@pytest.mark.parametrize("injected", [b"250 mx\r\n", b"250-mx\r\n", b"2", b"\x16\x03\x01"])
@pytest.mark.parametrize("at_once", [True, False])
def test_what_follows_the_reply_to_starttls_is_refused(injected: bytes, at_once: bool) -> None:
    session = greeted("STARTTLS")
    exchange = session.starttls()
    for data in [b"220 go\r\n" + injected] if at_once else [b"220 go\r\n", injected]:
        session.receive(data)

    def go_on() -> None:
        exchange.result  # noqa: B018 - raises if the data came with the reply, and was no complete one
        session.tls_started()

    with pytest.raises(ResponseInjected):
        go_on()
    assert not session.tls


@pytest.mark.parametrize(
    ("data", "error"),
    [(b"250 unasked\r\n", ProtocolError), (b"421 too long idle\r\n", ConnectionLost), (b"garbage\r\n", ProtocolError)],
)
def test_what_comes_unasked_ends_the_session(data: bytes, error: type[Exception]) -> None:
    session = greeted()
    session.receive(data)
    assert isinstance(session.failure, error)
    assert not session.usable
    late = session.reset()
    with pytest.raises(ConnectionLost):
        late.result  # noqa: B018
    assert session.data_to_send() == b""


def test_a_421_ends_the_use_but_not_the_protocol() -> None:
    session = greeted()
    exchange = session.reset()
    session.receive(b"421 shutting down\r\n")
    with pytest.raises(ReplyError):
        exchange.result  # noqa: B018
    assert session.failure is None
    assert session.closing is not None
    assert not session.usable


def test_reset_and_quit() -> None:
    session = greeted()
    session.needs_reset = True
    reset, quit_ = session.reset(), session.quit()
    assert session.data_to_send() == b"RSET\r\n"
    session.receive(b"250 ok\r\n")
    reset.result  # noqa: B018
    assert not session.needs_reset
    assert session.data_to_send() == b"QUIT\r\n"
    session.receive(b"221 bye\r\n")
    assert quit_.result.code == 221


def test_lost_ends_what_runs_and_what_waits() -> None:
    session = greeted()
    exchanges = [session.reset(), session.reset()]
    woken: list[int] = []
    for number, exchange in enumerate(exchanges):
        exchange.on_wake = lambda _, number=number: woken.append(number)
    session.lost(session.connection_lost("reset by peer"))
    assert woken == [0, 1]
    for exchange in exchanges:
        with pytest.raises(ConnectionLost):
            exchange.result  # noqa: B018
    assert session.receive(b"250 late\r\n") == 0
    assert session.data_to_send() == b""


def test_an_exchange_that_waits_can_be_withdrawn() -> None:
    session = greeted()
    running, waiting = session.reset(), session.reset()
    assert not session.withdraw(running)
    assert session.withdraw(waiting)
    session.data_to_send()
    session.receive(b"250 ok\r\n")
    assert session.data_to_send() == b""
    with pytest.raises(StateError):
        waiting.result  # noqa: B018


def test_limits_mailmax_ends_the_use() -> None:
    session = greeted("LIMITS MAILMAX=1", "PIPELINING")
    sending = transaction(session)
    assert not session.usable
    session.data_to_send()
    session.receive(b"250 ok\r\n250 ok\r\n354 go\r\n")
    session.data_to_send()
    session.receive(b"250 ok\r\n")
    assert not sending.result.usable


def test_the_lines_of_an_auth_exchange_may_be_longer() -> None:
    session = greeted("AUTH X")
    exchange = session.auth_line("AUTH X", enhanced=False)
    assert session.data_to_send() == b"AUTH X\r\n"
    session.receive(b"334 " + b"A" * 8000 + b"\r\n")
    assert len(exchange.result.texts[0]) == 8000
    session.reset()
    session.receive(b"250 " + b"A" * 8000 + b"\r\n")
    assert isinstance(session.failure, ProtocolError)
