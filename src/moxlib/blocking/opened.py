"""`Opened`: a facade that opens a portal for what it stands before, and closes it; `Queue` and `Client` are such."""

import threading
import weakref
from contextlib import AbstractAsyncContextManager
from typing import Any, ClassVar, TypeVar

from moxlib.blocking.facade import Facade
from moxlib.blocking.portal import Portal
from moxlib.errors import StateError

__all__ = ["Opened"]

A = TypeVar("A", bound=AbstractAsyncContextManager[Any])


class Opened(Facade[A]):
    """Stands before an async object that is open within `async with`, in a portal's loop."""

    _what: ClassVar[str]
    """What it is, in errors."""
    _closed_error: ClassVar[type[StateError]] = StateError
    """What a call gets that comes too early, or too late."""

    def _stand_before(self, behind: A) -> None:
        self._behind = behind
        self._portal: Portal | None = None
        self._lock = threading.Lock()  # for opening; calls take none
        self._finalizer: weakref.finalize[Any, Any] | None = None

    def _open(self) -> None:
        with self._lock:
            if self._portal is not None:
                self._portal.check_process()
                if not self._portal.closed:
                    raise StateError(f"the {self._what} is open already")
            behind = self._behind  # the portal outlives this object, and must not keep it alive
            portal = Portal(lambda: behind, name=f"moxlib {self._what}", what=self._what, closed=self._closed_error)
            portal.start()
            self._portal = portal
            self._finalizer = weakref.finalize(self, portal.abandon)
            self._finalizer.atexit = False  # the portal sees to that, and waits

    def _close(self) -> None:
        if self._portal is None:
            return
        finalizer, self._finalizer = self._finalizer, None
        if finalizer is not None:
            finalizer.detach()
        self._portal.close()

    def _reach(self) -> tuple[Portal, A]:
        if self._portal is None:
            raise self._closed_error(f"the {self._what} is not open: use it inside `with`, or call start()")
        return self._portal, self._behind
