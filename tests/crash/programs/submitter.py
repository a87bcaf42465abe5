"""A process that submits, and tells each receipt once it has it."""

import asyncio
from collections.abc import Iterator
from random import Random

from tests.crash.programs.mail import SENDER, Mail, Settings, mails, say

from moxlib.queue import Queue

AT_ONCE = 4  # submits under way at once: they share commits


async def submit(queue: Queue, given: Iterator[Mail], settings: Settings, random: Random) -> None:
    for mail in given:
        say(intent=mail.key, recipients=len(mail.recipients), sha256=mail.sha256)
        receipts = await queue.submit(mail.data, sender=SENDER, recipients=mail.recipients)
        say(accepted=mail.key, ids=[receipt.id for receipt in receipts])
        await asyncio.sleep(random.uniform(0, settings.pause))


async def main(settings: Settings) -> None:
    random = Random(settings.seed)
    source = mails(settings)
    given = (next(source) for _ in range(settings.count))
    async with (
        Queue.open(settings.database, config=settings.config, transactions=settings.transactions) as queue,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(AT_ONCE):
            group.create_task(submit(queue, given, settings, random))
    say(done=settings.name)


if __name__ == "__main__":
    asyncio.run(main(Settings.given()))
