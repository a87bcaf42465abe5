"""Deliver through a provider's submission server: TLS with a verified certificate, then a login."""

import asyncio
import os
import ssl
import sys
from collections.abc import Sequence
from email.message import EmailMessage

from moxlib.queue import Queue, SubmissionTransport
from moxlib.sasl import Credentials


async def send(message: EmailMessage, smarthost: SubmissionTransport) -> None:
    async with Queue.open("mail.db", transports={"smarthost": smarthost}) as queue, queue.worker() as worker:
        submissions = await queue.submit(message)
        await worker.wait_idle()
        for submission in submissions:
            print(await queue.explain(submission.id))


def main(arguments: Sequence[str], *, port: int = 587, tls_context: ssl.SSLContext | None = None) -> None:
    match arguments:
        case [host, username, sender, recipient]:
            credentials = Credentials(
                username=username,
                password=os.environ["SMTP_PASSWORD"],
                # Many servers know PLAIN only. It shows them the password, so it is used under verified TLS alone.
                mechanisms=("SCRAM-SHA-256", "PLAIN"),
            )
            message = EmailMessage()
            message["From"], message["To"], message["Subject"] = sender, recipient, "Hello"
            message.set_content("Hello from moxlib.\n")
            smarthost = SubmissionTransport(host, port, credentials=credentials, tls_context=tls_context)
            asyncio.run(send(message, smarthost))
        case _:
            print("usage: SMTP_PASSWORD=... smarthost.py HOST USERNAME FROM TO")


if __name__ == "__main__":
    main(sys.argv[1:])
