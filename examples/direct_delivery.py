"""Deliver to the Internet: to the mail servers of each recipient's domain. In this example, they are on loopback."""

import asyncio

from moxlib.queue import DirectTransport, Queue, QueueConfig, Route, SubmissionTransport, Transport
from moxlib.testing import ByCommand, MockResolver, SMTPPeer

MESSAGE = b"From: shop@example.org\r\nSubject: Your order\r\n\r\nThank you.\r\n"
CUSTOMERS = ["ann@example.com", "gone@example.com", "bob@busy.example", "x@silent.example", "y@nowhere.example"]

CONFIG = QueueConfig(
    schedule="7m30s, 15m, 30m, 1h, 2h, 4h, 8h",
    routes=(Route(transport="smarthost", recipient_domains=(".difficult.example",)),),
    default_transport="direct",
)


async def thank(direct: DirectTransport) -> None:
    """Your application. Whatever becomes of a message, `explain` tells it, and the replies that led to it."""
    transports: dict[str, Transport] = {"direct": direct, "smarthost": SubmissionTransport("smtp.example.net")}
    async with Queue.open("mail.db", transports=transports, config=CONFIG) as queue, queue.worker() as worker:
        submissions = await queue.submit(MESSAGE, recipients=CUSTOMERS)
        await worker.wait_idle()
        for submission in submissions:
            explanation = await queue.explain(submission.id)
            assert explanation is not None  # it is in the history, at least
            [attempt] = explanation.attempts
            print(f"{submission.recipient}: {explanation.state}; {attempt.peer or 'the DNS'}: {attempt.summary}")


async def main() -> None:
    """A small Internet: a DNS in plain maps, and a host that takes mail for two domains."""
    resolver = MockResolver(
        mx={
            "example.com": [(10, "mx1.example.com"), (20, "mx2.example.com")],  # the first one has no address
            "busy.example": [(10, "mx2.example.com")],
            "silent.example": [(0, ".")],  # takes no mail
        },
        a={"mx2.example.com": ["127.0.0.1"]},
    )
    answers = {"RCPT TO:<gone@": "550 5.1.1 no such user", "RCPT TO:<bob@": "451 4.7.1 greylisted, try again"}
    async with SMTPPeer(ByCommand(answers)) as host:
        # On the Internet, DirectTransport(ehlo_name="out.example.org") is all: it asks the system's name servers, keeps
        # to MTA-STS policies, which it fetches over HTTPS, and connects to port 25.
        await thank(DirectTransport(ehlo_name="out.example.org", resolver=resolver, mta_sts=None, port=host.port))


if __name__ == "__main__":
    asyncio.run(main())
