"""One SQLite file for a shop and its mail: an order and its confirmation commit, or roll back, together."""

import sqlite3
from email.message import EmailMessage

from moxlib.blocking import Queue

FILE = "shop.db"


class OutOfStock(Exception):
    """There is nothing left to sell."""


def place_order(shop: sqlite3.Connection, queue: Queue, number: int, customer: str, stock: int) -> None:
    message = EmailMessage()
    message["From"] = "Bluebell Books <shop@example.org>"
    message["To"] = customer
    message["Subject"] = f"Your order {number}"
    message.set_content("Thank you. It is on its way.\n")

    with shop:  # one transaction: committed at the end of the block, rolled back by an exception
        shop.execute("INSERT OR IGNORE INTO orders VALUES (?, ?)", (number, customer))
        [submission] = queue.submit(message, connection=shop, idempotency_key=f"order-{number}")
        if stock == 0:
            raise OutOfStock
    print(f"order {number}: its mail is {'queued already' if submission.repeated else 'queued'}, as {submission.id}")


def main() -> None:
    with Queue.open(FILE) as queue:  # its tables lie beside those of the shop
        shop = sqlite3.connect(FILE)
        shop.execute("CREATE TABLE IF NOT EXISTS orders (number INTEGER PRIMARY KEY, customer TEXT)")

        place_order(shop, queue, 1, "ann@example.com", stock=7)
        try:
            place_order(shop, queue, 2, "bob@example.com", stock=0)
        except OutOfStock:
            print("order 2: rolled back, and its mail with it")
        place_order(shop, queue, 1, "ann@example.com", stock=7)  # she pressed the button twice

        print("ordered by:", *[customer for (customer,) in shop.execute("SELECT customer FROM orders")])
        print("queued for:", *[message.recipient for message in queue.list_messages().items])
        shop.close()


if __name__ == "__main__":
    main()
