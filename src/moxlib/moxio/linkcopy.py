"""A second name for a file, or where that cannot be, a copy."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from moxlib.moxio._io import read_some

if TYPE_CHECKING:
    from os import PathLike

    from moxlib.moxio.streams import Reader

__all__ = ["link_or_copy", "link_or_copy_async"]

COPY_SIZE = 256 * 1024  # bytes a read; larger ones gain nothing, and this is all the memory that a copy takes
SYNC_FLAGS = os.O_RDWR if sys.platform == "win32" else os.O_RDONLY  # Windows syncs only what may be written


def link_or_copy(
    dst: str | PathLike[str], src: str | PathLike[str], *, source: Reader | None = None, fsync: bool = True
) -> None:
    """Make `dst` a hard link to `src`, or if that cannot be done (other file system, not permitted), a copy.

    A symbolic link is followed. The copy is made with exclusive creation and mode 0660 less the umask. The name `dst`
    is durable only after `sync_dir` on its directory, which is left to the caller, who may have made several.

    Args:
        dst: the new name; it must not exist.
        src: the file.
        source: read from where it stands instead of opening `src`, if it comes to copying; not closed.
        fsync: return only when the content is on disk, also when `dst` is a link.

    Raises:
        FileNotFoundError: `src` or the directory of `dst` does not exist.
        FileExistsError: `dst` exists; it is left as it was.
        OSError: the content could not be read, written or synced. A `dst` made by this call has been removed.
    """
    src, dst = Path(src), Path(dst)
    if src.is_symlink():  # link(2) would link the symbolic link itself
        src = src.resolve()
    try:
        os.link(src, dst)
    except (FileNotFoundError, FileExistsError):
        raise
    except OSError:
        if source is None:
            with src.open("rb", buffering=0) as opened:
                _copy(dst, opened, fsync=fsync)
        else:
            _copy(dst, source, fsync=fsync)
    else:
        if fsync:
            _sync_link(dst)


def _sync_link(dst: Path) -> None:
    try:
        descriptor = os.open(dst, SYNC_FLAGS)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException as err:
        _remove(dst, err)
        raise


def _copy(dst: Path, source: Reader, *, fsync: bool) -> None:
    descriptor = os.open(dst, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o660)
    try:
        with os.fdopen(descriptor, "wb") as copy:
            while data := read_some(source, COPY_SIZE):
                copy.write(data)
            copy.flush()
            if fsync:
                os.fsync(descriptor)
    except BaseException as err:
        _remove(dst, err)
        raise


def _remove(dst: Path, reason: BaseException) -> None:
    """Remove a `dst` that is not whole; where that fails too, the reason says so."""
    try:
        dst.unlink()
    except OSError as err:
        reason.add_note(f"and {str(dst)!r}, which is not whole, could not be removed: {err}")


async def link_or_copy_async(
    dst: str | PathLike[str], src: str | PathLike[str], *, source: Reader | None = None, fsync: bool = True
) -> None:
    """Do as `link_or_copy` in a thread.

    When cancelled, it first waits for the thread, which cannot be stopped, and removes the `dst` that it made, so that
    nothing appears later on.

    Raises:
        OSError: as `link_or_copy`.
    """
    import asyncio  # noqa: PLC0415 - the sync form must not pay for asyncio

    from aiofiles.os import wrap  # noqa: PLC0415

    work = asyncio.ensure_future(wrap(link_or_copy)(dst, src, source=source, fsync=fsync))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError as err:
        await asyncio.wait([work])
        if work.exception() is None:
            _remove(Path(dst), err)
        raise
