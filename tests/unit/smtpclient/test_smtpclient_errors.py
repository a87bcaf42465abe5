"""Errors carry fields, survive pickling, and are what their docstrings say."""

import pickle

import pytest

from moxlib.errors import InputError, RemoteError
from moxlib.smtpclient import (
    AuthenticationFailed,
    Command,
    CommandTimeout,
    ConnectionLost,
    ExtensionMissing,
    InvalidContent,
    LocalAddressUnusable,
    MessageTooLarge,
    ProtocolError,
    Reply,
    ReplyError,
    ResponseInjected,
    SMTPError,
    TLSFailed,
)

REPLY = Reply(code=550, enhanced="5.7.1", lines=("550 5.7.1 no",))
ERRORS: list[SMTPError] = [
    SMTPError("text", command=Command.QUIT),
    ReplyError(command=Command.GREETING, reply=REPLY),
    ReplyError(command=Command.EHLO, reply=Reply(code=500, lines=("500 x",)), permanent=False),
    ProtocolError(command=Command.MAIL, reason="not a reply", lines=("garbage",)),
    ResponseInjected(command=Command.STARTTLS, reason="data came early"),
    ConnectionLost(command=Command.CONNECT, reason="refused"),
    LocalAddressUnusable(command=Command.CONNECT, address="192.0.2.1", reason="not here"),
    CommandTimeout(command=Command.RCPT, seconds=2.5),
    TLSFailed(command=Command.TLS, reason="unknown ca", certificate=True),
    AuthenticationFailed(command=Command.AUTH, reason="none", permanent=True, offered=("PLAIN",), reply=REPLY),
    ExtensionMissing(command=Command.EHLO, extension="8BITMIME", permanent=True),
    MessageTooLarge(command=Command.EHLO, size=10, limit=5),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_pickling(error: SMTPError) -> None:
    error.local_address, error.server = "192.0.2.9", "mx.example ESMTP"
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (str(again), vars(again)) == (str(error), vars(error))
    assert isinstance(error, RemoteError)


def test_invalid_content() -> None:
    again = pickle.loads(pickle.dumps(InvalidContent(7)))
    assert (again.where, str(again)) == (7, str(InvalidContent(7)))
    assert isinstance(again, InputError)


def test_a_timeout_is_a_timeout_error() -> None:
    assert isinstance(ERRORS[7], TimeoutError)


def test_texts_name_the_command_and_what_was_said() -> None:
    assert [str(error) for error in ERRORS[1:4]] == [
        "greeting: 550 5.7.1 no",
        "EHLO: 500 x",
        "MAIL FROM: not a reply: garbage",
    ]
