"""Postfix, Exim and OpenSMTPD accept our messages, cannot deliver them, and say so by DSNs, which are matched.

What they relay, and their DSNs, come to one server of ours: it refuses some addresses, and takes feedback for others.
"""

import asyncio
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.mtas.opensmtpd import OpenSMTPD
from tests.mtas.postfix import Postfix
from tests.mtas.running import ALL, HOSTNAME, named, running
from tests.mtas.server import MailServer, Settings

from moxlib.cli.demo.load import shipped
from moxlib.cli.demo.run import BounceServer, run
from moxlib.cli.demo.show import PlainDisplay
from moxlib.contrib.aiosmtpd import IncomingHandler
from moxlib.localserve import LoopbackServer
from moxlib.queue import (
    AccountConfig,
    DSNConfig,
    DSNRequest,
    Event,
    EventType,
    FeedbackSource,
    FromIDConfig,
    NotFeedback,
    Notify,
    Queue,
    QueueConfig,
    RecordedFeedback,
    SMTPTransport,
    Submission,
)
from moxlib.queue.suppression import Origin

GUARD = 60.0  # seconds; only ends what hangs
MAIL = (
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nFrom: news@here.example\r\nSubject: hello\r\n"
    b"Message-ID: <17@here.example>\r\n\r\nhello\r\n"
)
FROMIDS = FromIDConfig.of([], {"here.example": ["+"]})


class NextHop(IncomingHandler):
    """Takes feedback for here.example; behind hop.example is nobody, or somebody slow."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("slow@hop.example"):
            return "451 4.2.1 come again later"
        if address.endswith("@hop.example"):
            return "550 5.1.1 nobody of this name"
        return await super().handle_RCPT(server, session, envelope, address, options)


class Noting:
    """Hands in what comes, and notes by what it was matched."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.by: list[str] = []

    async def incoming(self, *args: Any, **options: Any) -> RecordedFeedback | NotFeedback:
        outcome = await self._queue.incoming(*args, **options)
        self.by.append(outcome.by if isinstance(outcome, RecordedFeedback) else "")
        return outcome


@dataclass
class World:
    queue: Queue
    incoming: Noting
    after: int = 0

    async def submit(self, recipient: str, **options: Any) -> Submission:
        [receipt] = await self.queue.submit(MAIL, sender="news@here.example", recipients=recipient, **options)
        return receipt

    async def event(self, receipt: Submission, type_: EventType) -> Event:
        """Return the message's event that a DSN caused, once it is there."""
        async with asyncio.timeout(GUARD):
            async for event in self.queue.events(after=self.after):
                if (event.message, event.type, event.dsn) == (receipt.id, type_, True):
                    return event
        raise AssertionError("it never ends by itself")


@asynccontextmanager
async def world(kind: type[MailServer], path: Path) -> AsyncIterator[World]:
    config = QueueConfig(fromids=FROMIDS, dsn=DSNConfig.off(), accounts={"plain": AccountConfig()}, hostname=HOSTNAME)
    transports: dict[str, SMTPTransport] = {}
    async with Queue.open(path / "mail.db", transports=transports, config=config) as queue:
        noting: Any = Noting(queue)
        async with LoopbackServer(handler=NextHop(noting), hostname="hop.example") as hop:
            # The server is started in a thread: it greets, and may send, before it returns.
            servers = running(kind, Settings(hostname=HOSTNAME, next_hop=hop.port))
            server = await asyncio.to_thread(servers.__enter__)
            try:
                relay = SMTPTransport("127.0.0.1", server.port, security="none")
                delivering = Queue.open(path / "mail.db", transports={"relay": relay}, config=config)
                async with delivering as sender, sender.worker():
                    yield World(queue=sender, incoming=noting)
            finally:
                await asyncio.to_thread(servers.__exit__, None, None, None)


@pytest.mark.parametrize("kind", ALL, ids=named)
async def test_a_bounce_is_matched_by_each_of_its_identifiers(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path) as w:
        by_fromid = await w.submit("gone@hop.example", fromid=True)
        by_envid = await w.submit("gone2@hop.example", account="plain", dsn=DSNRequest(envid="order+17"))
        for receipt in (by_fromid, by_envid):
            event = await w.event(receipt, EventType.FAILED)
            assert (event.code, event.enhanced, event.suppressing) == (550, "5.1.1", True)
            retired = await w.queue.get_retired(receipt.id)
            assert retired is not None
            assert retired.success
            [told] = retired.feedback
            # That of OpenSMTPD is in a multipart/mixed, and so no DSN to the letter.
            reporter, source = ("", FeedbackSource.BOUNCE) if kind is OpenSMTPD else (HOSTNAME, FeedbackSource.DSN)
            assert (told.reporter, told.source, told.recipient) == (reporter, source, receipt.recipient)
        # Postfix returns the envelope identifier. Exim does not, nor does OpenSMTPD: the returned header tells.
        assert sorted(w.incoming.by) == sorted(["fromid", "envid" if kind is Postfix else "message-id"])
        suppression = await w.queue.suppression("gone2@hop.example", account="plain")
        assert suppression is not None
        assert suppression.evidence is not None
        assert suppression.evidence.origin is Origin.DSN
        assert "nobody of this name" in suppression.evidence.text


@pytest.mark.parametrize("kind", [k for k in ALL if k is not OpenSMTPD], ids=named)
async def test_a_delay_is_told_and_nobody_is_suppressed(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path) as w:
        receipt = await w.submit("slow@hop.example", fromid=True)
        event = await w.event(receipt, EventType.DELAYED)
        assert event.enhanced.startswith("4.")
        assert not event.suppressing


@pytest.mark.parametrize("kind", [k for k in ALL if k is not OpenSMTPD], ids=named)
async def test_a_success_is_told_where_that_is_asked_for(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path) as w:
        receipt = await w.submit("ann@mx.example", fromid=True, dsn=DSNRequest(notify=(Notify.SUCCESS,)))
        event = await w.event(receipt, EventType.DELIVERED)
        assert event.code == 0


async def test_the_demo_gets_a_bounce_of_a_real_server(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        back = free.getsockname()[1]
    out = io.StringIO()
    with running(Postfix, Settings(hostname=HOSTNAME, next_hop=back)) as server:
        bounces = BounceServer(host="127.0.0.1", port=server.port, returns_to=back)
        story = await run(shipped()[:1], recipients=4, path=tmp_path / "q.db", show=PlainDisplay(out), bounces=bounces)
    assert story.problems() == ()
    assert f"Then {HOSTNAME} sends a bounce, which is matched: 550 5.1.1" in out.getvalue()
