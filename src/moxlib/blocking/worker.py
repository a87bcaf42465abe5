"""`Worker`: what `with queue.worker() as worker` yields."""

from typing import Final

from moxlib.blocking.facade import Facade, blocking, posting
from moxlib.blocking.portal import Portal
from moxlib.queue.worker import Worker as AsyncWorker

__all__ = ["Worker"]


class Worker(Facade[AsyncWorker]):
    """Delivers a queue's messages in the queue's own thread; usable from any other."""

    def __init__(self, portal: Portal, worker: AsyncWorker) -> None:
        self._portal = portal
        self._worker = worker

    @property
    def id(self) -> int:
        """The id under which it is registered now."""
        return self._worker.id

    wake: Final = posting(AsyncWorker.wake)
    wake_webhooks: Final = posting(AsyncWorker.wake_webhooks)
    stop: Final = posting(AsyncWorker.stop)
    ended: Final = blocking(AsyncWorker.ended)
    wait_idle: Final = blocking(AsyncWorker.wait_idle)

    def _reach(self) -> tuple[Portal, AsyncWorker]:
        return self._portal, self._worker
