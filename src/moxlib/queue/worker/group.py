"""A task group that changes no error's type when there is only one; waiting for a task whatever comes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["finish", "task_group"]


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Return an `asyncio.TaskGroup`; if only the block or only one task raised, that error is raised as it is.

    Raises:
        BaseExceptionGroup: several raised.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except BaseExceptionGroup as errors:
        error, *others = errors.exceptions
        if others:
            raise
        raise error from error.__cause__


async def finish(task: asyncio.Task[None]) -> None:
    """Wait for a task to its end, even when cancelled meanwhile: what it settles must not be lost."""
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    task.result()
    if cancelled:
        raise asyncio.CancelledError
