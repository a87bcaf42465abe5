"""Test code that sends mail: nothing waits for retries, and nothing leaves. pytest runs this file as it is, too."""

import asyncio
from datetime import timedelta

from moxlib.queue import Deferred, Delivered, Failed, Queue, QueueConfig
from moxlib.testing import FakeClock, MemoryStorage, RecordingTransport, run_until_empty

CONFIG = QueueConfig(schedule="1m, 5m, 30m")


async def remind(queue: Queue, customers: list[str]) -> None:
    """The code under test."""
    text = b"Subject: A reminder\r\n\r\nYour invoice is due.\r\n"
    await queue.submit(text, sender="shop@example.org", recipients=customers, extra={"kind": "reminder"})


def test_customers_are_reminded_once() -> None:
    asyncio.run(_customers_are_reminded_once())


async def _customers_are_reminded_once() -> None:
    clock = FakeClock()
    transport = RecordingTransport(
        {
            "busy@example.com": [Deferred(code=451, text="try later"), Deferred(code=451, text="later"), Delivered()],
            "gone@example.com": Failed(code=550, enhanced="5.1.1", text="no such user"),
        }
    )
    async with Queue(MemoryStorage(), transports={"test": transport}, config=CONFIG, clock=clock) as queue:
        began = clock.now()
        await remind(queue, ["ann@example.com", "busy@example.com", "gone@example.com"])
        await run_until_empty(queue, clock)  # six minutes of the clock's time pass at once

        ended = {retired.recipient: retired for retired in (await queue.list_history()).items}
        assert [len(ended[f"{name}@example.com"].results) for name in ("ann", "busy", "gone")] == [1, 3, 1]
        assert ended["gone@example.com"].event == "failed"
        assert timedelta(minutes=5) < clock.now() - began < timedelta(minutes=7)

    [content] = transport.delivered("busy@example.com")
    assert content.endswith(b"\r\n\r\nYour invoice is due.\r\n")


def main() -> None:
    test_customers_are_reminded_once()
    print("passed")


if __name__ == "__main__":
    main()
