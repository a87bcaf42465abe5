"""SIGTERM and SIGINT as a request to stop, for a main thread that waits for a worker in another one."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["stop_on_signals"]

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def stop_on_signals(action: Callable[[], None]) -> Iterator[None]:
    """Call `action` when the process is asked to stop, until the block ends; then put the handlers back.

    Python runs handlers in the main thread between any two instructions, so `action` must not take a lock. In any other
    thread, nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    try:
        for number in STOP_SIGNALS:
            signal.signal(number, lambda *_: action())
        yield
    finally:
        for number, handler in before.items():  # None: set by something other than Python, and out of its reach
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
