"""Mail in and out over SMTP with aiosmtpd: a program submits, a bounce comes back, and the queue matches the two."""

import asyncio
import smtplib

from moxlib.contrib.aiosmtpd import IncomingHandler, SubmissionHandler, Submitter
from moxlib.dsn import DSN, MTA, Action, RecipientStatus, TypedAddress, compose
from moxlib.queue import FromIDConfig, Queue, QueueConfig
from moxlib.testing import RecordingTransport, run_until_idle

APP = "app@shop.example.org"
CONFIG = QueueConfig(fromids=FromIDConfig.of([APP], {"shop.example.org": ["+"]}))  # each message its own MAIL FROM
MAIL = b"From: app@shop.example.org\r\nTo: jo@example.com\r\nSubject: Your order\r\n\r\nThank you.\r\n"


def send(server: asyncio.Server, sender: str, recipient: str, mail: bytes, options: tuple[str, ...] = ()) -> None:
    with smtplib.SMTP("127.0.0.1", server.sockets[0].getsockname()[1], "localhost") as client:
        client.sendmail(sender, [recipient], mail, options)


def bounce(recipient: str) -> bytes:
    """Return what the recipient's server would write days later."""
    status = RecipientStatus(
        final_recipient=TypedAddress(address=recipient),
        action=Action.FAILED,
        diagnostic_type="smtp",
        diagnostic_text="550 5.1.1 no such user",
    )
    return compose(
        DSN(
            reporting_mta=MTA(name="mx.example.com"),
            recipients=(status,),
            from_address="postmaster@mx.example.com",
            message_id="<1@mx.example.com>",
        ),
        smtputf8=False,
    )


async def main() -> None:
    async with Queue.open("mail.db", transports={"test": RecordingTransport()}, config=CONFIG) as queue:
        # A real server would ask for a login over TLS, and take the submitter from that.
        submissions = SubmissionHandler(queue, identify=lambda _: Submitter(account="shop", login=APP))
        incoming = IncomingHandler(queue, accept=lambda address: address.endswith("@shop.example.org"))
        loop = asyncio.get_running_loop()
        port_587 = await loop.create_server(submissions.factory(), "127.0.0.1", 0)
        port_25 = await loop.create_server(incoming.factory(), "127.0.0.1", 0)
        async with port_587, port_25:
            await asyncio.to_thread(send, port_587, APP, "jo@example.com", MAIL, ("ENVID=order17",))
            await run_until_idle(queue)
            [retired] = (await queue.list_history()).items
            print(f"sent as {retired.envid}, with bounces to one address of its own")

            await asyncio.to_thread(
                send, port_25, "", f"app+{retired.fromid}@shop.example.org", bounce("jo@example.com")
            )
            print(await queue.explain(retired.id))
            print("suppressed:", await queue.suppression("jo@example.com", account="shop") is not None)


if __name__ == "__main__":
    asyncio.run(main())
