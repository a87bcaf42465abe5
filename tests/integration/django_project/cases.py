"""What is tested inside Django, in a process in which it was set up: see `run_cases.py`."""

import asyncio
import io
import logging
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.message import EmailMessage as PythonMessage
from email.message import MIMEPart
from email.mime.image import MIMEImage
from email.policy import default
from pathlib import Path
from typing import Any, cast

import django
import psycopg
from asgiref.sync import sync_to_async
from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage, EmailMultiAlternatives, send_mail, send_mass_mail
from django.core.management import call_command
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError
from django.test import Client, override_settings
from tests.integration.django_project.shop.models import Order

from moxlib.contrib.django import EmailBackend, submissions, with_options
from moxlib.contrib.django.apps import MoxlibConfig
from moxlib.contrib.django.database import url_of
from moxlib.contrib.django.transports import transports_of_settings
from moxlib.errors import InputError, StorageError
from moxlib.message import InvalidMessage
from moxlib.queue import Message, MessageFilter, QueueConfig, SMTPTransport, SubmissionsTransport
from moxlib.queue.errors import IdempotencyConflict, InvalidConnection
from moxlib.smtp import InvalidAddress

SQLITE = connection.vendor == "sqlite"
TABLES = ("moxlib_message", "moxlib_submission", "moxlib_content", "moxlib_event", "moxlib_destination")


class ShopError(Exception):
    """What goes wrong in the shop."""


def app() -> MoxlibConfig:
    return cast("MoxlibConfig", apps.get_app_config("moxlib"))


def queued() -> list[Message]:
    """What others than this connection see."""
    return list(EmailBackend().queue.list_messages().items)


def recipients() -> list[str]:
    return sorted(message.recipient for message in queued())


def content(id_: int) -> bytes:
    return b"".join(EmailBackend().queue.dump(id_))


def parsed(id_: int) -> PythonMessage:
    return message_from_bytes(content(id_), policy=default)


def orders() -> list[str]:
    return sorted(Order.objects.values_list("customer", flat=True))


def rows() -> dict[str, int]:
    found = {}
    for table in TABLES:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {table if SQLITE else f'moxlib.{table}'}")
            [found[table]] = cursor.fetchone()
    return found


def silently(*messages: EmailMessage) -> int:
    return EmailBackend(fail_silently=True).send_messages(messages)


def buy(customer: str) -> None:
    Order.objects.create(customer=customer)
    send_mail("Your order", "Thank you.", None, [customer])


def html_message() -> EmailMultiAlternatives:
    message = EmailMultiAlternatives(
        "Grüße aus dem Laden",
        "Vielen Dank für Ihre Bestellung.\n",
        "Jürgen <juergen@example.org>",
        ["Ännchen <ann@example.com>"],
        bcc=["boss@example.org"],
        cc=["Bob <bob@example.com>"],
        reply_to=["help@example.org"],
        headers={"X-Order": "17", "List-Unsubscribe": "<https://example.org/u/17>"},
    )
    message.attach_alternative('<p>Vielen <b>Dank</b>.</p><img src="cid:logo">', "text/html")
    message.attach("invoice.pdf", b"%PDF-1.4\x00\xff", "application/pdf")
    message.attach("notes.txt", "für später\n", "text/plain")
    return message


def inline_image(data: bytes, cid: str) -> Any:
    if django.VERSION < (6,):
        image = MIMEImage(data, "png")
        image["Content-ID"] = cid
        return image
    part = MIMEPart()
    part.set_content(data, "image", "png", disposition="inline", cid=cid)
    return part


@contextmanager
def raises(class_: type[BaseException], text: str = "") -> Iterator[None]:
    try:
        yield
    except class_ as error:
        if text not in str(error):
            raise
    else:
        raise AssertionError(f"{class_.__name__} was not raised")


@contextmanager
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("moxlib.contrib.django")
    logger.addHandler(handler)
    logger.propagate = False
    yield stream
    logger.removeHandler(handler)


# transactions


def case_outside_of_a_transaction_mail_is_queued_at_once() -> None:
    assert send_mail("Hello", "Hello, Ann.", "Shop <shop@example.org>", ["Ann <ann@example.com>"]) == 1
    [message] = queued()
    assert (message.sender, message.recipient, message.account) == ("shop@example.org", "ann@example.com", "shop")
    assert parsed(message.id)["Subject"] == "Hello"


def case_mail_is_queued_when_the_transaction_commits() -> None:
    with transaction.atomic():
        buy("ann@example.com")
        assert recipients() == []
    assert (recipients(), orders()) == (["ann@example.com"], ["ann@example.com"])


def case_nothing_is_left_of_mail_in_a_transaction_that_is_rolled_back() -> None:
    before = rows()
    with raises(ShopError), transaction.atomic():
        buy("ann@example.com")
        raise ShopError
    assert (recipients(), orders(), rows()) == ([], [], before)


def case_a_savepoint_that_is_rolled_back_takes_its_own_mail_with_it() -> None:
    with transaction.atomic():
        buy("ann@example.com")
        with suppress(ShopError), transaction.atomic():
            buy("bob@example.com")
            raise ShopError
        with transaction.atomic():
            buy("carol@example.com")
    both = ["ann@example.com", "carol@example.com"]
    assert (recipients(), orders()) == (both, both)


def case_the_outer_transaction_takes_the_mail_of_its_savepoints_with_it() -> None:
    with suppress(ShopError), transaction.atomic():
        with transaction.atomic():
            buy("ann@example.com")
        raise ShopError
    assert (recipients(), orders()) == ([], [])


def case_mail_joins_a_transaction_that_is_not_atomics() -> None:
    transaction.set_autocommit(False)
    try:
        buy("ann@example.com")
        assert recipients() == []
        transaction.rollback()
        assert recipients() == []
        buy("bob@example.com")
        transaction.commit()
        assert recipients() == ["bob@example.com"]
        send_mail("First in its transaction", "Thank you.", None, ["carol@example.com"])
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert recipients() == ["bob@example.com", "carol@example.com"]


def case_the_queue_is_opened_inside_a_transaction_that_has_written() -> None:
    app().close()
    with transaction.atomic():
        buy("ann@example.com")
    assert recipients() == ["ann@example.com"]


def case_tables_that_are_missing_are_not_made_inside_a_transaction() -> None:
    if not SQLITE:  # where they can be
        return
    Path("empty.db").touch()
    missing = raises(ImproperlyConfigured, "run manage.py migrate")
    with override_settings(MOXLIB={"database": "empty"}), missing, transaction.atomic(using="empty"):
        silently(EmailMessage("Hello", "Hello.", to=["ann@example.com"]))
    connections["empty"].close()


def case_mail_may_be_first_in_a_transaction() -> None:
    connection.close()
    with transaction.atomic():
        send_mail("Your order", "Thank you.", None, ["ann@example.com"])
        Order.objects.create(customer="ann@example.com")
    assert (recipients(), orders()) == (["ann@example.com"], ["ann@example.com"])


def case_without_a_connection_none_is_made() -> None:
    connection.close()
    send_mail("Hello", "Hello.", None, ["ann@example.com"])
    assert connection.connection is None
    assert recipients() == ["ann@example.com"]


def case_atomic_requests() -> None:
    client = Client(raise_request_exception=False)
    assert client.get("/order/ann@example.com").status_code == 200
    assert client.get("/order/broke@example.com").status_code == 500
    assert (recipients(), orders()) == (["ann@example.com"], ["ann@example.com"])


def case_a_transaction_that_is_broken_takes_no_mail() -> None:
    with suppress(ShopError), transaction.atomic():
        transaction.set_rollback(True)
        with raises(TransactionManagementError):
            send_mail("Your order", "Thank you.", None, ["ann@example.com"])
        raise ShopError
    assert recipients() == []


def case_what_the_queue_refuses_does_not_break_the_transaction() -> None:
    with transaction.atomic():
        with raises(InvalidAddress):
            send_mail("Hello", "Hello.", None, ["ann@example..com"])
        with logged() as log:
            assert silently(EmailMessage("Hello", "Hello.", to=["ann@example..com"])) == 0
        assert "not queued" in log.getvalue()
        buy("bob@example.com")
    assert (recipients(), orders()) == (["bob@example.com"], ["bob@example.com"])


def case_large_mail_in_a_transaction() -> None:
    before = rows()
    large = os.urandom(300_000)
    message = EmailMessage("Large", "See attachment.", to=["ann@example.com"])
    message.attach("large.bin", large, "application/octet-stream")
    with suppress(ShopError), transaction.atomic():
        message.send()
        raise ShopError
    assert rows() == before
    with transaction.atomic():
        message.send()
    [sent] = queued()
    [part] = parsed(sent.id).iter_attachments()
    assert part.get_content() == large


def case_mail_in_its_own_queue_joins_no_transaction() -> None:
    with override_settings(MOXLIB={"queue": str(Path("own.db").resolve())}):
        with suppress(ShopError), transaction.atomic():
            if not SQLITE:  # whose transaction would have to wait for this one
                Order.objects.create(customer="ann@example.com")
            send_mail("Hello", "Hello.", None, ["ann@example.com"])
            raise ShopError
        assert recipients() == ["ann@example.com"]
    assert recipients() == []


def case_a_queue_that_is_surely_in_the_database_joins_its_transactions() -> None:
    with override_settings(MOXLIB={"queue": own_target()}), suppress(ShopError), transaction.atomic():
        buy("ann@example.com")
        raise ShopError
    both = {"queue": own_target(), "database": "default"}
    with override_settings(MOXLIB=both), suppress(ShopError), transaction.atomic():
        buy("ann@example.com")
        raise ShopError
    assert (recipients(), orders()) == ([], [])


def case_only_transactions_on_the_queues_database_matter() -> None:
    with override_settings(MOXLIB={"database": "other"}):
        with suppress(ShopError), transaction.atomic():
            send_mail("Hello", "Hello.", None, ["ann@example.com"])
            raise ShopError
        with suppress(ShopError), transaction.atomic(using="other"):
            send_mail("Hello", "Hello.", None, ["bob@example.com"])
            raise ShopError
        assert recipients() == ["ann@example.com"]
    assert recipients() == []


def case_the_connections_options_hold_for_the_queue_as_well() -> None:
    if SQLITE:
        return
    with connection.cursor() as cursor:
        cursor.execute('DROP ROLE IF EXISTS "shop owner"')
        cursor.execute('CREATE ROLE "shop owner"')
    copied: Any = connection.copy()
    copied.settings_dict["OPTIONS"] = {"assume_role": "shop owner", "options": "-c work_mem=1MB", "pool": True}
    with psycopg.connect(url_of(copied)) as own:
        assert own.execute("SELECT current_user, current_setting('work_mem')").fetchone() == ("shop owner", "1MB")


def case_a_queue_may_be_kept_out_of_transactions() -> None:
    with override_settings(MOXLIB={"queue": own_target(), "database": None}), transaction.atomic():
        send_mail("Hello", "Hello.", None, ["ann@example.com"])
        assert recipients() == ["ann@example.com"]


def case_the_database_must_be_that_of_the_queue() -> None:
    with override_settings(MOXLIB={"queue": str(Path("own.db").resolve()), "database": "default"}):
        send_mail("Hello", "Hello.", None, ["ann@example.com"])
        wanted = "queue" if SQLITE else "an SQLite connection"
        with raises(InvalidConnection, wanted), transaction.atomic():
            silently(EmailMessage("Hello", "Hello.", to=["ann@example.com"]))


def own_target() -> str:
    database = settings.DATABASES["default"]
    if SQLITE:
        return str(database["NAME"])
    return f"postgresql://{database['USER']}@{database['HOST']}:{database['PORT']}/{database['NAME']}"


# messages


def case_alternatives_and_attachments_come_back() -> None:
    message = html_message()
    message.attach(inline_image(b"\x89PNG\r\n\x1a\n", "<logo>"))
    assert message.send() == 1
    receipts = submissions(message)
    assert [receipt.recipient for receipt in receipts] == ["ann@example.com", "bob@example.com", "boss@example.org"]
    sent = parsed(receipts[0].id)
    assert sent["Subject"] == "Grüße aus dem Laden"
    assert sent["From"] == "Jürgen <juergen@example.org>"
    assert (sent["To"], sent["Cc"]) == ("Ännchen <ann@example.com>", "Bob <bob@example.com>")
    assert (sent["Reply-To"], sent["X-Order"]) == ("help@example.org", "17")
    assert sent["List-Unsubscribe"] == "<https://example.org/u/17>"
    assert sent["Bcc"] is None
    assert b"boss@example.org" not in content(receipts[2].id)
    plain, html = sent.get_body(("plain",)), sent.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert plain.get_content().replace("\r\n", "\n") == "Vielen Dank für Ihre Bestellung.\n"
    assert "<b>Dank</b>" in html.get_content()
    names = [part.get_filename() for part in sent.iter_attachments()]
    assert names[:2] == ["invoice.pdf", "notes.txt"]
    assert next(iter(sent.iter_attachments())).get_content() == b"%PDF-1.4\x00\xff"
    [logo] = [part for part in sent.walk() if part["Content-ID"] == "<logo>"]
    assert logo.get_content() == b"\x89PNG\r\n\x1a\n"
    assert queued()[0].sender == "juergen@example.org"


def case_what_is_queued_is_what_django_would_send() -> None:
    message = html_message()
    made = message.message()
    policy: Any = {"policy": made.policy.clone(linesep="\r\n")} if django.VERSION >= (6,) else {"linesep": "\r\n"}
    wanted = made.as_bytes(**policy)
    message.message = lambda *_, **__: made  # type: ignore[method-assign]
    message.send()
    assert content(submissions(message)[0].id).rstrip() == wanted.rstrip()


def case_django_makes_message_id_and_date() -> None:
    message = EmailMessage("Hello", "Hello.", to=["ann@example.com"], headers={"Message-ID": "<17@shop.example>"})
    message.send()
    sent = parsed(submissions(message)[0].id)
    assert sent.get_all("Message-ID") == ["<17@shop.example>"]
    assert len(sent.get_all("Date") or ()) == 1


def case_a_bcc_header_is_not_sent() -> None:
    message = EmailMessage("Hello", "Hello.", to=["ann@example.com"])
    made = message.message()
    made["Bcc"] = "boss@example.org"
    message.message = lambda *_, **__: made  # type: ignore[method-assign]
    message.send()
    [receipt] = submissions(message)
    assert b"boss" not in content(receipt.id)


def case_the_envelope_is_djangos() -> None:
    headers = {"From": "Someone else <else@example.net>", "To": "list@example.net"}
    message = EmailMessage("Hello", "Hello.", "bounces@example.org", ["ann@bücher.example"], headers=headers)
    message.send()
    [sent] = queued()
    assert (sent.sender, sent.recipient) == ("bounces@example.org", "ann@xn--bcher-kva.example")
    assert parsed(sent.id)["From"] == "Someone else <else@example.net>"


def case_a_message_may_have_the_null_sender() -> None:
    message = EmailMessage("Hello", "Hello.", "<>", ["ann@example.com"], headers={"From": "shop@example.org"})
    message.send()
    assert [sent.sender for sent in queued()] == [""]


def case_header_injection_is_refused() -> None:
    message = EmailMessage("Hello\nBcc: everyone@example.com", "Hello.", to=["ann@example.com"])
    with raises(ValueError):
        silently(message)
    message = EmailMessage("Hello", "Hello.", to=["ann@example.com"])
    bad = message.message()
    bad["X-Bad"] = "17"
    bad._headers[-1] = ("X-Bad", "17\r\nX-More: 18")  # type: ignore[attr-defined]
    message.message = lambda *_, **__: bad  # type: ignore[method-assign]
    with raises(InvalidMessage):
        message.send()


def case_messages_are_counted() -> None:
    messages = [EmailMessage("Hello", "Hello.", to=[f"{n}@example.com"]) for n in range(3)]
    backend = EmailBackend()
    assert backend.send_messages([*messages, EmailMessage("Nobody", "Nobody.")]) == 3
    assert backend.send_messages([]) == 0
    assert EmailMessage("Nobody", "Nobody.").send() == 0
    many = [("Hello", "Hello.", None, ["ann@example.com", "bob@example.com"])] * 2
    assert send_mass_mail(many) == 2
    assert len(queued()) == 3 + 4


def case_what_is_refused_is_raised_or_logged() -> None:
    messages = [EmailMessage("Hello", "Hello.", to=[to]) for to in ("ann@example.com", "no address", "bob@example.com")]
    with raises(InputError, "no address"):
        EmailBackend().send_messages(messages)
    assert recipients() == ["ann@example.com"]
    with logged() as log:
        assert silently(*messages[1:]) == 1
    assert "no address" in log.getvalue()
    assert recipients() == ["ann@example.com", "bob@example.com"]


def case_what_one_message_asks_for() -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    message = EmailMessage("Hello", "Hello.", to=["ann@example.com"])
    given = with_options(message, extra={"order": "17"}, transport="bulk", not_before=later, max_attempts=3)
    assert given is message
    with_options(message, account="other")
    message.send()
    [sent] = queued()
    assert (dict(sent.extra), sent.transport, sent.max_attempts) == ({"order": "17"}, "bulk", 3)
    assert (sent.next_attempt, sent.account) == (later, "other")
    with raises(TypeError, "'idempotence_key'"):
        with_options(message, idempotence_key="17")  # type: ignore[call-arg]
    message.moxlib = {"sender": "other@example.org"}  # type: ignore[attr-defined]
    with raises(TypeError, "'sender'"):
        message.send()


def case_an_idempotency_key() -> None:
    def receipt(text: str) -> EmailMultiAlternatives:
        message = EmailMultiAlternatives("Receipt 17", text, to=["ann@example.com"])
        message.attach_alternative(f"<p>{text}</p>", "text/html")
        return with_options(message, idempotency_key="receipt-17")

    first, second, other = receipt("Thank you."), receipt("Thank you."), receipt("Thanks.")
    assert (first.send(), second.send()) == (1, 1)
    assert submissions(first)[0].id == submissions(second)[0].id
    assert submissions(second)[0].repeated
    with raises(IdempotencyConflict):
        other.send()
    assert len(queued()) == 1
    with suppress(ShopError), transaction.atomic():
        with_options(EmailMessage("A", "A", to=["a@example.com"]), idempotency_key="a").send()
        raise ShopError
    with_options(EmailMessage("B", "B", to=["a@example.com"]), idempotency_key="a").send()  # the key is free again
    assert len(queued()) == 2


# processes, threads, event loops


def case_a_process_has_one_queue() -> None:
    def send(number: int) -> None:
        send_mail("Hello", "Hello.", None, [f"{number}@example.com"])
        connection.close()

    app().close()
    threads = [threading.Thread(target=send, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(queued()) == 8
    assert EmailBackend().queue is EmailBackend().queue
    assert [slot.queue for slot in app()._slots.values()] == [EmailBackend().queue]


def case_a_forked_process_opens_its_own() -> None:
    send_mail("Hello", "Hello.", None, ["parent@example.com"])
    mine = EmailBackend().queue
    connection.close()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with transaction.atomic():
                buy("child@example.com")
            send_mail("Hello", "Hello.", None, ["child2@example.com"])
            assert EmailBackend().queue is not mine
            app().close()
            status = 0
        except BaseException:  # noqa: BLE001 - the status says it
            traceback.print_exc()
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert EmailBackend().queue is mine
    send_mail("Hello", "Hello.", None, ["parent2@example.com"])
    everyone = ["child2@example.com", "child@example.com", "parent2@example.com", "parent@example.com"]
    assert recipients() == everyone


def case_asynchronous_views() -> None:
    @sync_to_async
    def rolled_back() -> None:
        with suppress(ShopError), transaction.atomic():
            buy("bob@example.com")
            raise ShopError
        connection.close()  # this thread's

    async def main() -> None:
        assert await sync_to_async(send_mail)("Hello", "Hello.", None, ["ann@example.com"]) == 1
        await rolled_back()

    asyncio.run(main())
    assert recipients() == ["ann@example.com"]
    assert Client().get("/async/carol@example.com").content == b"1"
    assert recipients() == ["ann@example.com", "carol@example.com"]


# settings


def case_options_of_a_backend_override_the_setting() -> None:
    EmailBackend(account="other").send_messages([EmailMessage("Hello", "Hello.", to=["ann@example.com"])])
    assert [message.account for message in queued()] == ["other"]
    other = EmailBackend(queue=str(Path("own2.db").resolve()))
    other.send_messages([EmailMessage("Hello", "Hello.", to=["bob@example.com"])])
    assert recipients() == ["ann@example.com"]
    assert [message.recipient for message in other.queue.list_messages().items] == ["bob@example.com"]
    if not SQLITE:
        third = EmailBackend(database="default", schema="third")
        third.send_messages([EmailMessage("Hello", "Hello.", to=["carol@example.com"])])
        assert [message.recipient for message in third.queue.list_messages().items] == ["carol@example.com"]


def case_options_may_stand_in_mailers() -> None:
    if django.VERSION < (6, 1):
        return
    options = {"account": "news", "fail_silently": True}
    mailers = {"default": settings.MAILERS["default"], "news": settings.MAILERS["default"] | {"OPTIONS": options}}
    with override_settings(MAILERS=mailers), logged():
        assert EmailMessage("Hello", "Hello.", to=["ann@example.com"]).send(using="news") == 1
        assert EmailMessage("Hello", "Hello.", to=["no address"]).send(using="news") == 0
    assert [message.account for message in queued()] == ["news"]
    mailers["news"] = settings.MAILERS["default"] | {"OPTIONS": {"host": "localhost"}}
    with override_settings(MAILERS=mailers), raises(ImproperlyConfigured, "no option 'host'"):
        EmailMessage("Hello", "Hello.", to=["ann@example.com"]).send(using="news")


def case_djangos_own_server_delivers_by_default() -> None:
    if django.VERSION >= (6, 1):
        with raises(ImproperlyConfigured, "MOXLIB['transports'] must say what delivers"):
            transports_of_settings()
        return
    plain = cast("SMTPTransport", transports_of_settings()["smtp"])
    assert (plain.host, plain.port, plain.security) == ("localhost", 25, "none")
    with override_settings(EMAIL_HOST="smtp.example", EMAIL_PORT=587, EMAIL_USE_TLS=True):
        started = cast("SMTPTransport", transports_of_settings()["smtp"])
    assert (started.host, started.port, started.security) == ("smtp.example", 587, "verified")
    assert not isinstance(started, SubmissionsTransport)
    with override_settings(EMAIL_PORT=465, EMAIL_USE_SSL=True, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="sesame"):
        assert isinstance(transports_of_settings()["smtp"], SubmissionsTransport)
    both = override_settings(EMAIL_USE_TLS=True, EMAIL_USE_SSL=True)
    with both, raises(ImproperlyConfigured, "exclude each other"):
        transports_of_settings()


def case_a_changed_setting_closes_the_queue() -> None:
    first = EmailBackend().queue
    with override_settings(MOXLIB={"config": "tests.integration.django_project.cases.small"}):
        second = EmailBackend().queue
        assert second is not first
        assert second.config.max_message_size == 1000
        with raises(InputError, "1000"):
            send_mail("Hello", "x" * 2000, None, ["ann@example.com"])
    assert EmailBackend().queue is not second


def small() -> object:
    return QueueConfig(max_message_size=1000)


def case_what_is_wrong_with_the_settings_is_said() -> None:
    wrong: list[tuple[Any, str]] = [
        ("mail.db", "the setting MOXLIB must be a dict, not str"),
        ({"que": "mail.db"}, "unknown key, 'que'; there are queue, database, schema, account"),
        ({"queue": 17}, "MOXLIB['queue'] must be a path or a postgresql:// URL, not 17"),
        ({"database": "mail"}, "MOXLIB['database'] is 'mail'; DATABASES has 'default', 'other', 'empty'"),
        ({"database": None}, "without a 'database', 'queue' must say where the queue is"),
        ({"queue": "mysql://localhost/mail"}, "not at mysql://"),
        ({"queue": "mail.db", "schema": "mail"}, "are for PostgreSQL"),
        ({"config": "nowhere.config"}, "nowhere.config, which MOXLIB['config'] names, cannot be imported"),
        ({"config": {}}, "MOXLIB['config'] is or makes a dict, not a QueueConfig"),
        ({"transports": "tests.integration.django_project.cases.orders"}, "not a Mapping"),
    ]
    for setting, text in wrong:
        with override_settings(MOXLIB=setting):
            with raises(Exception, text):
                call_command("check", stdout=io.StringIO())
            if "transports" in setting:
                continue
            with raises(ImproperlyConfigured, text):
                send_mail("Hello", "Hello.", None, ["ann@example.com"])
    with raises(ImproperlyConfigured, "no option 'host'; there are queue"):
        EmailBackend(host="localhost")
    wanted = "'moxlib.contrib.django' must be in INSTALLED_APPS"
    without = override_settings(INSTALLED_APPS=["tests.integration.django_project.shop"])
    with without, raises(ImproperlyConfigured, wanted):
        send_mail("Hello", "Hello.", None, ["ann@example.com"])


def case_settings_that_are_right_pass_the_check() -> None:
    call_command("check", stdout=io.StringIO())


def case_a_queue_that_cannot_be_opened_is_an_error() -> None:
    Path("a-directory").mkdir(exist_ok=True)
    with override_settings(MOXLIB={"queue": "a-directory"}):
        with raises(StorageError, "not a file"):
            send_mail("Hello", "Hello.", None, ["ann@example.com"])
        with logged() as log:
            assert silently(EmailMessage("Hello", "Hello.", to=["ann@example.com"])) == 0
        assert "not a file" in log.getvalue()


def case_the_queue_explains() -> None:
    message = EmailMessage("Hello", "Hello.", to=["ann@example.com"])
    assert submissions(message) == ()
    message.send()
    assert "ann@example.com" in str(EmailBackend().queue.explain(submissions(message)[0].id))


CASES: dict[str, Callable[[], None]] = {
    name.removeprefix("case_"): case for name, case in globals().items() if name.startswith("case_")
}


def run(case: Callable[[], None]) -> str:
    """Return the traceback of a case; "" if it passed."""
    Order.objects.all().delete()
    EmailBackend().queue.drop(MessageFilter())
    try:
        case()
    except BaseException:  # noqa: BLE001 - it is reported
        return traceback.format_exc()
    finally:
        if connection.in_atomic_block or not connection.get_autocommit():
            connection.close()
    return ""
