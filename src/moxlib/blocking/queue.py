"""`Queue`: the async queue, behind a portal."""

from collections.abc import Callable
from functools import wraps
from types import MethodType, TracebackType
from typing import Concatenate, Final, Generic, ParamSpec, Self, TypeVar, cast

from moxlib.blocking.call import Holding
from moxlib.blocking.facade import blocking, bouncing, holding, iterating, told
from moxlib.blocking.opened import Opened
from moxlib.blocking.portal import Portal
from moxlib.blocking.signals import stop_on_signals
from moxlib.blocking.worker import Worker
from moxlib.queue.config import QueueConfig
from moxlib.queue.errors import QueueClosed
from moxlib.queue.queue import Queue as AsyncQueue

__all__ = ["Queue"]

P = ParamSpec("P")
Q = TypeVar("Q", bound="Queue")


def _nothing(_portal: Portal, _value: None) -> None:
    """Cover nothing."""


class _Opening(Generic[P]):
    """What type checkers see of `Queue.open`: a class method with the parameters of the async one."""

    def __get__(self, instance: object, owner: type[Q]) -> Callable[P, Q]:
        raise NotImplementedError


def _opening(method: Callable[P, AsyncQueue]) -> _Opening[P]:
    """Return the class method that stands before one that makes an async queue."""

    @told
    @wraps(cast("MethodType", method).__func__)
    def make(cls: "type[Queue]", /, *args: P.args, **kwargs: P.kwargs) -> "Queue":
        queue = cls.__new__(cls)
        queue._stand_before(method(*args, **kwargs))  # noqa: SLF001 - this becomes the class's own method
        return queue

    return cast("_Opening[P]", classmethod(make))


def _constructor(
    class_: Callable[P, AsyncQueue],
) -> "Callable[[Callable[[Queue, AsyncQueue], None]], Callable[Concatenate[Queue, P], None]]":
    """Return a decorator: the constructor takes the parameters of the async queue's, and is called with one."""

    def decorate(init: "Callable[[Queue, AsyncQueue], None]") -> "Callable[Concatenate[Queue, P], None]":
        @wraps(cast("type[AsyncQueue]", class_).__init__)
        def construct(self: "Queue", /, *args: P.args, **kwargs: P.kwargs) -> None:
            init(self, class_(*args, **kwargs))

        return construct

    return decorate


class Queue(Opened[AsyncQueue]):
    """A durable outgoing mail queue, for code that is not async; as `moxlib.queue.Queue` in all else.

        with Queue.open("var/mail.db", transports={"relay": transport}) as queue:
            with queue.worker():
                [submission] = queue.submit(message)

    While it is open, an event loop runs in a thread of its own. There the queue works, and there transports, the
    observer and a schedule's functions are called. Every method may be called from any other thread, and blocks that
    one alone; in the loop's thread it raises `StateError`, for it would wait for itself. `KeyboardInterrupt` cancels
    what a thread waits for.

    A forked process cannot use a queue that was opened before the fork (`StateError`): open it in each process.

    If the interpreter exits while it is open, it is closed as by `close()`. So is one that nothing refers to any more,
    unless a worker of it runs.
    """

    _what = "queue"
    _closed_error = QueueClosed

    @_constructor(AsyncQueue)
    def __init__(self, queue: AsyncQueue) -> None:
        """Stand before an async queue."""
        self._stand_before(queue)

    open: Final = _opening(AsyncQueue.open)

    @property
    def config(self) -> QueueConfig:
        """The configuration it was opened with."""
        return self._behind.config

    # open and close

    def start(self) -> Self:
        """Open it without a `with` block, for a program whose framework has no place for one; return it.

        `close()` closes it, or else the end of the interpreter does.

        Raises:
            StateError: it is open already, or was opened before the process was forked.
            SchemaTooNew, StorageReadOnly, StorageDamaged, StorageFull, StorageBusy: as their names say.
        """
        self._open()
        return self

    def __enter__(self) -> Self:
        """Open it, as `start()` does."""
        return self.start()

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it, as `close()` does."""
        self.close()

    def close(self) -> None:
        """Close it, from any thread but the loop's. Idempotent; it may be opened again afterwards.

        Workers stop and drain: attempts under way finish, the rest stays queued. Calls under way in other threads get
        some seconds to end; what they have submitted is durable. Later calls raise `QueueClosed`.

        In a process forked from the one that opened it, nothing happens.

        Raises:
            StateError: called in the loop's own thread, by a transport or an observer.
        """
        self._close()

    # submit

    submit: Final = bouncing(AsyncQueue.submit, AsyncQueue._submit)  # noqa: SLF001 - its inner half, made for this

    # work

    worker: Final = holding(AsyncQueue.worker, Worker)

    def run_worker(self) -> None:
        """Deliver until SIGTERM or SIGINT, or until the queue is closed; then drain as `worker()` does, and return.

        Signals are handled where Python can, in the main thread; handlers are put back at the end. In other threads, it
        returns when another one calls `close()`.

        Raises:
            Exception: what ended the worker, should something unforeseen do so.
        """
        portal, queue = self._reach()
        holding_ = Holding(portal, queue.worker())
        with stop_on_signals(holding_.release), holding_:
            holding_.serve()

    # look

    get: Final = blocking(AsyncQueue.get)
    list_messages: Final = blocking(AsyncQueue.list_messages)
    count_messages: Final = blocking(AsyncQueue.count_messages)
    get_retired: Final = blocking(AsyncQueue.get_retired)
    list_history: Final = blocking(AsyncQueue.list_history)
    count_history: Final = blocking(AsyncQueue.count_history)
    explain: Final = blocking(AsyncQueue.explain)
    preview: Final = blocking(AsyncQueue.preview)
    dump: Final = iterating(AsyncQueue.dump)
    next_due: Final = blocking(AsyncQueue.next_due)

    # events

    list_events: Final = blocking(AsyncQueue.list_events)
    last_event: Final = blocking(AsyncQueue.last_event)
    events: Final = iterating(AsyncQueue.events)
    on_event: Final = holding(AsyncQueue.on_event, _nothing)

    # operate

    hold: Final = blocking(AsyncQueue.hold)
    release: Final = blocking(AsyncQueue.release)
    retry_now: Final = blocking(AsyncQueue.retry_now)
    reschedule: Final = blocking(AsyncQueue.reschedule)
    set_transport: Final = blocking(AsyncQueue.set_transport)
    set_require_tls: Final = blocking(AsyncQueue.set_require_tls)
    drop: Final = blocking(AsyncQueue.drop)
    fail: Final = blocking(AsyncQueue.fail)

    # hold rules

    hold_rules: Final = blocking(AsyncQueue.hold_rules)
    add_hold_rule: Final = blocking(AsyncQueue.add_hold_rule)
    remove_hold_rule: Final = blocking(AsyncQueue.remove_hold_rule)

    # suppressions

    suppression: Final = blocking(AsyncQueue.suppression)
    list_suppressions: Final = blocking(AsyncQueue.list_suppressions)
    numbered_suppressions: Final = blocking(AsyncQueue.numbered_suppressions)
    suppress: Final = blocking(AsyncQueue.suppress)
    unsuppress: Final = blocking(AsyncQueue.unsuppress)
    import_suppressions: Final = blocking(AsyncQueue.import_suppressions)
    export_suppressions: Final = iterating(AsyncQueue.export_suppressions)
    unsubscribe: Final = blocking(AsyncQueue.unsubscribe)

    # sending limits

    sent_in_a_day: Final = blocking(AsyncQueue.sent_in_a_day)
    check_sending_limits: Final = blocking(AsyncQueue.check_sending_limits)

    # incoming

    incoming: Final = blocking(AsyncQueue.incoming)

    # webhooks

    get_webhook: Final = blocking(AsyncQueue.get_webhook)
    list_webhooks: Final = blocking(AsyncQueue.list_webhooks)
    count_webhooks: Final = blocking(AsyncQueue.count_webhooks)
    get_retired_webhook: Final = blocking(AsyncQueue.get_retired_webhook)
    list_webhook_history: Final = blocking(AsyncQueue.list_webhook_history)
    count_webhook_history: Final = blocking(AsyncQueue.count_webhook_history)
    cancel_webhooks: Final = blocking(AsyncQueue.cancel_webhooks)
    retry_webhooks_now: Final = blocking(AsyncQueue.retry_webhooks_now)
    reschedule_webhooks: Final = blocking(AsyncQueue.reschedule_webhooks)
    replay_webhooks: Final = blocking(AsyncQueue.replay_webhooks)
    webhook_endpoints: Final = blocking(AsyncQueue.webhook_endpoints)
    enable_webhook: Final = blocking(AsyncQueue.enable_webhook)
