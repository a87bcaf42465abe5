"""`Queue`: the facade over storage, intake and worker."""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random
from types import TracebackType
from typing import Any, Self

from moxlib._clock import Clock, SystemClock
from moxlib.errors import InputError, StateError
from moxlib.queue import hold
from moxlib.queue.allowance import AllowanceMethods
from moxlib.queue.config import QueueConfig
from moxlib.queue.dsn_request import DSNRequest
from moxlib.queue.errors import QueueClosed, UnknownTransport
from moxlib.queue.events import EventFeed, EventMethods
from moxlib.queue.explain import Explanation, explain_message
from moxlib.queue.incoming import IncomingMethods
from moxlib.queue.intake import Entropy, MessageSource, prepare
from moxlib.queue.looking import LookMethods
from moxlib.queue.observer import NullObserver, Observer
from moxlib.queue.operating import OperatorMethods
from moxlib.queue.schedule import RetrySchedule
from moxlib.queue.sending import SendingLimits
from moxlib.queue.storage.base import RunBlocking, Storage
from moxlib.queue.storage.content import ContentWriter, Spool
from moxlib.queue.storage.opening import storage_for
from moxlib.queue.storage.sqlite.storage import Transactions
from moxlib.queue.submission import NewSubmission, Submission
from moxlib.queue.submit_options import Options
from moxlib.queue.suppressions import SuppressionMethods
from moxlib.queue.transport.base import Transport
from moxlib.queue.types import RequireTLS
from moxlib.queue.webhooks import WebhookMethods
from moxlib.queue.worker import Worker
from moxlib.queue.worker.group import task_group
from moxlib.queue.worker.hooks import MakesCalls
from moxlib.queue.worker.signals import stop_on_signals

__all__ = ["Queue"]

log: logging.Logger = logging.getLogger("moxlib.queue")

TOKEN_BYTES = 15  # of randomness in an added Message-ID: 20 characters of base64url


class Queue(
    LookMethods,
    OperatorMethods,
    SuppressionMethods,
    IncomingMethods,
    EventMethods,
    WebhookMethods,
    AllowanceMethods,
):
    """A durable outgoing mail queue.

        async with Queue.open("var/mail.db", transports={"relay": transport}) as queue:
            async with queue.worker():
                [submission] = await queue.submit(message)

    Use it inside one event loop at a time; several queues, several loops one after another, and several processes on
    one file all work. Everything that changes the queue is durable when its call returns.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        transports: Mapping[str, Transport] | None = None,
        config: QueueConfig | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
        random: Random | None = None,
        token: Callable[[], str] | None = None,
        random_octets: Callable[[int], bytes] | None = None,
        webhook_caller: MakesCalls | None = None,
    ) -> None:
        self._storage = storage
        self._transports = dict(transports or {})
        self._config = config or QueueConfig()
        self._clock: Clock = clock or SystemClock()
        self._observer: Observer = observer or NullObserver()
        self._random = random or Random()
        self._entropy = Entropy(token=token or _random_token, octets=random_octets or secrets.token_bytes)
        self._webhook_caller = webhook_caller
        self._workers: set[Worker] = set()
        self._feed = EventFeed(storage)
        self._open = False
        for name, transport in self._transports.items():
            if not isinstance(transport, Transport):
                raise InputError(f"transport {name!r} has no method deliver()")

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        transports: Mapping[str, Transport] | None = None,
        config: QueueConfig | None = None,
        clock: Clock | None = None,
        observer: Observer | None = None,
        random: Random | None = None,
        token: Callable[[], str] | None = None,
        random_octets: Callable[[int], bytes] | None = None,
        webhook_caller: MakesCalls | None = None,
        transactions: Transactions | None = None,
        schema: str | None = None,
        connections: int | None = None,
    ) -> Self:
        """Return the queue in an SQLite file or a PostgreSQL database; `async with` opens it, and creates its tables.

        Args:
            path: the database file, or `postgresql://...`. Beside a file lie SQLite's own files and, for large content,
                `<path>.content/`.
            transports: what delivers, by the names that routes and messages use. A process that only submits needs
                none.
            config: schedules, limits, retention, routes.
            clock: what the time is taken from.
            observer: hears of submissions and attempts, for metrics.
            random: spreads the waits between attempts.
            token: makes the left-hand side of Message-IDs that are added, and envelope identifiers.
            random_octets: makes fromids, as `secrets.token_bytes`, which is the default.
            webhook_caller: sends webhooks; by default, each worker has a `moxlib.queue.hooks.HookCaller`. One that is
                given serves one worker at a time.
            transactions: SQLite's: "thread" (the default) runs them in a writer thread; "loop" in the event loop, with
                a thread for commits alone, which is faster in a process that only delivers, and stalls the loop for
                some milliseconds at a time.
            schema: PostgreSQL's: in which schema of the database the queue lies; "moxlib" by default.
            connections: PostgreSQL's: how many to use at most, one for listening aside; 4 by default, 2 at least.

        Raises:
            InputError: a URL that no engine knows, or an option of the other engine.
            MissingExtra: `postgres` is not installed.
        """
        return cls(
            storage_for(path, transactions=transactions, schema=schema, connections=connections),
            transports=transports,
            config=config,
            clock=clock,
            observer=observer,
            random=random,
            token=token,
            random_octets=random_octets,
            webhook_caller=webhook_caller,
        )

    @property
    def config(self) -> QueueConfig:
        """The configuration it was opened with."""
        return self._config

    async def __aenter__(self) -> Self:
        """Open the storage.

        Raises:
            SchemaTooNew, StorageReadOnly, StorageDamaged, StorageFull, StorageBusy: as their names say.
        """
        if self._open:
            raise StateError("the queue is open already")
        await self._storage.open(self._clock.now())
        self._open = True
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the storage; what was accepted is durable already."""
        await self.close()

    async def close(self) -> None:
        """Close the storage. Idempotent.

        Raises:
            StateError: a worker is still running.
        """
        if self._workers:
            raise StateError("a worker of this queue is still running")
        self._open = False
        await self._feed.stop()
        await self._storage.close()

    # submit

    async def submit(  # noqa: PLR0913 - options by keyword; each is a fact about this one message
        self,
        message: MessageSource,
        *,
        account: str = "",
        sender: str | None = None,
        recipients: str | Sequence[str] | None = None,
        extra: Mapping[str, str] | None = None,
        schedule: str | RetrySchedule | None = None,
        max_attempts: int | None = None,
        transport: str | None = None,
        require_tls: RequireTLS | None = None,
        not_before: datetime | None = None,
        idempotency_key: str | None = None,
        idempotency_digest: bytes | None = None,
        dsn: DSNRequest | None = None,
        is_report: bool = False,
        login: str | None = None,
        fromid: bool | str | None = None,
        keep_doubles: bool = False,
        limits: SendingLimits | None = None,
        connection: object | None = None,
    ) -> tuple[Submission, ...]:
        """Put a message into the queue for one or many recipients. When this returns, it is on disk.

        With `connection`, it is part of that connection's transaction instead: it is queued, durably, when the caller
        commits, and nothing of it is left when the caller rolls back. Nothing is committed here.

        Cancelled while it waits for the disk, the message may have been stored all the same.

        Args:
            message: an `EmailMessage`, its bytes (every line ended by CRLF), a path, or an open binary file. Files are
                streamed; memory does not grow with their size.
            account: whose message it is: hold rules, schedules, history and limits go by it.
            sender: MAIL FROM; "" for the null reverse-path; None takes Sender or From of the header.
            recipients: RCPT TO; None takes To, Cc and Bcc of the header, and then leaves Bcc out of what is sent (an
                `EmailMessage`'s Bcc always is). Doubles are left out, unless `keep_doubles` is set.
            extra: strings that come back with everything that is told of the message.
            schedule: the waits between attempts as text, or the name of one of `QueueConfig.schedules`.
            max_attempts: attempts at most; by default as many as its schedule has.
            transport: deliver by this one, whatever the routes say.
            require_tls: what it asks of TLS; None: `TLS-Required: No` in the header counts, else policy.
            not_before: no attempt before this time, at most 60 days ahead.
            idempotency_key: submitted again under the same key by the same account, the same message is queued once:
                the first receipts come back, with `repeated` set. Kept for `QueueConfig.keep_idempotency_keys`.
            idempotency_digest: what makes two messages the same under that key, for programs that compose anew each
                time (with another date, or signature): a digest of all that they compose from. None: the message.
            dsn: when a notification of its delivery or failure is wanted, and what it has to say (RFC 3461). Each
                message has an envelope identifier, of its own or from here.
            is_report: it is a DMARC or TLS report, of whose own delivery none is made: it does not travel in clear
                because TLS failed, and the observer hears nothing of its TLS.
            login: the address that the submitter logged in with: by it, `QueueConfig.fromids` may want fromids.
            fromid: whether each recipient gets a MAIL FROM of its own, `sender` with a random text behind a separator,
                by which a bounce says whose it is. None: by `login`. A text: there is one in `sender` already, this
                one, and one recipient.
            keep_doubles: who is named twice gets it twice.
            limits: how much the account may send in a day, with this message. It is counted in the same transaction,
                over all processes, among what was submitted with limits. (Of other connections' transactions, what is
                committed.) None: nothing is counted.
            connection: a connection to the queue's own database in whose transaction to do it: `sqlite3.Connection`
                (used in this thread), `psycopg.Connection`, `psycopg.AsyncConnection`, aiosqlite's, or a session or
                connection of SQLAlchemy on one of these. Workers see the message after the commit; the observer does
                not hear of it.

        Returns:
            One receipt for each recipient, in order, with the address in its ASCII form.

        Raises:
            InvalidSubmission, InvalidAddress, InvalidMessage, InvalidSchedule, UnknownTransport: something given is
                wrong; the text says what and where.
            MessageTooLarge, TooManyRecipients: over the limits of the configuration.
            IdempotencyConflict: another message was submitted under the key.
            MessageLimitReached, RecipientLimitReached: over `limits`.
            InvalidFromID: the sender can have no fromid; or the one given is used, or for several recipients.
            InvalidConnection: a connection of another kind, to another database, or without a transaction.
            StorageFull, StorageBusy, StorageError: it could not be stored. In all cases nothing was.
            StorageUnavailable: the database server cannot be reached; see there for when it may have been stored.
        """
        return await self._submit(
            message,
            account=account,
            sender=sender,
            recipients=recipients,
            extra=extra,
            schedule=schedule,
            max_attempts=max_attempts,
            transport=transport,
            require_tls=require_tls,
            not_before=not_before,
            idempotency_key=idempotency_key,
            idempotency_digest=idempotency_digest,
            dsn=dsn,
            is_report=is_report,
            login=login,
            fromid=fromid,
            keep_doubles=keep_doubles,
            limits=limits,
            connection=connection,
        )

    async def _submit(
        self,
        message: MessageSource,
        *,
        recipients: str | Sequence[str] | None = None,
        connection: object | None = None,
        run: RunBlocking | None = None,
        **asked: Any,
    ) -> tuple[Submission, ...]:
        """Do what `submit` does; `run` runs what blocks on `connection` in the thread it belongs to."""
        self._check_open()
        options = Options(recipients=(recipients,) if isinstance(recipients, str) else recipients, **asked)
        self._check_transport(options.transport)
        config = self._config
        # A rolled back transaction must leave no file.
        place = self._storage.content_place if connection is None else Spool()
        with ContentWriter(place, inline_max=config.inline_content, max_size=config.max_message_size) as writer:
            new = await prepare(
                message, options, config=config, writer=writer, now=self._clock.now(), random=self._entropy
            )
            if connection is not None:
                return await self._storage.insert_within(connection, new, run=run)
            receipts = await self._insert(new, writer)
        if not receipts[0].repeated:
            self._submitted(new, receipts)
        return receipts

    def _submitted(self, new: NewSubmission, receipts: tuple[Submission, ...]) -> None:
        for worker in self._workers:
            worker.wake()
        try:
            self._observer.submitted(new, receipts)
        except Exception:
            log.exception("the observer raised")

    async def _insert(self, new: NewSubmission, writer: ContentWriter) -> tuple[Submission, ...]:
        if new.content.body is not None:
            return await self._storage.insert(new)
        inserting = asyncio.ensure_future(self._storage.insert(new))
        try:
            return await asyncio.shield(inserting)
        except asyncio.CancelledError:
            writer.hand_over(inserting)  # it still happens: until then the file must be there, safe from a sweep
            raise

    # work

    async def preview(
        self,
        message: MessageSource,
        *,
        account: str = "",
        sender: str | None = None,
        recipients: str | Sequence[str] | None = None,
        schedule: str | RetrySchedule | None = None,
        max_attempts: int | None = None,
        transport: str | None = None,
        require_tls: RequireTLS | None = None,
        not_before: datetime | None = None,
        dsn: DSNRequest | None = None,
    ) -> tuple[Explanation, ...]:
        """Say what `submit` with the same arguments would do, and why, without doing it: one for each recipient.

        Each is of a message with the id 0: when it would be attempted, by which transport, what would hold it, and
        whether its recipient is suppressed. Nothing is stored; everything is checked as `submit` checks it.

        Raises:
            MoxlibError: what `submit` would raise for the message and its options.
        """
        self._check_open()
        given = (recipients,) if isinstance(recipients, str) else recipients
        self._check_transport(transport)
        asked = Options(
            recipients=given,
            account=account,
            sender=sender,
            schedule=schedule,
            max_attempts=max_attempts,
            transport=transport,
            require_tls=require_tls,
            not_before=not_before,
            dsn=dsn,
        )
        config, now = self._config, self._clock.now()
        with ContentWriter(Spool(), inline_max=config.inline_content, max_size=config.max_message_size) as writer:
            new = await prepare(message, asked, config=config, writer=writer, now=now, random=self._entropy)
        rules = await self._storage.hold_rules()
        explained: list[Explanation] = []
        for recipient in new.recipients:
            domains = {"sender_domain": new.sender_domain, "recipient_domain": recipient.domain}
            held = hold.first_match(rules, account=account, **domains) is not None
            explained.append(
                explain_message(
                    new.message(recipient, id_=0, base_id=0, hold=held),
                    rules=rules,
                    config=config,
                    transports=self._transports,
                    now=now,
                    suppression=await self._storage.suppression(account, recipient.base_address),
                )
            )
        return tuple(explained)

    @asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """Deliver in the background until the block ends; then drain: attempts under way finish, the rest stays queued.

        Webhooks are sent, too, if the configuration has any.

        Raises:
            MissingExtra: there are webhooks, and aiohttp is not installed (extra: http).
            Exception: what ended the worker, should something unforeseen do so.
        """
        self._check_open()
        worker = Worker(
            self._storage,
            self._transports,
            config=self._config,
            clock=self._clock,
            observer=self._observer,
            random=self._random,
            token=self._entropy.token,
            caller=self._webhook_caller,
            logged=self._feed.wake,
        )
        async with task_group() as group:
            self._workers.add(worker)
            running = group.create_task(worker.run(), name="moxlib worker")
            running.add_done_callback(lambda _: self._workers.discard(worker))
            ready = group.create_task(worker.ready())
            await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            try:
                yield worker
            finally:
                worker.stop()
                await asyncio.wait([running])

    async def run_worker(self) -> None:
        """Deliver until SIGTERM or SIGINT, or until cancelled; then drain as `worker()` does, and return (or raise).

        Signals are handled where the event loop can (the main thread, not Windows); handlers set by `signal.signal` are
        put back at the end.
        """
        stopped = asyncio.Event()
        with stop_on_signals(stopped.set):
            async with self.worker() as worker:
                ended = asyncio.create_task(worker.ended())
                waiting = asyncio.create_task(stopped.wait())
                try:
                    await asyncio.wait([ended, waiting], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    ended.cancel()
                    waiting.cancel()

    # checks

    def _logged(self) -> None:
        self._feed.wake()
        self._wake_webhooks()

    def _wake_webhooks(self) -> None:
        for worker in self._workers:
            worker.wake_webhooks()

    def _woken(self, changed: int) -> int:
        for worker in self._workers:
            worker.wake()
        return changed

    def _check_open(self) -> None:
        if not self._open:
            raise QueueClosed("the queue is not open: use it inside `async with`")

    def _check_transport(self, name: str | None) -> None:
        if name is not None and self._transports and name not in self._transports:
            raise UnknownTransport(name, tuple(self._transports))


def _random_token() -> str:
    return secrets.token_urlsafe(TOKEN_BYTES)
