"""How methods that block are made from async ones: `get: Final = blocking(AsyncQueue.get)`.

What they return has the parameters and the docstring of the async method, for type checkers and at run time.
(`Final`, because a type checker then takes the type from the right-hand side as a declared one.)
"""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager
from functools import partial, wraps
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, get_args

from moxlib.blocking.call import Call, Holding
from moxlib.blocking.portal import Portal

__all__ = ["Facade", "blocking", "bouncing", "holding", "iterating", "posting", "told"]

A = TypeVar("A")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")
T = TypeVar("T")
V = TypeVar("V")
F = TypeVar("F", bound=Callable[..., Any])


class Facade(Generic[A_co]):
    """Stands before an async object that lives in a portal's loop."""

    def _reach(self) -> tuple[Portal, A_co]:
        """Return the portal and what is behind it.

        Raises:
            QueueClosed: the portal is not open.
        """
        raise NotImplementedError


def told(function: F) -> F:
    """Make the docstring, which is that of an async function, one of a function that blocks; return the function."""
    function.__doc__ = (function.__doc__ or "").replace("await ", "")
    for statement in ("with", "for"):
        function.__doc__ = function.__doc__.replace(f"async {statement}", statement)
    return function


def blocking(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Facade[A], P], T]:
    """Return a method that runs the async one in the loop, and waits for it."""

    @told
    @wraps(method)
    def call(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        portal, behind = self._reach()
        return portal.call(method, behind, *args, **kwargs)

    return call


def bouncing(
    method: Callable[Concatenate[A, P], Coroutine[Any, Any, T]], inner: Callable[..., Coroutine[Any, Any, T]]
) -> Callable[Concatenate[Facade[A], P], T]:
    """Return a method like `blocking(method)` that runs `inner` instead.

    Args:
        method: whose parameters and docstring it has.
        inner: takes the same, and `run`, by which it runs functions in the thread that called (see `RunBlocking`).
    """

    @told
    @wraps(method)
    def call(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> T:
        portal, behind = self._reach()
        return Call(portal, lambda run: inner(behind, *args, run=run, **kwargs)).wait()

    return call


def iterating(
    method: Callable[Concatenate[A, P], AsyncIterator[T]],
) -> Callable[Concatenate[Facade[A], P], Iterator[T]]:
    """Return a method that iterates over what the async one yields."""

    @told
    @wraps(method)
    def iterate(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        portal, behind = self._reach()
        return portal.iterate(method(behind, *args, **kwargs))

    return _returning(iterate, Iterator[get_args(inspect.signature(method).return_annotation)])  # type: ignore[misc]


def holding(
    method: Callable[Concatenate[A, P], AbstractAsyncContextManager[V]], cover: Callable[[Portal, V], T]
) -> Callable[Concatenate[Facade[A], P], AbstractContextManager[T]]:
    """Return a method that holds open, for a `with` block, what the async one is for an `async with` block.

    Args:
        method: the async one.
        cover: makes what the block gets of what that yields.
    """

    @told
    @wraps(method)
    def hold(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> AbstractContextManager[T]:
        portal, behind = self._reach()
        return Holding(portal, _covered(portal, method(behind, *args, **kwargs), cover), owner=self)

    shown = cover if isinstance(cover, type) else inspect.signature(cover).return_annotation
    return _returning(hold, AbstractContextManager[shown])  # type: ignore[valid-type]


def posting(method: Callable[Concatenate[A, P], None]) -> Callable[Concatenate[Facade[A], P], None]:
    """Return a method that has one that does not wait be called in the loop, and does not wait either."""

    @wraps(method)
    def post(self: Facade[A], /, *args: P.args, **kwargs: P.kwargs) -> None:
        portal, behind = self._reach()
        portal.check_process()
        portal.post(partial(method, behind, *args, **kwargs))

    return post


@asynccontextmanager
async def _covered(
    portal: Portal, manager: AbstractAsyncContextManager[V], cover: Callable[[Portal, V], T]
) -> AsyncIterator[T]:
    async with manager as value:
        yield cover(portal, value)


def _returning(function: F, annotation: Any) -> F:
    """Show the signature of the async method with another return annotation."""
    function.__annotations__ = function.__annotations__ | {"return": annotation}
    signature = inspect.signature(function).replace(return_annotation=annotation)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function
