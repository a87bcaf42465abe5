"""SIGTERM and SIGINT as a request to stop, for as long as a worker runs in the main thread."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_on_signals"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(action: Callable[[], None]) -> Iterator[None]:
    """Call `action` in the running event loop when the process is asked to stop, until the block ends.

    Handlers set by `signal.signal` are put back then. Where the event loop cannot handle signals (not the main thread,
    or Windows), nothing changes.
    """
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    handled = [number for number in STOP_SIGNALS if _handle(loop, number, action)]
    try:
        yield
    finally:
        for number in handled:
            loop.remove_signal_handler(number)
            if before[number] is not None:  # None: set by something other than Python
                signal.signal(number, before[number])


def _handle(loop: asyncio.AbstractEventLoop, number: int, action: Callable[[], None]) -> bool:
    try:
        loop.add_signal_handler(number, action)
    except (NotImplementedError, RuntimeError, ValueError):
        return False
    return True
