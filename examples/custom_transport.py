"""A delivery backend of your own. This one keeps mail in Maildirs, in such a way that it survives a crash."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from moxlib.moxio import is_storage_space, link_or_copy, sync_dir
from moxlib.queue import Deferred, Delivered, Delivery, Failed, Message, Outcome, Queue


class MaildirTransport:
    """Any object with this `deliver` is a transport. It answers for each recipient, in order."""

    def __init__(self, mailboxes: Mapping[str, Path]) -> None:
        self.mailboxes = mailboxes

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        with NamedTemporaryFile() as file:
            async for chunk in delivery.content.chunks():  # memory does not grow with the message
                await asyncio.to_thread(file.write, chunk)
            file.flush()
            return [await asyncio.to_thread(self.store, file.name, message) for message in delivery.messages]

    def store(self, source: str, message: Message) -> Outcome:
        mailbox = self.mailboxes.get(message.recipient)
        if mailbox is None:
            return Failed(code=550, enhanced="5.1.1", text="there is no such mailbox")
        name = f"{message.id}.example"  # the same in each attempt: one that a crash repeats makes no second copy
        try:
            (mailbox / "tmp" / name).unlink(missing_ok=True)
            link_or_copy(mailbox / "tmp" / name, source)
            (mailbox / "tmp" / name).replace(mailbox / "new" / name)
            sync_dir(mailbox / "new")
        except OSError as error:
            return Deferred(text="the disk is full" if is_storage_space(error) else str(error))
        return Delivered(text="in the mailbox")


async def main() -> None:
    mailboxes = {f"{user}@example.com": Path("mailboxes", user) for user in ("ann", "bob")}
    for mailbox in mailboxes.values():
        for part in ("new", "cur", "tmp"):
            (mailbox / part).mkdir(parents=True, exist_ok=True)

    async with Queue.open("mail.db", transports={"maildir": MaildirTransport(mailboxes)}) as queue:
        submissions = await queue.submit(
            b"Subject: hello\r\n\r\nHello, all of you.\r\n",
            sender="shop@example.org",
            recipients=["ann@example.com", "bob@example.com", "carol@example.com"],
        )
        async with queue.worker() as worker:
            await worker.wait_idle()
        for submission in submissions:
            print(await queue.explain(submission.id))


if __name__ == "__main__":
    asyncio.run(main())
