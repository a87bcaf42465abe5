"""Deflate as a writer that stays broken once it broke."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Protocol

from moxlib.errors import StateError
from moxlib.moxio._io import write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from typing_extensions import Buffer

    from moxlib.moxio.streams import Writer

__all__ = ["Compressor", "FlateWriter"]


class Compressor(Protocol):
    """What `zlib.compressobj` returns."""

    def compress(self, data: Buffer, /) -> bytes:
        """Take `data` and return what output there is."""
        ...

    def flush(self, mode: int = ..., /) -> bytes:
        """Return the rest of the output, as far as `mode` asks."""
        ...


class FlateWriter:
    """Writes what it gets to `w`, compressed.

    Output comes when the compressor has some, at `flush` and at `close`. `w` is not closed.

    Once a write to `w`, or the compressor, has raised, the compressor's output no longer joins what `w` has got. So
    from then on every call raises the same error, and neither is touched again.

    Args:
        w: where the compressed bytes go.
        compressor: as `zlib.compressobj` makes them; without one, the default level of raw deflate, which is what
            COMPRESS=DEFLATE of IMAP (RFC 4978) and zip files have.
    """

    __slots__ = ("_closed", "_compressor", "_error", "_w")

    def __init__(self, w: Writer, compressor: Compressor | None = None) -> None:
        self._w = w
        self._compressor: Compressor = compressor or zlib.compressobj(wbits=-zlib.MAX_WBITS)
        self._error: BaseException | None = None
        self._closed = False

    def write(self, data: Buffer) -> int:
        """Compress `data`, and return its length in bytes.

        Raises:
            StateError: the writer is closed.
            OSError: or whatever `w` raised, now or before.
        """
        view = memoryview(data).cast("B")
        self._put(lambda: self._compressor.compress(view))
        return len(view)

    def flush(self) -> None:
        """Put out all that has been written, so that the reader can have it (`zlib.Z_SYNC_FLUSH`).

        Raises:
            StateError: the writer is closed.
            OSError: or whatever `w` raised, now or before.
        """
        self._put(lambda: self._compressor.flush(zlib.Z_SYNC_FLUSH))

    def close(self) -> None:
        """Put out the rest and the end of the stream; closing again does nothing.

        Raises:
            OSError: or whatever `w` raised, now or before.
        """
        if self._closed and self._error is None:
            return
        self._put(lambda: self._compressor.flush(zlib.Z_FINISH))
        self._closed = True

    def _put(self, output: Callable[[], bytes]) -> None:
        if self._error is not None:
            raise self._error
        if self._closed:
            raise StateError("the FlateWriter is closed")
        try:
            if data := output():
                write_all(self._w, data)
        except BaseException as err:
            self._error = err
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        self._closed = True
