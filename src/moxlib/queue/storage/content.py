"""Message content: small in the database row, large in a file beside the database, or in the database in chunks.

A file is written under a temporary name, fsynced, linked to its own name, and its directory is fsynced, all before
the row that names it is committed. Until the writer knows how the commit went it holds a lock on the file, so that the
sweep of another process leaves it alone; the lock goes with the process, so what a crash left behind is swept.
"""

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import secrets
import tempfile
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import aclosing
from datetime import datetime
from functools import partial
from io import BufferedReader
from pathlib import Path
from typing import Any, BinaryIO, Protocol, Self, TypeVar, cast

from moxlib.errors import StateError, StorageError
from moxlib.moxio import is_storage_space, link_or_copy, sync_dir
from moxlib.queue.errors import ContentDamaged, MessageTooLarge, StorageFull, StorageReadOnly
from moxlib.queue.submission import StoredContent

try:
    import fcntl
except ImportError:  # pragma: no cover - Windows: nothing is locked there, so nothing younger than a day is swept
    fcntl = None  # type: ignore[assignment]

__all__ = ["ContentDirectory", "ContentSource", "ContentWriter", "MessageContent", "Spool", "chunks", "open_in_thread"]

F = TypeVar("F", bound=BinaryIO | BufferedReader)

log: logging.Logger = logging.getLogger("moxlib.queue")

_FOR_NOW = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR})  # this process's trouble, not the file's
CHUNK = 256 * 1024  # bytes read at once: large enough to stream, small enough that a thousand streams fit in memory
HASH_PIECE = 2047  # bytes; from 2,048 on, hashlib lets the interpreter lock go (HASHLIB_GIL_MINSIZE in CPython)
INLINE_HASH = 64 * 1024  # bytes; larger data takes longer to hash than the lock takes to come back
UNLOCKED_AGE = 86_400.0  # seconds; where files cannot be locked, younger ones may belong to a running submit


class ContentWriter:
    """Takes one message's content piece by piece, and keeps it in memory or in a file, as its size asks.

    Use it in a `with` block around the commit: at its end the lock is released, and the file removed if the block
    raised. `hand_over` is for a commit that goes on when the block does not.

    One thread may write while another ends the block, as when a submit is cancelled: the writer then gets a
    `StateError`, and nothing is left behind.
    """

    def __init__(self, place: "ContentDirectory | Spool | None", *, inline_max: int, max_size: int) -> None:
        self._place = place
        self._directory = place if isinstance(place, ContentDirectory) else None
        self._inline_max = inline_max
        self._max_size = max_size
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._size = 0
        self._file: BinaryIO | None = None
        self._temporary: Path | None = None
        self._name = ""
        self._guard = threading.Lock()
        self._closed = False
        self._handed_over = False

    def write(self, data: bytes) -> None:
        """Take the next piece.

        Raises:
            MessageTooLarge: the content passes `max_size` bytes.
            StorageFull, StorageReadOnly, StorageError: the file cannot be written.
            StateError: the block has ended.
        """
        with self._guard:
            self._check_open()
            self._write(data)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._max_size:
            raise MessageTooLarge(self._max_size)
        _update(self._hash, data)
        if self._file is None:
            self._pieces.append(data)
            if self._size > self._inline_max and self._place is not None:
                with _typed_errors(self._place.path):
                    self._spill(self._place)
        else:
            with _typed_errors(self._place.path if self._place else None):
                self._file.write(data)

    def finish(self) -> StoredContent:
        """Make the content durable (a file: fsynced, linked, directory fsynced) and return where it lies.

        What lies in a spool becomes durable with its rows; until the block ends it can be read.

        Raises:
            StorageFull, StorageReadOnly, StorageError: the file cannot be written.
            StateError: the block has ended.
        """
        with self._guard:
            self._check_open()
            return self._finish()

    def _check_open(self) -> None:
        if self._closed:
            raise StateError("the submission has ended")

    def _finish(self) -> StoredContent:
        digest = self._hash.digest()
        if self._file is not None and isinstance(self._place, Spool):
            with _typed_errors(self._place.path):
                self._file.flush()
            return StoredContent(size=self._size, sha256=digest, spool=self._file)
        if self._file is None or self._temporary is None or self._directory is None:
            return StoredContent(size=self._size, sha256=digest, body=b"".join(self._pieces))
        with _typed_errors(self._directory.path):
            self._make_durable(self._directory, self._file, self._temporary)
        return StoredContent(size=self._size, sha256=digest, file=self._name)

    def _make_durable(self, directory: "ContentDirectory", file: BinaryIO, temporary: Path) -> None:
        file.flush()
        os.fsync(file.fileno())
        self._name = temporary.stem
        target = directory.path / self._name
        link_or_copy(target, temporary)
        while (locked := _open_locked(target)) is None:  # a copy, and swept before the lock could move to it
            link_or_copy(target, temporary)
        file.close()
        self._file = locked
        target.chmod(0o600)  # a copy has permissions of its own
        temporary.unlink(missing_ok=True)
        self._temporary = None
        sync_dir(directory.path)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(self, class_: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        """Release the lock; remove the file when the block raised."""
        if not self._handed_over:
            self._close(remove=error is not None)

    def hand_over(self, commit: "asyncio.Future[Any]") -> None:
        """Let the end of `commit`, instead of the block's, release the lock; the file is removed if it fails."""
        self._handed_over = True
        # A commit whose wait is cancelled may have happened: the next sweep knows.
        commit.add_done_callback(lambda c: self._close(remove=not c.cancelled() and c.exception() is not None))

    def _close(self, *, remove: bool) -> None:
        with self._guard:
            self._closed = True
            if self._directory is not None and self._temporary is not None:
                self._directory.remove(self._temporary.name)
            if self._directory is not None and self._name and remove:
                self._directory.remove(self._name)
            if self._file is not None:
                # What was not flushed was not wanted: the file is gone. A full disk makes that an error.
                with contextlib.suppress(OSError):
                    self._file.close()

    def _spill(self, place: "ContentDirectory | Spool") -> None:
        if isinstance(place, ContentDirectory):
            place.make()
            self._temporary, self._file = _new_file(place.path)
        else:
            self._file = place.new_file()
        self._file.write(b"".join(self._pieces))
        self._pieces.clear()


class Spool:
    """Where large content waits for the transaction that takes it into the database: a file that has no name."""

    path: Path | None = None

    def new_file(self) -> BinaryIO:
        """Return an empty file in the system's directory for temporary files, which goes when it is closed."""
        return cast("BinaryIO", tempfile.TemporaryFile(prefix="moxlib-"))


class ContentDirectory:
    """The directory of a queue's large contents."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._made = False

    def make(self) -> None:
        """Create the directory if there is none, and make its name durable, once for each process."""
        if not self._made:
            self.path.mkdir(mode=0o700, exist_ok=True)
            sync_dir(self.path.parent)
            self._made = True

    def remove(self, name: str) -> None:
        """Remove a file that no row refers to any more. Idempotent; what cannot be removed is left to the next sweep.

        Its row is gone by then, durably: an error would be taken for the failure of what has happened.
        """
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            log.warning("%s: content file %s cannot be removed: %s", self.path, name, error)

    async def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Stream a file.

        Raises:
            ContentDamaged: the file is gone, cannot be read, or its length has changed.
            StorageError: this process cannot open it now.
        """
        file = await open_in_thread(partial(self.open, stored))
        try:
            left = stored.size
            while left > 0:
                chunk = await asyncio.to_thread(_read, file, min(CHUNK, left), stored)
                if not chunk:
                    raise ContentDamaged(f"content file {stored.file} ends {left} bytes too early")
                left -= len(chunk)
                yield chunk
            if await asyncio.to_thread(_read, file, 1, stored):
                raise ContentDamaged(f"content file {stored.file} is longer than what was stored")
        finally:
            file.close()

    def open(self, stored: StoredContent) -> BufferedReader:
        """Open a file, which blocks. Nothing of it is checked.

        Raises:
            ContentDamaged: the file is gone, or cannot be read.
            StorageError: this process cannot open it now.
        """
        if stored.file is None:
            raise ContentDamaged("the content lies in no file")
        try:
            return (self.path / stored.file).open("rb")
        except OSError as error:
            text = f"content file {stored.file} cannot be read: {error.strerror or error}"
            if error.errno in _FOR_NOW:
                raise StorageError(text) from error
            raise ContentDamaged(text) from error

    def sweep(self, referenced: Callable[[], Iterable[str]], *, now: datetime) -> tuple[str, ...]:
        """Remove what no row refers to and no running submit is writing; return the names.

        Args:
            referenced: asks the database for the names that rows refer to; asked again once the candidates are locked,
                as a submit may have committed in between.
            now: the time; it matters only where files cannot be locked.
        """
        if not self.path.is_dir():
            return ()
        candidates, locks = self._lock_unknown(set(referenced()), now)
        try:
            known = set(referenced()) if candidates else set()
            swept = tuple(name for name in candidates if name not in known)
            for name in swept:
                self.remove(name)
        finally:
            for file in locks:
                file.close()
        return swept

    def _lock_unknown(self, known: Collection[str], now: datetime) -> tuple[list[str], Collection[BinaryIO]]:
        """Lock the files that no row refers to and nobody is writing; return their names, and their locks.

        A crash between link and unlink leaves one file under two names, of which only the first could be locked.
        """
        names: list[str] = []
        locks: dict[tuple[int, int], BinaryIO] = {}
        for path in sorted(self.path.iterdir()):
            if path.name in known or not path.is_file():
                continue
            inode = _inode(path)
            if inode not in locks:
                file = _try_lock(path, now)
                if file is None:
                    continue
                locks[inode] = file
            names.append(path.name)
        return names, locks.values()


@contextlib.contextmanager
def _typed_errors(path: Path | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        text = f"{path}: content cannot be written: {error.strerror or error}"
        if is_storage_space(error):
            raise StorageFull(text) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise StorageReadOnly(text) from error
        raise StorageError(text) from error


def _sha256(data: bytes) -> bytes:
    digest = hashlib.sha256()
    _update(digest, data)
    return digest.digest()


def _update(digest: "hashlib._Hash", data: bytes) -> None:
    """Hash data; of a small message in pieces for which hashlib keeps the interpreter lock.

    Letting it go and getting it back from a busy writer thread takes ten times as long as hashing 4 KB.
    """
    if len(data) > INLINE_HASH:
        digest.update(data)
        return
    for start in range(0, len(data), HASH_PIECE):
        digest.update(data[start : start + HASH_PIECE])


def _lock(file: BinaryIO) -> bool:
    """Lock a file against sweeps; False if one had it before, so that it has no name any more."""
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_SH)
    return os.fstat(file.fileno()).st_nlink > 0


def _new_file(directory: Path) -> tuple[Path, BinaryIO]:
    """Create a file and lock it; another one, if a sweep took it before it was locked."""
    while True:
        path = directory / f"{secrets.token_hex(16)}.tmp"
        file = os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600), "w+b")
        if _lock(file):
            return path, file
        file.close()


def _open_locked(path: Path) -> BinaryIO | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    if _lock(file):
        return file
    file.close()
    return None


def _inode(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return 0, 0  # its submit has just failed and removed it; locking it finds nothing either
    return stat.st_dev, stat.st_ino


def _try_lock(path: Path, now: datetime) -> BinaryIO | None:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    try:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif path.stat().st_mtime > now.timestamp() - UNLOCKED_AGE:  # pragma: no cover - Windows
            file.close()
            return None
    except BlockingIOError:
        file.close()
        return None
    return file


async def open_in_thread(open_: Callable[[], F]) -> F:
    """Open a file in a thread. One that comes when its caller was cancelled is closed: nobody else knows of it."""
    opening = asyncio.get_running_loop().run_in_executor(None, open_)
    try:
        return await asyncio.shield(opening)
    except asyncio.CancelledError:
        opening.add_done_callback(_close)
        raise


def _close(opening: "asyncio.Future[F]") -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def chunks(
    stored: StoredContent, read: Callable[[int, int], Awaitable[bytes | None]]
) -> AsyncGenerator[bytes, None]:
    """Stream content that lies in chunks; `read` returns one by submission and number, None where there is none.

    Raises:
        ContentDamaged: a chunk is missing, or the length has changed.
    """
    if stored.chunks_of is None:
        raise ContentDamaged("the content lies in no chunks")
    left = stored.size
    number = 0
    while left > 0:
        chunk = await read(stored.chunks_of, number)
        if not chunk or len(chunk) > left:
            raise ContentDamaged(f"chunk {number} of submission {stored.chunks_of} is missing or has another length")
        left -= len(chunk)
        number += 1
        yield chunk


class ContentSource(Protocol):
    """What has the content that does not lie in its row."""

    def pieces(self, stored: StoredContent) -> AsyncGenerator[bytes, None]:
        """Stream it; see `Storage.pieces`."""
        ...


class MessageContent:
    """What a transport sends: the message's prefix, then its stored content."""

    __slots__ = ("_prefix", "_source", "_stored")

    def __init__(self, prefix: bytes, stored: StoredContent, source: ContentSource) -> None:
        self._prefix = prefix
        self._stored = stored
        self._source = source

    @property
    def size(self) -> int:
        """Bytes in all."""
        return len(self._prefix) + self._stored.size

    @property
    def data(self) -> bytes | None:
        """All of it, when it lies in the row; else None."""
        body = self._stored.body
        return None if body is None else self._prefix + body

    async def verify(self) -> None:
        """Read all of it once, before anything is sent.

        Raises:
            ContentDamaged: it is missing, cut short or altered.
        """
        if self.verify_at_hand():
            return
        stored = self._stored
        digest = hashlib.sha256()
        async for piece in self._source.pieces(stored):
            digest.update(piece)
        if digest.digest() != stored.sha256:
            where = "in chunks" if stored.file is None else f"file {stored.file}"
            raise ContentDamaged(f"content {where} does not match its SHA-256")

    def verify_at_hand(self) -> bool:
        """Do so with what lies in the row; False where it does not, and has to be read.

        Raises:
            ContentDamaged: it is cut short or altered.
        """
        body, stored = self._stored.body, self._stored
        if body is None:
            return False
        if len(body) != stored.size or _sha256(body) != stored.sha256:
            raise ContentDamaged("the stored content does not match its length and SHA-256")
        return True

    async def chunks(self) -> AsyncIterator[bytes]:
        """Stream it from the start.

        Raises:
            ContentDamaged: a file or a chunk is gone, or its length has changed.
        """
        if self._stored.body is not None:
            yield self._prefix + self._stored.body
            return
        if self._prefix:
            yield self._prefix
        async with aclosing(self._source.pieces(self._stored)) as pieces:
            async for piece in pieces:
                yield piece


def _read(file: BinaryIO, size: int, stored: StoredContent) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise ContentDamaged(f"content file {stored.file} cannot be read: {error}") from error
