"""Django: an order and its mail commit, or roll back, together. A whole project, in one file."""

import django
from django.conf import settings
from django.core.mail import EmailMessage
from django.core.management import call_command
from django.db import connection, models, transaction

from moxlib.contrib.django import EmailBackend, with_options

BACKEND = "moxlib.contrib.django.EmailBackend"
settings.configure(
    INSTALLED_APPS=["moxlib.contrib.django"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.sqlite3"}},  # or PostgreSQL
    MOXLIB={"database": "default", "account": "shop"},
    **({"EMAIL_BACKEND": BACKEND} if django.VERSION < (6, 1) else {"MAILERS": {"default": {"BACKEND": BACKEND}}}),
)
django.setup()


class Order(models.Model):
    customer: "models.EmailField[str, str]" = models.EmailField()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"order {self.pk}"


class OutOfStock(Exception):
    """There is nothing left to sell."""


@transaction.atomic  # or ATOMIC_REQUESTS, for all views
def place_order(customer: str, stock: int) -> None:
    order = Order.objects.create(customer=customer)
    message = EmailMessage(f"Your {order}", "Thank you.\n", "Bluebell Books <shop@example.org>", [customer])
    with_options(message, idempotency_key=f"order-{order.pk}", extra={"order": str(order.pk)}).send()
    if stock == 0:
        raise OutOfStock


def main() -> None:
    call_command("migrate", verbosity=0)  # creates the queue's tables as well
    if "shop_order" not in connection.introspection.table_names():
        with connection.schema_editor() as editor:  # a project of several files has migrations for that
            editor.create_model(Order)

    for customer, stock in (("ann@example.com", 2), ("bob@example.com", 0), ("carol@example.com", 1)):
        try:
            place_order(customer, stock)
        except OutOfStock:
            print(f"{customer}: rolled back")
        else:
            print(f"{customer}: committed")

    # `python manage.py moxlib_worker`, in a process of its own, delivers.
    print("ordered by:", *[order.customer for order in Order.objects.all()])
    print("queued for:", *[message.recipient for message in EmailBackend().queue.list_messages().items])


if __name__ == "__main__":
    main()
