"""A process that submits, and tells each receipt once it has it."""

import asyncio
import time
from collections.abc import Iterator
from random import Random

from tests.crash.programs.mail import SENDER, Mail, Settings, be_quiet, mails, opened, say

from moxlib.queue import Queue, Submission
from moxlib.queue.errors import StorageUnavailable

AT_ONCE = 4  # submits under way at once: they share commits


async def submit(queue: Queue, given: Iterator[Mail], settings: Settings, random: Random) -> None:
    for mail in given:
        say(intent=mail.key, recipients=len(mail.recipients), sha256=mail.sha256)
        receipts = await accepted(queue, mail, settings)
        if receipts:
            say(accepted=mail.key, ids=[receipt.id for receipt in receipts])
        await asyncio.sleep(random.uniform(0, settings.pause))


async def accepted(queue: Queue, mail: Mail, settings: Settings) -> tuple[Submission, ...]:
    """Return the receipts; none if it was refused, and is not to be tried again."""
    key = mail.key if settings.keyed else None
    while True:
        began = time.monotonic()
        try:
            return await queue.submit(mail.data, sender=SENDER, recipients=mail.recipients, idempotency_key=key)
        except StorageUnavailable as error:
            if not settings.patient:
                raise
            seconds = time.monotonic() - began
            why = f"{error!r} because of {error.__cause__!r}"
            say(refused=mail.key, again=settings.keyed, in_doubt=error.in_doubt, seconds=seconds, why=why)
        if not settings.keyed:
            return ()


async def main(settings: Settings) -> None:
    random = Random(settings.seed)
    source = mails(settings)
    given = (next(source) for _ in range(settings.count))
    async with opened(settings) as queue, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(submit(queue, given, settings, random))
    say(done=settings.name)


if __name__ == "__main__":
    be_quiet()
    asyncio.run(main(Settings.given()))
