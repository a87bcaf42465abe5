"""Whoever asked to hear of a delivery does: from the server if it offers DSN, else from the queue."""

import pytest

from moxlib.dsn import parse_dsn
from moxlib.queue import (
    DSNConfig,
    DSNRequest,
    Filed,
    LMTPTransport,
    MailboxTransport,
    Notify,
    Queue,
    QueueConfig,
    SMTPTransport,
    Transport,
)
from moxlib.testing import ByCommand, FakeClock, MemoryStorage, SMTPPeer, run_until_empty

MAIL = b"From: ann@here.example\r\nTo: bob@there.example\r\nSubject: hello\r\n\r\nhello\r\n"
ASKED = DSNRequest(notify=(Notify.SUCCESS,))


async def actions(peer: SMTPPeer, transport: Transport) -> list[str]:
    """Return what the sender is told of a message that is delivered so."""
    filed: list[Filed] = []

    async def file(note: Filed) -> None:
        filed.append(note)

    transports: dict[str, Transport] = {"out": transport, "mailbox": MailboxTransport(file)}
    config = QueueConfig(default_transport="out", dsn=DSNConfig.mailbox())
    clock = FakeClock()
    async with Queue(MemoryStorage(), transports=transports, config=config, clock=clock) as queue:
        await queue.submit(MAIL, dsn=ASKED)
        await run_until_empty(queue, clock)
    assert len(peer.messages) == 1
    return [parse_dsn(note.content).recipients[0].action.value for note in filed]


@pytest.mark.parametrize(("extensions", "told"), [((), ["relayed"]), (("DSN",), [])])
async def test_a_relay_tells_if_it_can(extensions: tuple[str, ...], told: list[str]) -> None:
    async with SMTPPeer(ByCommand({}, extensions=("ENHANCEDSTATUSCODES", *extensions))) as peer:
        assert await actions(peer, SMTPTransport("127.0.0.1", peer.port, security="none")) == told

    assert any("NOTIFY=SUCCESS" in line for line in peer.lines) is bool(extensions)


@pytest.mark.parametrize(("extensions", "told"), [((), ["delivered"]), (("DSN",), [])])
async def test_who_takes_it_over_lmtp_has_delivered_it(extensions: tuple[str, ...], told: list[str]) -> None:
    async with SMTPPeer(ByCommand({}, extensions=("ENHANCEDSTATUSCODES", *extensions), lmtp=True)) as peer:
        assert await actions(peer, LMTPTransport("127.0.0.1", peer.port, security="none")) == told
