"""A queue's webhooks over HTTP: receivers that verify, fail, redirect, stall, are slow, die, or are not allowed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.integration.hook_receiver import OK, Connection, Handler, Receiver, Request, answer, receiving, saying

from moxlib.queue import MessageFilter, Queue, QueueConfig, RetrySchedule, WorkerConfig
from moxlib.queue.hooks import Hook, HookCaller, HookConfig, HookOutcome
from moxlib.testing import FakeClock, MockResolver, run_until_empty, run_until_idle
from moxlib.webhook import Outgoing, Secret, receive

MAIL = b"Subject: hello\r\n\r\nhello\r\n"
SECRETS = (Secret(bytes(range(32))), Secret(bytes(range(1, 33))))
SCHEDULE = RetrySchedule.parse("1m, 2m")
GUARD = 30


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@asynccontextmanager
async def opened(path: Path, clock: FakeClock, receiver: Receiver, **options: Any) -> AsyncIterator[Queue]:
    hook = HookConfig(**{"url": receiver.url(), "allow_private": True, "schedule": SCHEDULE, **options})
    settings = WorkerConfig(settle_gather=timedelta(0))
    config = QueueConfig(webhook=hook, worker=settings)
    async with asyncio.timeout(GUARD), Queue.open(path / "mail.db", config=config, clock=clock) as queue:
        yield queue


async def cause(queue: Queue, count: int = 1) -> None:
    """Cause so many events, each of a message of its own."""
    recipients = [f"r{number}@there.example" for number in range(count)]
    await queue.submit(MAIL, sender="me@here.example", recipients=recipients, extra={"order": "17"})
    assert await queue.drop(MessageFilter()) == count


async def waiting(queue: Queue) -> Hook:
    [hook] = (await queue.list_webhooks()).items
    return hook


async def test_a_receiver_verifies_and_reads_what_the_queue_sends(tmp_path: Path, clock: FakeClock) -> None:
    async with receiving(saying()) as receiver, opened(tmp_path, clock, receiver, secrets=SECRETS) as queue:
        await cause(queue)
        await run_until_idle(queue)
        [request] = receiver.requests
        for secret in SECRETS:  # while one replaces the other, either will do
            received = receive(request.headers, request.body, secrets=[secret], now=clock.now())
            assert (received.id, received.attempt) == (1, 1)
            assert isinstance(received.payload, Outgoing)
            assert (received.payload.event, received.payload.extra) == ("canceled", {"order": "17"})
        assert await queue.count_webhook_history() == 1


async def test_several_go_at_once_over_connections_that_are_kept(tmp_path: Path, clock: FakeClock) -> None:
    async with receiving(saying()) as receiver, opened(tmp_path, clock, receiver) as queue:
        await cause(queue, 100)
        await run_until_idle(queue)
        assert sorted(int(request.headers["x-mox-webhook-id"]) for request in receiver.requests) == list(range(1, 101))
        assert receiver.connections == 4


FAILING: dict[str, tuple[Handler, str]] = {
    "fails": (saying(answer("500 Oops", b"no")), "HTTP status 500"),
    "redirects": (saying(answer("302 Found", b"", "Location: http://127.0.0.1:1/")), "redirects are not followed"),
    "talks nonsense": (saying(b"\x00\x01\r\n\r\n", close=True), "no HTTP"),
    "dies": (saying(b"", close=True), "closed before there was an answer"),
}


@pytest.mark.parametrize("how", FAILING)
async def test_a_receiver_that_does_not_take_it_is_called_by_the_schedule(
    tmp_path: Path, clock: FakeClock, how: str
) -> None:
    handler, error = FAILING[how]
    async with receiving(handler) as receiver, opened(tmp_path, clock, receiver) as queue:
        await cause(queue)
        await run_until_idle(queue)
        assert error in (await waiting(queue)).results[0].error
        await run_until_empty(queue, clock)
        assert [request.headers["x-mox-webhook-id"] for request in receiver.requests] == ["1", "1", "1"]
        assert [request.headers["x-mox-webhook-attempt"] for request in receiver.requests] == ["1", "2", "3"]
        assert len({request.body for request in receiver.requests}) == 1
        [done] = (await queue.list_webhook_history()).items
        assert done.outcome is HookOutcome.FAILED


async def test_a_receiver_that_stalls_is_given_up_after_its_time(tmp_path: Path, clock: FakeClock) -> None:
    async def stall(_receiver: Receiver, _request: Request, _connection: Connection) -> None:
        await asyncio.Event().wait()

    async with (
        receiving(stall) as receiver,
        opened(tmp_path, clock, receiver, timeout=timedelta(seconds=9)) as queue,
    ):
        await cause(queue)
        async with queue.worker() as worker:
            await receiver.wait(1)
            await clock.advance(9)
            await worker.wait_idle()
        assert (await waiting(queue)).results[0].error == "no answer within 9 seconds"


async def test_a_receiver_that_died_has_it_after_it_is_back(tmp_path: Path, clock: FakeClock) -> None:
    async with receiving(saying()) as receiver, opened(tmp_path, clock, receiver) as queue:
        await cause(queue)
        async with receiving(saying(b"", close=True)) as dead:
            pass
        moved = HookConfig(url=dead.url(), allow_private=True, schedule=SCHEDULE)
        async with Queue.open(tmp_path / "mail.db", config=QueueConfig(webhook=moved), clock=clock) as other:
            await run_until_idle(other)
            assert "not connected" in (await waiting(other)).results[0].error
        await run_until_empty(queue, clock)
        [request] = receiver.requests
        assert (request.headers["x-mox-webhook-id"], request.headers["x-mox-webhook-attempt"]) == ("1", "2")


async def test_a_slow_answer_holds_up_no_other_endpoint(tmp_path: Path, clock: FakeClock) -> None:
    gate = asyncio.Event()

    async def slow(_receiver: Receiver, request: Request, connection: Connection) -> None:
        if request.headers["x-mox-webhook-id"] == "1":
            await gate.wait()
        await connection.send(OK)

    async with receiving(slow) as receiver, opened(tmp_path, clock, receiver, max_at_once=2) as queue:
        await cause(queue, 5)
        async with queue.worker() as worker:
            await receiver.wait(5)
            gate.set()
            await worker.wait_idle()
        assert await queue.count_webhook_history() == 5


async def test_a_private_address_is_not_called(tmp_path: Path, clock: FakeClock) -> None:
    hook = HookConfig(url="http://receiver.example/", schedule=SCHEDULE)
    resolver = MockResolver(a={"receiver.example": ["127.0.0.1"]})
    caller = HookCaller(clock=clock, resolver=resolver)
    config = QueueConfig(webhook=hook)
    async with Queue.open(tmp_path / "other.db", config=config, clock=clock, webhook_caller=caller) as queue:
        await cause(queue)
        await run_until_idle(queue)
        assert "127.0.0.1" in (await waiting(queue)).results[0].error
