"""A queue inside an application: handlers submit, and the mail is delivered in the background."""

import asyncio
from email.message import EmailMessage

from moxlib.localserve import LoopbackServer
from moxlib.queue import Queue, SMTPTransport


async def confirm_order(queue: Queue, customer: str, order: int) -> int:
    """A handler of your application. When it returns, the mail is on disk, and will be delivered."""
    message = EmailMessage()
    message["From"] = "Bluebell Books <shop@example.org>"
    message["To"] = customer
    message["Subject"] = f"Your order {order}"
    message.set_content("Thank you. It is on its way.\n")
    [submission] = await queue.submit(message, extra={"order": str(order)})
    return submission.id


async def main() -> None:
    async with LoopbackServer() as server:  # your relay, in this example
        relay = SMTPTransport("127.0.0.1", server.port, security="none")
        async with Queue.open("mail.db", transports={"relay": relay}) as queue, queue.worker() as worker:
            handlers = [confirm_order(queue, f"customer-{order}@example.com", order) for order in range(1, 4)]
            ids = await asyncio.gather(*handlers)

            await worker.wait_idle()  # an application would serve its next request instead
            for id_ in ids:
                print(await queue.explain(id_))


if __name__ == "__main__":
    asyncio.run(main())
