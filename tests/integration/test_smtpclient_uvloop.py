"""The connection on uvloop, whose transports are asyncio's by behaviour and not by class."""

import asyncio
import ssl
from collections.abc import AsyncIterator

import pytest
import trustme

from moxlib.smtpclient import Accepted, SMTPConnection, TLSMode
from moxlib.testing.smtp_peer import ByCommand, SMTPPeer

uvloop = pytest.importorskip("uvloop", reason="the extra `fast` is not installed")

MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n" + b"a line of text\r\n" * 20_000


async def chunks() -> AsyncIterator[bytes]:
    for start in range(0, len(MESSAGE), 10_000):
        yield MESSAGE[start : start + 10_000]


async def conversation(context: ssl.SSLContext, tls: TLSMode) -> list[bytes]:
    answers = ByCommand(extensions=("STARTTLS", "PIPELINING"))
    immediate = tls is TLSMode.IMMEDIATE
    async with SMTPPeer(answers, tls_context=context, immediate_tls=immediate) as peer:
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        async with await SMTPConnection.connect(
            "127.0.0.1", peer.port, ehlo_name="client.example", tls=tls, tls_context=unverified
        ) as connection:
            assert (connection.tls_info is None) is (tls is TLSMode.NONE)
            results = [
                *await asyncio.gather(*(connection.deliver("a@x", ["b@x"], MESSAGE[:1000]) for _ in range(5))),
                await connection.deliver("a@x", ["b@x"], chunks(), size=len(MESSAGE)),
            ]
            assert all(isinstance(result.recipients[0], Accepted) for result in results)
        await peer.all_ended()
    return peer.messages


@pytest.mark.parametrize("tls", [TLSMode.NONE, TLSMode.REQUIRED, TLSMode.IMMEDIATE])
def test_on_uvloop(tls: TLSMode) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    messages = uvloop.run(conversation(context, tls))
    assert [len(message) for message in messages] == [1002] * 5 + [len(MESSAGE)]
