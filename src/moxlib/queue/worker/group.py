"""A task group that changes no error's type when there is only one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

__all__ = ["task_group"]


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
