"""Making the names in a directory durable."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from os import PathLike

__all__ = ["sync_dir", "sync_dir_async"]


def sync_dir(path: str | PathLike[str]) -> None:
    """Return when the names in the directory `path` (files made, linked, renamed, removed) are on disk.

    The content of those files is another matter: fsync them first. Does nothing on Windows, which has no such call.

    Raises:
        OSError: there is no such directory, or the disk failed.
    """
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


async def sync_dir_async(path: str | PathLike[str]) -> None:
    """Do as `sync_dir` in a thread.

    Raises:
        OSError: there is no such directory, or the disk failed.
    """
    from aiofiles.os import wrap  # noqa: PLC0415 - the sync form must not pay for asyncio

    await wrap(sync_dir)(path)
