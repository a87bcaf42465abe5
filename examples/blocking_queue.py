"""The queue in a program that is not async: threads submit, and the mail is delivered in the background."""

from concurrent.futures import ThreadPoolExecutor
from email.message import EmailMessage

from moxlib.blocking import Queue
from moxlib.testing import RecordingTransport


def confirm_order(queue: Queue, customer: str, order: int) -> int:
    """A handler of your application, in any thread. When it returns, the mail is on disk, and will be delivered."""
    message = EmailMessage()
    message["From"] = "Bluebell Books <shop@example.org>"
    message["To"] = customer
    message["Subject"] = f"Your order {order}"
    message.set_content("Thank you. It is on its way.\n")
    [submission] = queue.submit(message, extra={"order": str(order)})
    return submission.id


def main() -> None:
    relay = RecordingTransport()  # delivers nowhere; an application has an SMTPTransport here
    with Queue.open("mail.db", transports={"relay": relay}) as queue, queue.worker() as worker:
        with ThreadPoolExecutor() as threads:  # those of your web server, in this example
            orders = range(1, 9)
            customers = [f"customer-{order}@example.com" for order in orders]
            ids = list(threads.map(confirm_order, [queue] * len(orders), customers, orders))

        worker.wait_idle()  # an application would serve its next request instead
        for id_ in ids[:2]:
            print(queue.explain(id_))
        print(queue.count_history(), "messages were delivered")


if __name__ == "__main__":
    main()
