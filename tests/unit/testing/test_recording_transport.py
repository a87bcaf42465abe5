"""`RecordingTransport`: what it keeps, and that each attempt ends as told."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from moxlib.queue import Deferred, Delivered, Delivery, Failed, Message, Queue, Transport, Unknown
from moxlib.testing import FakeClock, Hang, MemoryStorage, RecordingTransport, run_until_empty

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MAIL = b"From: me@here.example\r\nSubject: hello\r\n\r\nhello\r\n"


@dataclass
class Pieces:
    """Content that is not in memory: it comes in pieces."""

    pieces: tuple[bytes, ...]
    data: bytes | None = None

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))

    async def chunks(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            yield piece


def message_to(address: str, attempts: int = 1) -> Message:
    return Message(
        id=1,
        base_id=1,
        account="",
        sender="me@here.example",
        sender_domain="here.example",
        recipient=address,
        recipient_domain="there.example",
        destination="there.example",
        queued=NOON,
        hold=False,
        attempts=attempts,
        max_attempts=8,
        next_attempt=NOON,
        last_attempt=NOON,
        in_flight=True,
        results=(),
        size=4,
    )


def delivery_to(*addresses: str, attempts: int = 1) -> Delivery:
    messages = tuple(message_to(address, attempts) for address in addresses)
    return Delivery(messages=messages, content=Pieces((b"ab", b"", b"cd")), transport="test")


def test_it_is_a_transport() -> None:
    assert isinstance(RecordingTransport(), Transport)


async def test_it_keeps_the_whole_content_and_delivers_unless_told() -> None:
    transport = RecordingTransport()
    delivery = delivery_to("a@there.example", "b@there.example")
    assert await transport.deliver(delivery) == (Delivered(), Delivered())
    [recorded] = transport.recorded
    assert (recorded.delivery, recorded.data, recorded.outcomes) == (delivery, b"abcd", (Delivered(), Delivered()))
    assert transport.delivered("A@There.Example") == [b"abcd"]
    assert transport.delivered("c@there.example") == []


async def test_answers_are_by_recipient_then_by_domain_then_for_all() -> None:
    failed, deferred, unknown = Failed(text="f"), Deferred(text="d"), Unknown(text="u")
    transport = RecordingTransport({"A@there.example": failed, "@There.example": deferred}, otherwise=unknown)
    delivery = delivery_to("a@THERE.example", "b@there.example", "c@else.example", "d@sub.there.example")
    assert await transport.deliver(delivery) == (failed, deferred, unknown, unknown)
    assert transport.delivered("a@there.example") == []
    assert len(transport.attempts("b@there.example")) == 1


async def test_answers_in_turn_are_by_the_count_of_attempts() -> None:
    first, second, last = Deferred(text="1"), Deferred(text="2"), Delivered()
    transport = RecordingTransport({"a@there.example": [first, second, last]})
    answered = [(await transport.deliver(delivery_to("a@there.example", attempts=n)))[0] for n in (1, 2, 2, 3, 9)]
    assert answered == [first, second, second, last, last]
    assert transport.delivered("a@there.example") == [b"abcd", b"abcd"]


@pytest.mark.parametrize("error", [OSError("broken"), OSError])
async def test_it_raises_what_it_is_told_and_records_it(error: Exception | type[Exception]) -> None:
    transport = RecordingTransport({"b@there.example": error})
    with pytest.raises(OSError) as caught:
        await transport.deliver(delivery_to("a@there.example", "b@there.example"))
    assert caught.value is error or type(caught.value) is error
    [recorded] = transport.recorded
    assert recorded.outcomes is None
    assert transport.delivered("a@there.example") == []


async def test_it_hangs_until_resumed_and_then_anew() -> None:
    transport = RecordingTransport({"a@there.example": Hang(), "b@there.example": Hang(then=Failed(text="slow"))})
    tasks = [asyncio.create_task(transport.deliver(delivery_to("a@there.example"))) for _ in range(2)]
    await transport.until_hanging(2)
    assert [recorded.outcomes for recorded in transport.recorded] == [None, None]
    transport.resume()
    assert await asyncio.gather(*tasks) == [(Delivered(),), (Delivered(),)]
    assert transport.hanging == 0
    again = asyncio.create_task(transport.deliver(delivery_to("b@there.example", "c@there.example")))
    await transport.until_hanging()
    transport.resume()
    assert await again == (Failed(text="slow"), Delivered())


async def test_a_hanging_delivery_can_be_cancelled() -> None:
    transport = RecordingTransport(otherwise=Hang())
    task = asyncio.create_task(transport.deliver(delivery_to("a@there.example")))
    await transport.until_hanging()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert transport.hanging == 0
    assert transport.recorded[0].outcomes is None


def test_no_answers_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="one at least"):
        RecordingTransport({"a@there.example": []})


def test_it_serves_one_loop_after_another() -> None:
    transport = RecordingTransport(otherwise=Hang())

    async def hang_and_resume() -> None:
        task = asyncio.create_task(transport.deliver(delivery_to("a@there.example")))
        await transport.until_hanging()
        transport.resume()
        await task

    asyncio.run(hang_and_resume())
    asyncio.run(hang_and_resume())
    assert len(transport.recorded) == 2


async def test_a_queue_in_memory_delivers_by_it() -> None:
    transport = RecordingTransport(
        {
            "busy@there.example": [Deferred(text="later", code=451), OSError("broken"), Delivered()],
            "gone@there.example": Failed(text="no such user", code=550),
        }
    )
    clock = FakeClock()
    async with Queue(MemoryStorage(), transports={"test": transport}, clock=clock) as queue:
        recipients = ["ok@there.example", "busy@there.example", "gone@there.example"]
        receipts = await queue.submit(MAIL, recipients=recipients)
        await run_until_empty(queue, clock)
        retired = [await queue.get_retired(receipt.id) for receipt in receipts]
    assert [[result.kind.value for result in r.results] for r in retired if r] == [
        ["delivered"],
        ["deferred", "deferred", "delivered"],
        ["failed"],
    ]
    assert [len(transport.attempts(recipient)) for recipient in recipients] == [1, 3, 1]
    [content] = transport.delivered("busy@there.example")
    assert content.endswith(MAIL)
    assert transport.delivered("ok@there.example") == [content]
