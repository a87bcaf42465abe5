"""Hear of bounces: one comes in, is matched to its message, suppresses the recipient, and a webhook tells of it."""

import asyncio

from moxlib.localserve import LoopbackReceiver, LoopbackServer
from moxlib.queue import FromIDConfig, HookConfig, IncomingEnvelope, Queue, QueueConfig, SMTPTransport
from moxlib.webhook import Outgoing, Secret

MAIL = b"From: shop@example.org\r\nTo: jo@example.com\r\nSubject: Your order\r\n\r\nThank you.\r\n"
BOUNCE = b"""\
From: MAILER-DAEMON@mx.example.com
Message-ID: <b1@mx.example.com>
Content-Type: multipart/report; report-type=delivery-status; boundary=cut

--cut
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.com

Final-Recipient: rfc822; jo@example.com
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1 no such user
--cut--
"""


async def main() -> None:
    secret = Secret.generate()
    async with LoopbackServer() as relay, LoopbackReceiver(secrets=[secret]) as receiver:
        config = QueueConfig(
            fromids=FromIDConfig.of([], {"example.org": ["+"]}),
            webhook=HookConfig(url=receiver.url, secrets=(secret,), allow_private=True),
        )
        transport = SMTPTransport("127.0.0.1", relay.port, security="none")
        async with Queue.open("mail.db", transports={"relay": transport}, config=config) as queue, queue.worker():
            [receipt] = await queue.submit(MAIL, fromid=True)  # its MAIL FROM is shop+<fromid>@example.org
            await receiver.wait_for(1)

            came_for = f"shop+{receipt.fromid}@example.org"
            await queue.incoming(BOUNCE, IncomingEnvelope(recipients=(came_for,), mail_from=""))
            for item in await receiver.wait_for(2):
                if isinstance(item.payload, Outgoing):
                    print(f"webhook {item.id}: {item.payload.event} {item.payload.smtp_code or ''}")

            [again] = await queue.submit(MAIL)
            print(f"submitted again: {again.suppressed}")


asyncio.run(main())
