"""When the queue tries again, and what keeps a message back: schedules, routes, limits and hold rules."""

import asyncio
from datetime import timedelta

from moxlib.queue import (
    AccountConfig,
    DomainConfig,
    FailTransport,
    MessageFilter,
    Queue,
    QueueConfig,
    Route,
)
from moxlib.testing import FakeClock, run_until_empty, run_until_idle

DOUBLINGS = 4


def doubling(attempts: int) -> timedelta | None:
    """Wait 1, 2, 4, 8 minutes, then give up: a schedule may be any such function."""
    return timedelta(minutes=2 ** (attempts - 1)) if attempts <= DOUBLINGS else None


CONFIG = QueueConfig(
    schedule="5m, 15m*2, 1h*6, 4h*3",  # for all that has no schedule of its own
    schedules={"doubling": doubling},  # by name, for messages that ask for it
    accounts={"newsletter": AccountConfig(schedule="1h*3", max_attempts=3)},
    domains={"slow.example": DomainConfig(concurrency=2)},  # at most two deliveries at once to there
    routes=(Route(transport="disabled", recipient_domains=(".invalid",)),),
    default_transport="greylisting",
)
MESSAGE = b"Subject: hello\r\n\r\nHello.\r\n"


async def main() -> None:
    transports = {
        "greylisting": FailTransport(451, "4.7.1", "come back later"),  # these two answer without any network
        "disabled": FailTransport(550, "5.7.1", "no mail goes there"),
    }
    clock = FakeClock()  # so that the example need not wait; leave it out in a program
    async with Queue.open("mail.db", transports=transports, config=CONFIG, clock=clock) as queue:
        rule, _ = await queue.add_hold_rule(account="newsletter", recipient_domain="example.com")
        [usual] = await queue.submit(MESSAGE, sender="a@example.org", recipients="b@example.com")
        [named] = await queue.submit(MESSAGE, sender="a@example.org", recipients="b@example.com", schedule="doubling")
        [wrong] = await queue.submit(MESSAGE, sender="a@example.org", recipients="b@host.invalid")
        [held] = await queue.submit(MESSAGE, sender="a@example.org", recipients="b@example.com", account="newsletter")
        await run_until_idle(queue)
        for submission in (usual, named, wrong, held):
            print(await queue.explain(submission.id), end="\n\n")

        await queue.remove_hold_rule(rule)  # that alone releases nothing
        await queue.release(MessageFilter(account="newsletter"))
        await run_until_empty(queue, clock)
        for retired in (await queue.list_history()).items:
            print(f"message {retired.id}: {retired.event}, attempts: {len(retired.results)}")


if __name__ == "__main__":
    asyncio.run(main())
