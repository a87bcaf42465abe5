"""EXTERNAL: logging in by the client certificate of a real handshake; and what goes wrong with it."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from moxlib.sasl import DEFAULT_MECHANISMS, Credentials
from moxlib.smtpclient import (
    Accepted,
    AuthenticationFailed,
    ReplyError,
    SMTPConnection,
    SMTPError,
    TLSFailed,
    TLSMode,
    unverified_context,
    verified_context,
)
from moxlib.testing import ByCommand, SMTPPeer

if TYPE_CHECKING:
    from moxlib.testing.smtp_peer import Answer

CERTIFIED = Credentials(username="", mechanisms=("EXTERNAL",))
WELCOME: dict[str, Answer | list[Answer]] = {"AUTH EXTERNAL": "235 2.7.0 welcome"}
EXTENSIONS = ("STARTTLS", "PIPELINING", "AUTH PLAIN SCRAM-SHA-256 EXTERNAL")
VERSIONS = pytest.mark.parametrize(
    "version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"]
)
MODES = pytest.mark.parametrize("immediate", [False, True], ids=["STARTTLS", "at once"])


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def demanding(authority: trustme.CA, version: ssl.TLSVersion) -> ssl.SSLContext:
    """The context of a server that talks to clients with a certificate of the authority only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    authority.issue_cert("mx.example").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def with_certificate(authority: trustme.CA, *, by: trustme.CA | None = None) -> ssl.SSLContext:
    context = verified_context()
    authority.configure_trust(context)
    (by or authority).issue_cert("client.example").configure_cert(context)
    return context


async def connect(peer: SMTPPeer, context: ssl.SSLContext, *, immediate: bool = False, **more: Any) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1",
        peer.port,
        ehlo_name="client.example",
        tls=TLSMode.IMMEDIATE if immediate else TLSMode.REQUIRED,
        tls_context=context,
        server_hostname="mx.example",
        **{"credentials": CERTIFIED, **more},
    )


@VERSIONS
@MODES
@pytest.mark.parametrize(("username", "line"), [("", "AUTH EXTERNAL ="), ("ann", "AUTH EXTERNAL YW5u")])
async def test_a_certificate_logs_in(
    authority: trustme.CA, version: ssl.TLSVersion, immediate: bool, username: str, line: str
) -> None:
    server = demanding(authority, version)
    async with SMTPPeer(ByCommand(WELCOME, extensions=EXTENSIONS), tls_context=server, immediate_tls=immediate) as peer:
        login = Credentials(username=username, mechanisms=("EXTERNAL",))
        context = with_certificate(authority)
        async with await connect(peer, context, immediate=immediate, credentials=login) as connection:
            assert connection.tls_info is not None
            assert connection.tls_info.by == "pkix"
            result = await connection.deliver("a@client.example", ["b@mx.example"], b"Subject: hi\r\n\r\n")
        assert [type(one) for one in result.recipients] == [Accepted]
    assert [said for said in peer.lines if said.startswith("AUTH")] == [line]


@pytest.mark.parametrize("certificate", ["none", "a stranger's"])
async def test_a_server_that_demands_another_certificate_tls_1_2(authority: trustme.CA, certificate: str) -> None:
    server = demanding(authority, ssl.TLSVersion.TLSv1_2)
    async with SMTPPeer(ByCommand(WELCOME, extensions=EXTENSIONS), tls_context=server) as peer:
        context = with_certificate(authority, by=None if certificate == "none" else trustme.CA())
        if certificate == "none":
            context = verified_context()
            authority.configure_trust(context)
        with pytest.raises(TLSFailed) as caught:
            await connect(peer, context)
        assert not caught.value.certificate  # the server's is good
        assert isinstance(caught.value.__cause__, OSError)
        await peer.all_ended()
    assert not any(line.startswith("AUTH") for line in peer.lines)


@MODES
async def test_a_server_that_demands_another_certificate_tls_1_3(authority: trustme.CA, immediate: bool) -> None:
    """There it says so when the handshake is over on our side, in answer to what comes next (RFC 8446 4.4.2.4)."""
    server = demanding(authority, ssl.TLSVersion.TLSv1_3)
    async with SMTPPeer(ByCommand(WELCOME, extensions=EXTENSIONS), tls_context=server, immediate_tls=immediate) as peer:
        with pytest.raises(SMTPError) as caught:
            await connect(peer, with_certificate(authority, by=trustme.CA()), immediate=immediate)
        assert not caught.value.permanent
        await peer.all_ended()
    assert not any(line.startswith("AUTH") for line in peer.lines)


async def test_a_server_that_knows_the_certificate_but_not_who_it_is(authority: trustme.CA) -> None:
    answers = ByCommand({"AUTH EXTERNAL": "535 5.7.8 no such user"}, extensions=EXTENSIONS)
    async with SMTPPeer(answers, tls_context=demanding(authority, ssl.TLSVersion.TLSv1_3)) as peer:
        with pytest.raises(ReplyError) as caught:
            await connect(peer, with_certificate(authority))
    assert (caught.value.reply.code, caught.value.permanent) == (535, True)


async def test_a_server_that_asks_for_more(authority: trustme.CA) -> None:
    answers = ByCommand({"AUTH EXTERNAL": ["334 ", "334 "], "*": "501 aborted"}, extensions=EXTENSIONS)
    async with SMTPPeer(answers, tls_context=demanding(authority, ssl.TLSVersion.TLSv1_3)) as peer:
        with pytest.raises(AuthenticationFailed):
            await connect(peer, with_certificate(authority))


async def test_a_server_that_does_not_offer_it(authority: trustme.CA) -> None:
    """Without it, a password is shown only as one has said."""
    answers = ByCommand(extensions=("STARTTLS", "AUTH PLAIN LOGIN"))
    async with SMTPPeer(answers, tls_context=demanding(authority, ssl.TLSVersion.TLSv1_3)) as peer:
        with pytest.raises(AuthenticationFailed) as caught:
            await connect(peer, with_certificate(authority))
        assert caught.value.permanent
        unverified = unverified_context()
        authority.issue_cert("client.example").configure_cert(unverified)
        login = Credentials(username="ann", password="sesame", mechanisms=("EXTERNAL", "PLAIN"))
        with pytest.raises(AuthenticationFailed, match="verified TLS"):
            await connect(peer, unverified, credentials=login)
    assert not any(line.startswith("AUTH") for line in peer.lines)


async def test_it_goes_before_what_needs_a_password(authority: trustme.CA) -> None:
    login = Credentials(username="ann", password="sesame", mechanisms=("PLAIN", *DEFAULT_MECHANISMS, "EXTERNAL"))
    answers = ByCommand(WELCOME, extensions=EXTENSIONS)
    async with SMTPPeer(answers, tls_context=demanding(authority, ssl.TLSVersion.TLSv1_3)) as peer:
        await (await connect(peer, with_certificate(authority), credentials=login)).quit()
    assert [line for line in peer.lines if line.startswith("AUTH")] == ["AUTH EXTERNAL YW5u"]
