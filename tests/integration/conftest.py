"""A certificate authority for a module's tests, a server with a certificate of it, and a client that knows it."""

from __future__ import annotations

import ssl

import pytest
import trustme

from moxlib.smtpclient import verified_context


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = verified_context()
    authority.configure_trust(context)
    return context
