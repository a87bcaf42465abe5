"""Submit in one process, deliver in another, both on one file; SIGTERM ends the worker in good order."""

import asyncio
import signal
import sys

from moxlib.localserve import LoopbackServer
from moxlib.queue import EventType, Queue, SMTPTransport

FILE = "mail.db"
MESSAGE = b"From: shop@example.org\r\nTo: %b\r\nSubject: Your order\r\n\r\nThank you.\r\n"


async def work(port: int) -> None:
    """The worker process: delivers until SIGTERM or SIGINT, finishes what is under way, and leaves the rest queued."""
    relay = SMTPTransport("127.0.0.1", port, security="none")
    async with Queue.open(FILE, transports={"relay": relay}, transactions="loop") as queue:
        await queue.run_worker()


async def serve() -> None:
    """The process that serves requests: it submits, and follows what becomes of its mail in the event log."""
    async with LoopbackServer() as server, Queue.open(FILE) as queue:
        worker = await asyncio.create_subprocess_exec(sys.executable, __file__, "worker", str(server.port))
        waiting: set[int] = set()
        for customer in (b"ann@example.com", b"bob@example.com", b"carol@example.com"):
            waiting |= {submission.id for submission in await queue.submit(MESSAGE % customer)}

        last = 0
        while waiting:
            for event in await queue.list_events(after=last):
                print(f"{event.recipient}: {event.type}")
                if event.type in (EventType.DELIVERED, EventType.FAILED):
                    waiting.discard(event.message)
                last = event.id
            await asyncio.sleep(0.05)

        worker.send_signal(signal.SIGTERM)
        print("the worker ended with status", await worker.wait())


def main() -> None:
    match sys.argv[1:]:
        case ["worker", port]:
            asyncio.run(work(int(port)))
        case _:
            asyncio.run(serve())


if __name__ == "__main__":
    main()
