"""Who cancels a delivery when some recipients have the message: what is known is returned, and the caller can tell.

A cancellation that came from elsewhere goes on where the caller's own means see to it: a time-out is over, a task group
ends, and a task that was cancelled is marked so. Where no recipient has the message, it passes as it is. Where the
whole message was sent and not answered yet, nobody knows who has it.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Protocol

import pytest
from tests.integration.direct_world import DOMAIN, Authorities, MailHost, World, delivery, running

from moxlib.queue import (
    Deferred,
    Delivered,
    Failed,
    LMTPTransport,
    Queue,
    QueueConfig,
    ResultKind,
    SMTPTransport,
    Unknown,
    WorkerConfig,
)
from moxlib.testing import ByCommand, FakeClock, SMTPPeer, Stall

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from moxlib.queue import Outcome, Transport
    from moxlib.testing import Answer

ONE, TWO = "127.0.0.2", "127.0.0.3"
MX1, MX2 = "mx1.example.org", "mx2.example.org"
GUARD = 60  # seconds after which a test that hangs fails instead
SECOND_STALLS: Mapping[str, Answer | list[Answer]] = {"MAIL FROM:": ["250 2.1.0 ok", Stall("250 2.1.0 ok")]}
STALLS: Mapping[str, Answer | list[Answer]] = {"MAIL FROM:": Stall("250 2.1.0 ok")}


@dataclass
class Scene:
    """A transport that delivers to the first recipient at once, if to anyone, and hangs at the second one."""

    transport: Transport
    hanging: SMTPPeer

    async def deliver(self) -> Sequence[Outcome]:
        return await self.transport.deliver(delivery(f"a@{DOMAIN}", f"grey@{DOMAIN}"))


@asynccontextmanager
async def relay(*, settled: bool) -> AsyncIterator[Scene]:
    """It takes one recipient in each transaction."""
    answers = ByCommand(SECOND_STALLS if settled else STALLS, extensions=("LIMITS RCPTMAX=1",))
    async with SMTPPeer(answers) as peer:
        transport = SMTPTransport("127.0.0.1", peer.port, security="none")
        async with transport.running():
            yield Scene(transport, peer)
            peer.resume()


@asynccontextmanager
async def direct(*, settled: bool) -> AsyncIterator[Scene]:
    """The first host takes the message for one recipient, and has the other one wait; the second hangs."""
    first = MailHost(address=ONE, answers={"RCPT TO:<grey@" if settled else "MAIL FROM:": "450 4.7.1 later"})
    dns = {"mx": {DOMAIN: [(10, MX1), (20, MX2)]}, "a": {MX1: [ONE], MX2: [TWO]}}
    async with running(World(hosts=[first, MailHost(address=TWO, answers=STALLS)], dns=dns), Authorities()) as there:
        yield Scene(there.transport, there.peers[TWO])
        there.peers[TWO].resume()


@asynccontextmanager
async def one_host(kind: str, answers: Mapping[str, Answer | list[Answer]], *more: str) -> AsyncIterator[Scene]:
    """A relay, by SMTP or LMTP, or the only host of the domain, which offers `more` extensions than usual."""
    extensions = ("PIPELINING", "ENHANCEDSTATUSCODES", *more)
    if kind == "direct":
        dns = {"mx": {DOMAIN: [(10, MX1)]}, "a": {MX1: [ONE]}}
        host = MailHost(address=ONE, answers=answers, extensions=extensions)
        async with running(World(hosts=[host], dns=dns), Authorities()) as there:
            yield Scene(there.transport, there.peers[ONE])
            there.peers[ONE].resume()
        return
    by_command = ByCommand(answers, extensions=extensions, lmtp=kind == "LMTP")
    async with SMTPPeer(by_command) as peer:
        class_ = LMTPTransport if kind == "LMTP" else SMTPTransport
        transport = class_("127.0.0.1", peer.port, security="none")
        async with transport.running():
            yield Scene(transport, peer)
            peer.resume()


class OpensScene(Protocol):
    """Either of the two."""

    def __call__(self, *, settled: bool) -> AbstractAsyncContextManager[Scene]: ...


SCENES = pytest.mark.parametrize("scene", [relay, direct])


def check(outcomes: Sequence[Outcome]) -> None:
    assert [type(outcome) for outcome in outcomes] == [Delivered, Deferred]


@SCENES
async def test_a_task_that_is_cancelled_has_the_outcomes_and_is_marked(scene: OpensScene) -> None:
    async with asyncio.timeout(GUARD), scene(settled=True) as there:
        task = asyncio.create_task(there.deliver())
        await there.hanging.stalled()
        task.cancel()
        check(await task)
        assert task.cancelling() == 1


@SCENES
async def test_a_timeout_is_over_and_the_outcomes_are_there(scene: OpensScene) -> None:
    async with asyncio.timeout(GUARD), scene(settled=True) as there:

        async def within() -> Sequence[Outcome]:
            async with asyncio.timeout(None) as timeout:
                stalled = asyncio.create_task(there.hanging.stalled())
                stalled.add_done_callback(lambda _: timeout.reschedule(0))
                outcomes = await there.deliver()
            assert timeout.expired()
            await asyncio.sleep(0)  # what comes after it is not cancelled
            return outcomes

        task = asyncio.create_task(within())
        check(await task)
        assert task.cancelling() == 0


@SCENES
async def test_a_task_group_ends_as_it_would_and_the_outcomes_are_there(scene: OpensScene) -> None:
    tasks: list[asyncio.Task[Sequence[Outcome]]] = []

    async def in_a_group(there: Scene) -> None:
        async with asyncio.TaskGroup() as group:
            tasks.append(group.create_task(there.deliver()))

    async with asyncio.timeout(GUARD), scene(settled=True) as there:
        whole = asyncio.create_task(in_a_group(there))
        await there.hanging.stalled()
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole
        check(tasks[0].result())


@SCENES
async def test_where_no_recipient_has_the_message_a_cancellation_passes(scene: OpensScene) -> None:
    async with asyncio.timeout(GUARD), scene(settled=False) as there:
        task = asyncio.create_task(there.deliver())
        await there.hanging.stalled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


KINDS = pytest.mark.parametrize("kind", ["relay", "LMTP", "direct"])
END_STALLS: Mapping[str, Answer | list[Answer]] = {".": Stall(), "BDAT LAST": Stall()}


async def cancelled(there: Scene) -> list[type[Outcome]]:
    task = asyncio.create_task(there.deliver())
    await there.hanging.stalled()
    task.cancel()
    outcomes = await task
    assert task.cancelling() == 1
    return [type(outcome) for outcome in outcomes]


@KINDS
@pytest.mark.parametrize("more", [(), ("CHUNKING",)], ids=["DATA", "BDAT"])
async def test_nobody_knows_who_has_a_message_that_was_sent_whole(kind: str, more: tuple[str, ...]) -> None:
    async with asyncio.timeout(GUARD), one_host(kind, END_STALLS, *more) as there:
        assert await cancelled(there) == [Unknown, Unknown]


@KINDS
async def test_who_was_refused_before_is_known(kind: str) -> None:
    answers = {**END_STALLS, "RCPT TO:<grey@": "550 5.1.1 no such user"}
    async with asyncio.timeout(GUARD), one_host(kind, answers) as there:
        assert await cancelled(there) == [Unknown, Failed]


@KINDS
async def test_a_message_that_is_not_sent_whole_is_known_not_to_be_there(kind: str) -> None:
    async with asyncio.timeout(GUARD), one_host(kind, {"DATA": Stall("354 go")}) as there:
        task = asyncio.create_task(there.deliver())
        await there.hanging.stalled()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(("policy", "held"), [("hold", True), ("retry", False)])
async def test_a_queue_takes_what_was_never_answered_for_unknown(tmp_path: Path, policy: str, held: bool) -> None:
    clock, limit = FakeClock(), timedelta(minutes=5)
    config = QueueConfig(on_unknown=policy, worker=WorkerConfig(delivery_timeout=limit))  # type: ignore[arg-type]
    async with asyncio.timeout(GUARD), SMTPPeer(ByCommand(END_STALLS)) as peer:
        transports = {"relay": SMTPTransport("127.0.0.1", peer.port, security="none")}
        async with Queue.open(tmp_path / "mail.db", transports=transports, clock=clock, config=config) as queue:
            [receipt] = await queue.submit(b"Subject: x\r\n\r\nx\r\n", sender="s@x.example", recipients="a@y.example")
            async with queue.worker() as worker:
                await peer.stalled()
                await clock.advance(limit)
                await worker.wait_idle()
            message = await queue.get(receipt.id)
            assert message is not None
            assert ([result.kind for result in message.results], message.hold) == ([ResultKind.UNKNOWN], held)
        peer.resume()
