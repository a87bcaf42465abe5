"""A project's own tests, run by Django's runner: what a queue is to them."""

from contextlib import suppress
from typing import Any

import django
import pytest
from django.apps import apps
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail
from django.db import connection, transaction
from django.test import TestCase, TransactionTestCase, override_settings
from tests.integration.django_project.shop.models import Order

from moxlib.contrib.django import EmailBackend
from moxlib.queue import MessageFilter

BACKEND = "moxlib.contrib.django.EmailBackend"
BY_SETTING: dict[str, Any] = (
    {"EMAIL_BACKEND": BACKEND} if django.VERSION < (6, 1) else {"MAILERS": {"default": {"BACKEND": BACKEND}}}
)


def in_memory() -> bool:
    return connection.vendor == "sqlite" and connection.is_in_memory_db()  # type: ignore[attr-defined]


def confirm() -> int:
    Order.objects.create(customer="ann@example.com")
    return send_mail("Hello", "Hello.", None, ["ann@example.com"])


class OutboxTest(TestCase):
    """By default, Django puts mail into a list, whatever the settings say."""

    databases = "__all__"

    def test_mail_is_in_the_outbox(self) -> None:
        assert confirm() == 1
        assert [message.to for message in mail.outbox] == [["ann@example.com"]]


@override_settings(**BY_SETTING)
class QueueInTestCase(TestCase):
    """`TestCase` runs a test in a transaction that it rolls back: nobody else ever sees the mail."""

    def test_mail_is_part_of_the_transaction_around_the_test(self) -> None:
        if in_memory():
            with pytest.raises(ImproperlyConfigured, match="is in memory, where no queue can be"):
                confirm()
            return
        assert confirm() == 1
        assert EmailBackend().queue.count_messages() == 0


@override_settings(**BY_SETTING)
class QueueInTransactionTestCase(TransactionTestCase):
    """`TransactionTestCase` commits, and flushes the project's tables afterwards, but not the queue's."""

    def setUp(self) -> None:
        if in_memory():
            self.skipTest("there is no queue")
        EmailBackend().queue.drop(MessageFilter())

    def test_mail_is_queued(self) -> None:
        with transaction.atomic():
            confirm()
        with suppress(ZeroDivisionError), transaction.atomic():
            confirm()
            raise ZeroDivisionError
        assert EmailBackend().queue.count_messages() == 1

    def test_it_is_queued_again(self) -> None:
        self.test_mail_is_queued()

    def test_tables_were_created_by_migrate(self) -> None:
        apps.get_app_config("moxlib").close()  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT count(*) FROM {'' if connection.vendor == 'sqlite' else 'moxlib.'}moxlib_message")
