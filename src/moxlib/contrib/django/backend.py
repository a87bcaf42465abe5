"""`EmailBackend`: Django's mail into a queue, in the surrounding transaction where it can be."""

import logging
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, TypeVar

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.core.mail.backends.base import BaseEmailBackend
from typing_extensions import Unpack

from moxlib.blocking import Queue
from moxlib.contrib.django.apps import LABEL, MoxlibConfig
from moxlib.contrib.django.database import find, surrounding
from moxlib.contrib.django.options import Options
from moxlib.errors import MoxlibError
from moxlib.message import split_addresses
from moxlib.queue.errors import InvalidConnection, InvalidSubmission
from moxlib.queue.schedule import RetrySchedule
from moxlib.queue.submission import Submission
from moxlib.queue.types import RequireTLS

__all__ = ["EmailBackend", "SubmitOptions", "submissions", "with_options"]

M = TypeVar("M", bound=EmailMessage)

log: logging.Logger = logging.getLogger("moxlib.contrib.django")

OF_DJANGO = frozenset({"alias", "_ignore_unknown_kwargs", "username", "password"})
"""Arguments that Django passes to any backend: its alias in MAILERS; a login, which a queue has no use for."""


class SubmitOptions(TypedDict, total=False):
    """What one message may ask of the queue; each is a parameter of `Queue.submit`, and said there."""

    account: str
    extra: Mapping[str, str]
    schedule: str | RetrySchedule
    max_attempts: int
    transport: str
    require_tls: RequireTLS
    not_before: datetime
    idempotency_key: str


def with_options(message: M, **options: Unpack[SubmitOptions]) -> M:
    """Say what a message asks of the queue, and return it.

        with_options(message, idempotency_key=f"receipt-{order.pk}", extra={"order": str(order.pk)}).send()

    The options are kept in the message's attribute `moxlib`, a dict, where tests find them. Other backends pay no
    attention to it.

    Raises:
        TypeError: an option that there is not.
    """
    _check_known(options)
    message.moxlib = {**getattr(message, "moxlib", {}), **options}  # type: ignore[attr-defined]
    return message


def submissions(message: EmailMessage) -> tuple[Submission, ...]:
    """Return the queue's receipts for a message that was sent: one for each recipient, in order; none before."""
    receipts: tuple[Submission, ...] = getattr(message, "moxlib_submissions", ())
    return receipts


class EmailBackend(BaseEmailBackend):
    """Django's e-mail backend on a queue: `send_mail()` returns when the mail is on disk, and a worker delivers it.

    Inside `transaction.atomic()` on the database that the queue is in, the mail is part of the transaction: it is sent
    if that commits, and gone without a trace if it, or the savepoint, is rolled back. Everywhere else it is committed
    at once.

    The envelope is Django's: `from_email`, and `recipients()` with those of Bcc, which is in no header that is sent.

    Args:
        fail_silently: log what the queue refuses instead of raising it. What is wrong with the settings is raised.
        queue: instead of what the setting `MOXLIB` says, a path or `postgresql://...`;
        database: or the alias of a Django database.
        schema: instead of the setting's.
        account: instead of the setting's.
        django: what Django passes to any backend.

    Raises:
        ImproperlyConfigured: an unknown option, or one that cannot be, here or in the settings.
    """

    def __init__(
        self,
        fail_silently: bool = False,
        *,
        queue: str | os.PathLike[str] | None = None,
        database: str | None = None,
        schema: str | None = None,
        account: str | None = None,
        **django: Any,
    ) -> None:
        unknown = sorted(django.keys() - OF_DJANGO - set(django.get("_ignore_unknown_kwargs") or ()))
        if unknown:
            text = f"moxlib's e-mail backend has no option {unknown[0]!r}; there are queue, database, schema, account"
            raise ImproperlyConfigured(text)
        super().__init__(**django)
        self.fail_silently = fail_silently
        self._options = Options.read(queue=queue, database=database, schema=schema, account=account)

    @property
    def queue(self) -> Queue:
        """The queue that it submits to, open, shared by all of the process: to explain, list, hold or drop messages.

        Raises:
            ImproperlyConfigured: the database cannot hold a queue, or the app is not installed.
            StorageError: it cannot be opened.
        """
        return _app().queue(find(self._options), self._options)

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Queue messages; return how many were. One without recipients is not.

        Raises:
            InputError: the queue refuses one of them; those before it are queued.
            InvalidConnection: it cannot join the surrounding transaction; also if it should fail silently.
            StorageError: one could not be stored.
            TransactionManagementError: the surrounding transaction can only be rolled back.
        """
        if not email_messages:
            return 0
        app = _app()
        return sum(self._sent(app, message) for message in email_messages)

    def _sent(self, app: MoxlibConfig, message: EmailMessage) -> bool:
        to = [found for text in message.recipients() for found in split_addresses(str(text))]
        if not to:
            return False
        asked: dict[str, Any] = {"account": self._options.account, **getattr(message, "moxlib", {})}
        _check_known(asked)
        content, sender, place = message.message(), _sender(message), find(self._options)
        connection = None if place.alias is None else surrounding(place.alias)
        try:
            queue = app.queue(place, self._options, within=connection)
            receipts = queue.submit(content, sender=sender, recipients=to, connection=connection, **asked)
        except InvalidConnection:
            raise  # it is the settings that are wrong, or what was done in the transaction before
        except MoxlibError as error:
            if not self.fail_silently:
                raise
            log.warning("a message was not queued: %s", error)
            return False
        message.moxlib_submissions = receipts  # type: ignore[attr-defined]
        return True


def _app() -> MoxlibConfig:
    try:
        app = apps.get_app_config(LABEL)
    except LookupError:
        app = None
    if not isinstance(app, MoxlibConfig):
        raise ImproperlyConfigured("'moxlib.contrib.django' must be in INSTALLED_APPS: the open queue is kept there")
    return app


def _check_known(options: Mapping[str, Any]) -> None:
    unknown = sorted(options.keys() - SubmitOptions.__annotations__.keys())
    if unknown:
        raise TypeError(f"a message has no option {unknown[0]!r}; there are {', '.join(SubmitOptions.__annotations__)}")


def _sender(message: EmailMessage) -> str:
    found = split_addresses(str(message.from_email))
    if not found:
        raise InvalidSubmission("the message has no sender: from_email is empty")
    return found[0]
