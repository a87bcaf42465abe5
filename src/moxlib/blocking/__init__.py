"""The queue for code that is not async, made from the async one: the same names, parameters and types, from any thread.

Queue.open(path)          as `moxlib.queue.Queue`; an event loop runs in a thread of its own while the queue is open
Worker                    what `with queue.worker() as worker` yields

What is passed in and comes out (messages, filters, configuration, transports, errors) is that of `moxlib.queue`.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.blocking.queue import Queue
    from moxlib.blocking.worker import Worker

__all__ = ["Queue", "Worker"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(__name__, {"Queue": ".queue", "Worker": ".worker"})
