"""Look back: pages of the history, one message explained, and an event log that a program can follow."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

from moxlib.queue import Deferred, Event, HistoryFilter, Queue, Retired
from moxlib.testing import FakeClock, RecordingTransport, run_until_empty

CUSTOMERS = [f"customer-{number}@quick.example" for number in range(1, 25)] + ["customer-25@busy.example"]


async def history(queue: Queue, where: HistoryFilter) -> AsyncIterator[Retired]:
    """Yield finished messages, the newest first, a page at a time; the queue may go on meanwhile."""
    page = await queue.list_history(where, limit=10)
    while True:
        for retired in page.items:
            yield retired
        if page.next is None:
            return
        page = await queue.list_history(where, limit=10, after=page.next)


async def events_after(queue: Queue, last: int) -> AsyncIterator[Event]:
    """Yield the events after one you have seen: keep its id, and a restarted program goes on where it was."""
    while events := await queue.list_events(after=last, limit=10):
        for event in events:
            yield event
        last = events[-1].id


async def main() -> None:
    clock = FakeClock()
    transport = RecordingTransport({"@busy.example": Deferred(code=451, text="try later")})
    async with Queue.open("mail.db", transports={"test": transport}, clock=clock) as queue:
        for number, customer in enumerate(CUSTOMERS, 1):
            await queue.submit(
                b"Subject: invoice\r\n\r\nAttached.\r\n",
                sender="shop@example.org",
                recipients=customer,
                extra={"invoice": str(number)},
            )
        await run_until_empty(queue, clock)

        print(sum([1 async for _ in history(queue, HistoryFilter(success=True))]), "messages were delivered")
        async for retired in history(queue, HistoryFilter(success=False)):
            print(f"invoice {retired.extra['invoice']} was not:")
            print(await queue.explain(retired.id))

        seen = [event async for event in events_after(queue, 0)]
        print(Counter(event.type.value for event in seen))
        print(len([event async for event in events_after(queue, seen[-1].id)]), "events since then")


if __name__ == "__main__":
    asyncio.run(main())
