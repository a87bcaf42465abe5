"""One call for all who ask for the same at the same time."""

import asyncio
from collections.abc import Coroutine, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

__all__ = ["SharedCalls"]

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@dataclass(slots=True)
class _Call(Generic[V]):
    task: "asyncio.Task[V]"
    waiting: int = 0


class SharedCalls(Generic[K, V]):
    """Runs what is asked for under a key once, while it lasts, and gives everyone its result, or its error.

    Who is cancelled leaves the others theirs; when nobody is left, the call is cancelled.
    """

    def __init__(self) -> None:
        self._running: dict[K, _Call[V]] = {}

    async def run(self, key: K, call: Coroutine[Any, Any, V]) -> V:
        """Return the result of `call`, or of the one under way; `call` is closed then, and never begins.

        Raises:
            Exception: what the call raises, for everyone.
        """
        running = self._running.get(key)
        if running is None:
            task = asyncio.get_running_loop().create_task(call)
            running = self._running[key] = _Call(task)
            task.add_done_callback(lambda done: self._forget(key, done))
        else:
            call.close()
        running.waiting += 1
        try:
            return await asyncio.shield(running.task)
        finally:
            running.waiting -= 1
            if not running.waiting and not running.task.done():
                running.task.cancel()
                self._running.pop(key, None)  # who comes now does not want to be cancelled with it

    def _forget(self, key: K, done: "asyncio.Task[V]") -> None:
        running = self._running.get(key)
        if running is not None and running.task is done:
            del self._running[key]
        if not done.cancelled():
            done.exception()  # looked at, whoever is told of it
