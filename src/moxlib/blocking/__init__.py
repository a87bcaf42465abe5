"""The queue and the webapi's client for code that is not async: the same names, parameters and types, in any thread.

Queue.open(path)          as `moxlib.queue.Queue`; an event loop runs in a thread of its own while the queue is open
Worker                    what `with queue.worker() as worker` yields
Client(base_url, ...)     as `moxlib.webapi.Client`; ByteStream is what its `message_raw_get` and others yield

What is passed in and comes out (messages, filters, configuration, transports, errors) is that of `moxlib.queue`, or
of `moxlib.webapi`.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.blocking.client import ByteStream, Client
    from moxlib.blocking.queue import Queue
    from moxlib.blocking.worker import Worker

__all__ = ["ByteStream", "Client", "Queue", "Worker"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__, {"ByteStream": ".client", "Client": ".client", "Queue": ".queue", "Worker": ".worker"}
    )
