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
from tests.mtas.exim import Exim
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
    """Takes feedback for here.example; behind hop.example is somebody far, somebody slow, and nobody else."""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address == "slow@hop.example":
            return "451 4.2.1 come again later"
        if address.endswith("@hop.example") and not address.startswith("far"):
            return "550 5.1.1 nobody of this name"
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if all(address.endswith("@hop.example") for address in envelope.rcpt_tos):
            return "250 2.0.0 it goes far"
        return await super().handle_DATA(server, session, envelope)


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
        [receipt] = await self.submit_all(recipient, **options)
        return receipt

    async def submit_all(self, *recipients: str, **options: Any) -> tuple[Submission, ...]:
        return await self.queue.submit(MAIL, sender="news@here.example", recipients=recipients, **options)

    async def event(self, receipt: Submission, type_: EventType) -> Event:
        """Return the message's event that a DSN caused, once it is there."""
        async with asyncio.timeout(GUARD):
            async for event in self.queue.events(after=self.after):
                if (event.message, event.type, event.dsn) == (receipt.id, type_, True):
                    return event
        raise AssertionError("it never ends by itself")


@asynccontextmanager
async def world(kind: type[MailServer], path: Path, **settings: Any) -> AsyncIterator[World]:
    config = QueueConfig(fromids=FROMIDS, dsn=DSNConfig.off(), accounts={"plain": AccountConfig()}, hostname=HOSTNAME)
    transports: dict[str, SMTPTransport] = {}
    async with Queue.open(path / "mail.db", transports=transports, config=config) as queue:
        noting: Any = Noting(queue)
        async with LoopbackServer(handler=NextHop(noting), hostname="hop.example") as hop:
            # The server is started in a thread: it greets, and may send, before it returns.
            servers = running(kind, Settings(hostname=HOSTNAME, next_hop=hop.port, **settings))
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
        # Postfix returns the envelope identifier; Exim too, in xtext, as it came; OpenSMTPD does not. Then the returned
        # header tells.
        assert sorted(w.incoming.by) == sorted(["fromid", "message-id" if kind is OpenSMTPD else "envid"])
        suppression = await w.queue.suppression("gone2@hop.example", account="plain")
        assert suppression is not None
        assert suppression.evidence is not None
        assert suppression.evidence.origin is Origin.DSN
        assert "nobody of this name" in suppression.evidence.text


@pytest.mark.parametrize("kind", [Postfix, Exim], ids=named)
async def test_an_envelope_identifier_comes_back(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path) as w:
        receipt = await w.submit("gone@hop.example")  # with one that the queue makes
        assert (await w.event(receipt, EventType.FAILED)).suppressing
        assert w.incoming.by == ["envid"]


@pytest.mark.parametrize("kind", [Postfix, Exim], ids=named)
async def test_without_dsn_the_returned_header_tells(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path, hide_dsn=True) as w:
        receipt = await w.submit("gone@hop.example")
        event = await w.event(receipt, EventType.FAILED)
        assert (event.code, event.enhanced, event.suppressing) == (550, "5.1.1", True)
        assert w.incoming.by == ["message-id"]


@pytest.mark.parametrize("kind", ALL, ids=named)
async def test_of_several_recipients_each_gets_its_own(kind: type[MailServer], tmp_path: Path) -> None:
    wanted = DSNRequest(notify=(Notify.SUCCESS, Notify.FAILURE))
    async with world(kind, tmp_path) as w:
        gone, ann, lost = await w.submit_all("gone@hop.example", "ann@mx.example", "lost@hop.example", dsn=wanted)
        for receipt, type_ in ((gone, EventType.FAILED), (lost, EventType.FAILED), (ann, EventType.DELIVERED)):
            event = await w.event(receipt, type_)
            assert (event.dsn, event.suppressing) == (True, type_ is EventType.FAILED)
            retired = await w.queue.get_retired(receipt.id)
            assert retired is not None
            assert [told.event for told in retired.feedback] == [type_], "it is told once, and nothing else"


@pytest.mark.parametrize("kind", ALL, ids=named)
async def test_a_delay_is_told_and_nobody_is_suppressed(kind: type[MailServer], tmp_path: Path) -> None:
    async with world(kind, tmp_path) as w:
        receipt = await w.submit("slow@hop.example", fromid=True)
        event = await w.event(receipt, EventType.DELAYED)
        assert (event.code, event.enhanced, event.suppressing) == (451, "4.2.1", False)


@pytest.mark.parametrize("kind", ALL, ids=named)
async def test_a_success_is_told_where_that_is_asked_for(kind: type[MailServer], tmp_path: Path) -> None:
    wanted = DSNRequest(notify=(Notify.SUCCESS,))
    async with world(kind, tmp_path) as w:
        here = await w.submit("ann@mx.example", dsn=wanted)
        far = await w.submit("far@hop.example", dsn=wanted)
        assert (await w.event(here, EventType.DELIVERED)).code == 0
        # The next server does not offer DSN. Of that, Exim says "delivered", and in its text that it was relayed.
        event = await w.event(far, EventType.DELIVERED if kind is Exim else EventType.RELAYED)
        assert not event.suppressing
        for receipt in (here, far):
            retired = await w.queue.get_retired(receipt.id)
            assert retired is not None
            assert len(retired.feedback) == 1


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
