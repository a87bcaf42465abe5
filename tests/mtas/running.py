"""A server for tests: skipped where it cannot be, and its log with the report of a test that fails."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme
from tests.mtas.exim import Exim
from tests.mtas.opensmtpd import OpenSMTPD
from tests.mtas.postfix import Postfix
from tests.mtas.server import MailServer, ServerMissingError, Settings

from moxlib.smtpclient import verified_context

__all__ = ["ALL", "HOSTNAME", "WITH_TLS", "named", "running", "trust", "watched"]

ALL: tuple[type[MailServer], ...] = (Postfix, Exim, OpenSMTPD)
WITH_TLS: tuple[type[MailServer], ...] = (Postfix, Exim)
"""Those whose STARTTLS works as Debian 12 has them, and that offer PIPELINING, CHUNKING and SMTPUTF8."""
HOSTNAME = "mx.example"


def named(kind: object) -> str:
    """Return how a test of a server is named."""
    assert isinstance(kind, type)
    assert issubclass(kind, MailServer)
    return kind.NAME


def trust(authority: trustme.CA) -> ssl.SSLContext:
    """Return a context that verifies, and trusts `authority` too."""
    context = verified_context()
    authority.configure_trust(context)
    return context


@contextmanager
def running(kind: type[MailServer], settings: Settings) -> Iterator[MailServer]:
    """Run a server, or skip where there is none."""
    try:
        server = kind(settings)
    except ServerMissingError as error:
        pytest.skip(str(error))
    with server:
        yield server


@contextmanager
def watched(server: MailServer) -> Iterator[MailServer]:
    """Give a server that other tests had, as if it were new; print what it says meanwhile, for pytest to show."""
    server.start()
    server.forget()
    before = server.mark()
    yield server
    print(server.said(*before), end="")  # noqa: T201 - pytest shows it, if the test fails
