"""The children of a multipart, found one after the other between its delimiters (RFC 2046 5.1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, overload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from moxlib.message.part import Part
    from moxlib.message.source import Source

__all__ = ["Parts"]

MAX_BOUNDARY: Final = 998  # octets: RFC 2046 says 70, some senders use more, and a line has no more (RFC 5322 2.1.1)
_AFTER_BOUNDARY: Final = (b"\r", b"\n", b" ", b"\t")  # anything else is another boundary, of which this is a prefix


class Parts(Sequence["Part"]):
    """A lazy, read-only sequence: the multipart is searched only up to the end of the part that is asked for.

    What is before the first delimiter and after the last is no part. Without a closing delimiter, the last part goes to
    the end.
    """

    __slots__ = ("_delimiter", "_end", "_found", "_make", "_max_parts", "_next", "_source", "_start")

    def __init__(
        self,
        source: Source,
        start: int,
        end: int,
        *,
        boundary: bytes,
        make: Callable[[int, int], Part],
        max_parts: int,
    ) -> None:
        self._source = source
        self._start = start
        self._end = end
        self._delimiter = b"\n--" + boundary
        self._make = make
        self._max_parts = max_parts
        self._found: list[Part] = []
        # Where the next part begins; -1 if the first was not looked for yet, None if there is none.
        self._next: int | None = -1 if 0 < len(boundary) <= MAX_BOUNDARY else None

    def __len__(self) -> int:
        """Search to the end."""
        while self._find():
            pass
        return len(self._found)

    def __iter__(self) -> Iterator[Part]:
        """Search as the iteration goes."""
        index = 0
        while index < len(self._found) or self._find():
            yield self._found[index]
            index += 1

    @overload
    def __getitem__(self, index: int) -> Part: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Part, ...]: ...
    def __getitem__(self, index: int | slice) -> Part | tuple[Part, ...]:
        """Search up to the index, or to the end if it counts from there."""
        if isinstance(index, slice):
            return tuple(self._found[: len(self)][index])
        if index < 0:
            index += len(self)
            if index < 0:
                raise IndexError(index)
        while index >= len(self._found) and self._find():
            pass
        return self._found[index]

    def __bool__(self) -> bool:
        """Search for the first."""
        return bool(self._found) or self._find()

    def __repr__(self) -> str:
        """Show what was found so far."""
        return f"<Parts {self._found}{'' if self._next is None else ', ...'}>"

    def _find(self) -> bool:
        """Find one more part and return whether there was one."""
        start = self._next
        if start is None:
            return False
        if start < 0:
            start = self._next = self._delimiter_line(self._start)[1]
            if start is None:
                return False
        last = len(self._found) + 1 == self._max_parts
        line, after = (self._end, None) if last else self._delimiter_line(start)
        self._next = after
        self._found.append(self._make(start, max(start, line)))
        return True

    def _delimiter_line(self, start: int) -> tuple[int, int | None]:
        """Return where the next delimiter begins, and where the part after it does: None if it closes the multipart.

        A delimiter begins with the line end before it, which may be that of the line before `start`: there is one, as a
        multipart has a header.
        """
        source, end = self._source, self._end
        position = start - 1
        while True:
            found = source.find(self._delimiter, position, end)
            if found < 0:
                return end, None
            boundary_end = found + len(self._delimiter)
            following = source.read(boundary_end, min(boundary_end + 2, end))
            if not following or following == b"--" or following.startswith(_AFTER_BOUNDARY):
                line = found - 1 if source.read(found - 1, found) == b"\r" else found
                return line, None if following == b"--" else self._after(boundary_end)
            position = found + 1

    def _after(self, boundary_end: int) -> int | None:
        """Return where the line of a delimiter ends; None if it does not: it was cut off, and nothing is after it."""
        newline = self._source.find(b"\n", boundary_end, self._end)
        return None if newline < 0 else newline + 1
