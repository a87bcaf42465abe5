"""DSN parameters: what they accept, how they are sent, and that nothing in them can end a command."""

import dataclasses

import pytest

from moxlib.errors import InputError
from moxlib.smtpclient import DSNParameters, RecipientParameters, Session, Transaction

OFFERED = ("PIPELINING", "SMTPUTF8", "DSN")


def sent(
    *extensions: str, dsn: DSNParameters | None, recipients: tuple[str, ...] = ("b@x",), smtputf8: bool = False
) -> list[str]:
    """Return the lines of the first group that a transaction sends."""
    session = Session("client.example")
    session.greet()
    lines = ["mx.example", *extensions]
    session.receive(b"220 mx.example\r\n")
    session.receive(b"".join(f"250{' ' if line == lines[-1] else '-'}{line}\r\n".encode() for line in lines))
    session.data_to_send()
    session.submit(
        Transaction(
            session,
            mail_from="a@x",
            recipients=recipients,
            content=None,
            size=1,
            needs_smtputf8=smtputf8,
            dsn=dsn,
        )
    )
    return session.data_to_send().decode().split("\r\n")[:-1]


def test_all_parameters() -> None:
    dsn = DSNParameters(
        ret="HDRS",
        envid="q=1+2 x",
        recipients=(
            RecipientParameters(notify=("SUCCESS", "DELAY"), orcpt="rfc822;old+tag@x"),
            RecipientParameters(notify=("NEVER",)),
            RecipientParameters(),
        ),
    )
    assert sent(*OFFERED, dsn=dsn, recipients=("b@x", "c@x", "d@x")) == [
        "MAIL FROM:<a@x> RET=HDRS ENVID=q+3D1+2B2+20x",
        "RCPT TO:<b@x> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;old+2Btag@x",
        "RCPT TO:<c@x> NOTIFY=NEVER",
        "RCPT TO:<d@x>",
        "DATA",
    ]


def test_nothing_is_asked_of_a_server_without_dsn() -> None:
    dsn = DSNParameters(ret="FULL", envid="1", recipients=(RecipientParameters(notify=("NEVER",)),))
    assert sent("PIPELINING", dsn=dsn) == ["MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA"]


def test_nothing_is_asked_where_nothing_is_wanted() -> None:
    assert sent(*OFFERED, dsn=DSNParameters()) == ["MAIL FROM:<a@x>", "RCPT TO:<b@x>", "DATA"]


@pytest.mark.parametrize(
    ("orcpt", "smtputf8", "parameter"),
    [
        ("utf-8;jürgen@x", True, "utf-8;jürgen@x"),
        ("utf-8;jürgen@x", False, "utf-8;j\\x{FC}rgen@x"),
        ("UTF-8;a+b=c\\d e@x", True, "UTF-8;a\\x{2B}b\\x{3D}c\\x{5C}d\\x{20}e@x"),
        ("utf-8;\U0001f4e8@x", False, "utf-8;\\x{1F4E8}@x"),
        ('rfc822;"a b"@x', True, 'rfc822;"a+20b"@x'),
        ("x400;/S=a/", False, "x400;/S+3Da/"),
    ],
)
def test_original_recipients(orcpt: str, smtputf8: bool, parameter: str) -> None:
    dsn = DSNParameters(recipients=(RecipientParameters(orcpt=orcpt),))
    assert sent(*OFFERED, dsn=dsn, smtputf8=smtputf8)[1] == f"RCPT TO:<b@x> ORCPT={parameter}"


def test_an_international_recipient_makes_the_original_one_utf8_too() -> None:
    dsn = DSNParameters(recipients=(RecipientParameters(orcpt="utf-8;ü@x"),))
    assert sent(*OFFERED, dsn=dsn, recipients=("ü@x",))[:2] == [
        "MAIL FROM:<a@x> SMTPUTF8",
        "RCPT TO:<ü@x> ORCPT=utf-8;ü@x",
    ]


@pytest.mark.parametrize("envid", ["a\r\nRSET", "a\0", "\x7f", "ü", "a\tb", "x" * 101, "+" * 34])
def test_no_envelope_identifier(envid: str) -> None:
    with pytest.raises(InputError):
        DSNParameters(envid=envid)


@pytest.mark.parametrize("envid", ["", "x" * 100, "+" * 33, "a b"])
def test_envelope_identifiers(envid: str) -> None:
    assert DSNParameters(envid=envid).envid == envid


@pytest.mark.parametrize(
    "notify", [("NEVER", "DELAY"), ("delay",), ("DELAY", "DELAY"), ("",), ("SUCCESS\r\nRSET",), ("SUCCESS,DELAY",)]
)
def test_no_notify(notify: tuple[str, ...]) -> None:
    with pytest.raises(InputError):
        RecipientParameters(notify=notify)


@pytest.mark.parametrize(
    "orcpt",
    [
        "a@x",
        ";a@x",
        "rfc822;",
        "rfc 822;a@x",
        "rfc822\r\n;a@x",
        "rfc822;a\r\nRSET",
        "rfc822;a\0",
        "rfc822;ü@x",
        "utf-8;\x85",
        "utf-8;\ud800",
        "rfc822;" + "a" * 494,
        "utf-8;" + "ü" * 83,
        "x" * 101 + ";a",
    ],
)
def test_no_original_recipient(orcpt: str) -> None:
    with pytest.raises(InputError):
        RecipientParameters(orcpt=orcpt)


def test_no_ret() -> None:
    with pytest.raises(InputError):
        DSNParameters(ret="BODY")  # type: ignore[arg-type]  # as someone without a type checker


def test_parameters_for_other_recipients() -> None:
    dsn = DSNParameters(recipients=(RecipientParameters(), RecipientParameters()))
    with pytest.raises(InputError):
        sent(*OFFERED, dsn=dsn)


def test_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        DSNParameters().envid = "x"  # type: ignore[misc]  # that is the test
