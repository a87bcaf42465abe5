"""What we do where the vectors mark mox's behaviour as a mistake. docs/coming-from-mox.md lists the same, in words."""

import io

import pytest

from moxlib.dns import InvalidDomain, parse_domain, parse_domain_lax
from moxlib.moxio import Bufpool, LineTooLong
from moxlib.smtp import InvalidAddress, Localpart, parse_address, parse_dsn_address, parse_localpart
from moxlib.smtpclient import Command, Refused, Session, Transaction


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "empty"),
        ("a..example", "an empty label"),
        ("xn--.example", "an xn-- label that decodes to nothing valid"),
        ("b.example。", "an empty label"),
        ("d" * 64 + ".example", "a label is longer than 63 octets"),
        (".".join(["d" * 50] * 5), "longer than 253 octets"),
        ("7", "numeric, like an IP address"),
        ("10.1", "numeric, like an IP address"),
        ("300.1.2.3", "numeric, like an IP address"),
        ("b.7", "numeric, like an IP address"),
    ],
)
def test_names_that_the_dns_cannot_have_are_refused(name: str, reason: str) -> None:
    for parse in (parse_domain, parse_domain_lax):
        with pytest.raises(InvalidDomain) as caught:
            parse(name)
        assert caught.value.reason == reason


def test_names_of_invalid_utf8_are_refused() -> None:
    for octets in (b"\xc3.example", b"\xc0\xaf.example", b"\xed\xa0\x80.example"):
        with pytest.raises(InvalidDomain):
            parse_domain(octets.decode("utf-8", "surrogateescape"))


@pytest.mark.parametrize(
    ("domain", "reason"),
    [
        ("", "domain: empty"),
        ("b..example", "domain: an empty label"),
        ("d" * 64 + ".example", "domain: a label is longer than 63 octets"),
        (".".join(["d" * 50] * 5), "domain: longer than 253 octets"),
        ("7", "domain: numeric, like an IP address"),
        ("7.8.9", "domain: numeric, like an IP address"),
    ],
)
def test_addresses_at_such_names_are_refused(domain: str, reason: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse_address(f"jane@{domain}")
    assert caught.value.reason == reason


@pytest.mark.parametrize("octets", [b"j\xe9@example.com", b'"j\xe9"@example.com', b"jane@ex\xffmple.com"])
def test_addresses_of_invalid_utf8_are_refused(octets: bytes) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(octets.decode("utf-8", "surrogateescape"))


def test_localparts_end_at_64_octets() -> None:
    for text in ("j" * 65, '"' + "j" * 65 + '"', '"' + "\\j" * 65 + '"', "é" * 33):
        with pytest.raises(InvalidAddress, match="longer than 64 octets"):
            parse_localpart(text)
        with pytest.raises(InvalidAddress, match="longer than 64 octets"):
            parse_address(f"{text}@example.com")
    assert len(parse_localpart("j" * 64).value) == 64


@pytest.mark.parametrize("localpart", ["jane\u200b", "\u2066jane", "ja\u2029ne", "ja\u2003ne", "\u3000"])
def test_addresses_with_invisible_characters_are_refused(localpart: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_address(f"{localpart}@example.com")


@pytest.mark.parametrize("value", ["\x02", "\t", "b\0", "\x7f", "b\r\n"])
def test_localparts_with_controls_cannot_be_made_so_never_packed(value: str) -> None:
    with pytest.raises(InvalidAddress, match="a control character"):
        Localpart(value=value)


def test_localparts_that_need_quoting_are_read_back_from_the_dsn_form() -> None:
    for value in ('"', '"j"', "a b", "j@x"):
        packed = Localpart(value=value).dsn(utf8=False) + "@example.com"
        assert parse_dsn_address(packed).localpart.value == value


def test_lines_too_long_consume_nothing_beyond_the_limit() -> None:
    # A line of exactly `size` octets before its LF is too long in mox and here; mox goes on in the middle of it.
    reader = io.BytesIO(b"ok\r\n12345678\nnext\n")
    pool = Bufpool(1, 8)
    assert pool.readline(reader) == b"ok"
    with pytest.raises(LineTooLong):
        pool.readline(reader)
    assert reader.read() == b"\nnext\n"


def _answered(rcpt: str, pipelining: bool) -> tuple[Session, Transaction]:
    """Deliver to one recipient that is answered `rcpt`, and if accepted, the message with 250."""
    session = Session("client.example")
    greeting = session.greet()
    session.receive(b"220 mx.example ESMTP\r\n")
    session.receive(
        b"250-mx.example\r\n" + (b"250-PIPELINING\r\n" if pipelining else b"") + b"250 ENHANCEDSTATUSCODES\r\n"
    )
    assert greeting.done
    content = b"Subject: x\r\n\r\n"
    transaction = Transaction(
        session, mail_from="j@example.com", recipients=["jane@example.org"], content=content, size=len(content)
    )
    session.submit(transaction)
    accepted = rcpt.startswith("2")
    data = "354 go on\r\n" if accepted else "503 5.5.1 no recipients\r\n" if pipelining else ""
    for reply in ("250 2.1.0 ok\r\n", f"{rcpt}\r\n", data, "250 2.0.0 taken\r\n" if accepted else ""):
        session.data_to_send()  # a reply to the final dot counts only once that was sent
        session.receive(reply.encode())
    return session, transaction


@pytest.mark.parametrize("pipelining", [True, False])
def test_full_mailbox_is_permanent_with_and_without_pipelining(pipelining: bool) -> None:
    session, transaction = _answered("552 5.2.2 mailbox full", pipelining)
    [result] = transaction.result.recipients
    assert isinstance(result, Refused)
    assert (result.command, result.code, result.enhanced, result.permanent) == (Command.RCPT, 552, "5.2.2", True)
    assert session.usable


@pytest.mark.parametrize("pipelining", [True, False])
def test_will_forward_is_success(pipelining: bool) -> None:
    session, transaction = _answered("251 2.1.5 will forward", pipelining)
    [result] = transaction.result.recipients
    assert (type(result).__name__, result.code) == ("Accepted", 250)
    assert session.usable


@pytest.mark.parametrize("pipelining", [True, False])
def test_refused_recipients_look_alike_with_and_without_pipelining(pipelining: bool) -> None:
    _, transaction = _answered("550 5.1.1 nobody", pipelining)
    [result] = transaction.result.recipients
    assert isinstance(result, Refused)
    assert (result.command, result.lines, result.permanent) == (Command.RCPT, ("550 5.1.1 nobody",), True)


@pytest.mark.parametrize("pipelining", [True, False])
def test_refused_senders_name_their_command_with_and_without_pipelining(pipelining: bool) -> None:
    session = Session("client.example")
    session.greet()
    session.receive(b"220 mx.example ESMTP\r\n")
    session.receive(b"250-mx.example\r\n250 PIPELINING\r\n" if pipelining else b"250 mx.example\r\n")
    transaction = Transaction(
        session, mail_from="j@example.com", recipients=["k@example.org"], content=b"A: b\r\n", size=6
    )
    session.submit(transaction)
    session.receive(b"550 no\r\n")
    if pipelining:
        session.receive(b"503 no sender\r\n503 no recipient\r\n")
    [result] = transaction.result.recipients
    assert isinstance(result, Refused)
    assert (result.command, result.code) == (Command.MAIL, 550)
