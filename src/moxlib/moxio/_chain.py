"""The errors behind an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["chain"]


def chain(err: BaseException | None) -> Iterator[BaseException]:
    """Yield `err`, and each error among its causes, contexts and, for a group, its members, once.

    A context that `raise ... from` has suppressed is no part of the chain: its author said so.
    """
    waiting = [err]
    seen: set[int] = set()  # by identity: errors may be equal, and chains may be loops
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        if isinstance(one, BaseExceptionGroup):
            waiting.extend(one.exceptions)
        waiting.append(one.__cause__)
        if not one.__suppress_context__:
            waiting.append(one.__context__)
