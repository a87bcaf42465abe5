"""Certificates of real handshakes, verified by TLSA records: the chain as it was sent, on each loop and TLS version."""

from __future__ import annotations

import asyncio
import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
import trustme
import uvloop

from moxlib.dane import DANEError, record_for, usable, verify
from moxlib.dns import TLSA, parse_domain
from moxlib.sasl import Credentials
from moxlib.smtpclient import SMTPConnection, TLSFailed, TLSMode, unverified_context
from moxlib.testing import ByCommand, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = trustme.CA()
BELOW = ROOT.create_child_ca()
LEAF = BELOW.issue_cert("mx.example.org")
LOOPS = [asyncio.run, uvloop.run]
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def server_context(version: ssl.TLSVersion, *, only_leaf: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    if only_leaf:
        with LEAF.private_key_pem.tempfile() as key, LEAF.cert_chain_pems[0].tempfile() as certificate:
            context.load_cert_chain(certificate, key)
    else:
        LEAF.configure_cert(context)
    return context


def checker(*records: TLSA, name: str = "mx.example.org") -> Callable[[tuple[bytes, ...]], str]:
    def check(chain: tuple[bytes, ...]) -> str:
        verify(usable(records), chain, [parse_domain(name)], datetime.now(UTC))
        return "dane"

    return check


async def connect(
    context: ssl.SSLContext, check: Callable[[tuple[bytes, ...]], str], *, immediate: bool = False, **options: Any
) -> list[str]:
    """Connect, and return what the server heard, the record of TLS at its end."""
    answers = ByCommand(extensions=("STARTTLS", "PIPELINING", "AUTH EXTERNAL PLAIN"))
    async with SMTPPeer(answers, tls_context=context, immediate_tls=immediate) as peer:
        connection = await SMTPConnection.connect(
            "127.0.0.1",
            peer.port,
            ehlo_name="client.example",
            tls=TLSMode.IMMEDIATE if immediate else TLSMode.REQUIRED,
            tls_context=unverified_context(),
            server_hostname="mx.example.org",
            check_certificates=check,
            **options,
        )
        info = connection.tls_info
        assert info is not None
        await connection.quit()
        return [*peer.lines, f"{info.by} {info.verified}"]


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("immediate", [False, True], ids=["STARTTLS", "at once"])
@pytest.mark.parametrize("what", ["leaf", "authority"])
def test_what_a_record_verifies_is_verified(
    loop: Callable[[Any], list[str]], version: ssl.TLSVersion, immediate: bool, what: str
) -> None:
    record = (
        record_for(LEAF.cert_chain_pems[0].bytes()) if what == "leaf" else record_for(BELOW.cert_pem.bytes(), usage=2)
    )
    heard = loop(connect(server_context(version), checker(record), immediate=immediate))
    assert heard[-1] == "dane True"


@pytest.mark.parametrize("loop", LOOPS, ids=["asyncio", "uvloop"])
@pytest.mark.parametrize("version", VERSIONS, ids=["TLS 1.2", "TLS 1.3"])
def test_the_chain_is_what_the_server_sent(loop: Callable[[Any], list[str]], version: ssl.TLSVersion) -> None:
    seen: list[tuple[bytes, ...]] = []

    def look(chain: tuple[bytes, ...]) -> str:
        seen.append(chain)
        return "seen"

    for only_leaf in (True, False):
        loop(connect(server_context(version, only_leaf=only_leaf), look))
    der = [ssl.PEM_cert_to_DER_cert(pem.bytes().decode()) for pem in LEAF.cert_chain_pems]
    assert seen == [(der[0],), tuple(der)]
    assert len(der) > 1


@pytest.mark.parametrize("immediate", [False, True], ids=["STARTTLS", "at once"])
async def test_what_no_record_verifies_ends_the_connection_before_anything_is_said(immediate: bool) -> None:
    other = record_for(trustme.CA().cert_pem.bytes())
    answers = ByCommand(extensions=("STARTTLS",))
    context = server_context(ssl.TLSVersion.TLSv1_3)
    async with SMTPPeer(answers, tls_context=context, immediate_tls=immediate) as peer:
        with pytest.raises(TLSFailed, match="no TLSA record matches") as refused:
            await SMTPConnection.connect(
                "127.0.0.1",
                peer.port,
                ehlo_name="client.example",
                tls=TLSMode.IMMEDIATE if immediate else TLSMode.REQUIRED,
                tls_context=unverified_context(),
                check_certificates=checker(other),
            )
        assert refused.value.certificate
        assert isinstance(refused.value.__cause__, DANEError)
        await peer.all_ended()
        assert peer.lines == ([] if immediate else ["EHLO client.example", "STARTTLS"])


async def test_what_is_verified_by_dane_may_see_a_password() -> None:
    record = record_for(LEAF.cert_chain_pems[0].bytes())
    answers = ByCommand({"AUTH PLAIN": "235 2.7.0 welcome"}, extensions=("STARTTLS", "AUTH PLAIN"))
    async with SMTPPeer(answers, tls_context=server_context(ssl.TLSVersion.TLSv1_3)) as peer:
        connection = await SMTPConnection.connect(
            "127.0.0.1",
            peer.port,
            ehlo_name="client.example",
            tls=TLSMode.REQUIRED,
            tls_context=unverified_context(),
            check_certificates=checker(record),
            credentials=Credentials(username="u", password="p", mechanisms=("PLAIN",)),
        )
        await connection.close()
    assert any(line.startswith("AUTH PLAIN") for line in peer.lines)


async def test_a_client_certificate_logs_in_by_external() -> None:
    context = server_context(ssl.TLSVersion.TLSv1_3)
    context.verify_mode = ssl.CERT_REQUIRED
    ROOT.configure_trust(context)
    client = ssl.create_default_context()
    ROOT.configure_trust(client)
    BELOW.issue_cert("client.example").configure_cert(client)
    answers = ByCommand({"AUTH EXTERNAL": "235 2.7.0 welcome"}, extensions=("STARTTLS", "AUTH PLAIN EXTERNAL"))
    async with SMTPPeer(answers, tls_context=context) as peer:
        connection = await SMTPConnection.connect(
            "127.0.0.1",
            peer.port,
            ehlo_name="client.example",
            tls=TLSMode.REQUIRED,
            tls_context=client,
            server_hostname="mx.example.org",
            credentials=Credentials(username="", mechanisms=("EXTERNAL",)),
        )
        await connection.quit()
    assert "AUTH EXTERNAL =" in peer.lines  # RFC 4954 4: an empty initial response


async def test_without_a_client_certificate_that_server_gives_no_session() -> None:
    context = server_context(ssl.TLSVersion.TLSv1_2)
    context.verify_mode = ssl.CERT_REQUIRED
    ROOT.configure_trust(context)
    async with SMTPPeer(ByCommand(extensions=("STARTTLS",)), tls_context=context) as peer:
        with pytest.raises(TLSFailed):
            await SMTPConnection.connect(
                "127.0.0.1",
                peer.port,
                ehlo_name="client.example",
                tls=TLSMode.REQUIRED,
                tls_context=unverified_context(),
            )
