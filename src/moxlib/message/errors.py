"""The error of this package."""

from typing import Self

from moxlib.errors import InputError

__all__ = ["InvalidMessage"]


class InvalidMessage(InputError):
    """A message, or a part of one, cannot be sent as it is.

    Attributes:
        reason: what is wrong with it, a short phrase without any text of the message.
        line: the number of the line that is wrong, from 1; None if there is no one line.
        offset: the octet it was found at, from 0; None likewise.
    """

    def __init__(self, reason: str, line: int | None = None, offset: int | None = None) -> None:
        where = "" if line is None else f" in line {line}"
        where += "" if offset is None else f" (offset {offset})"
        super().__init__(f"invalid message: {reason}{where}")
        self.reason = reason
        self.line = line
        self.offset = offset

    def __reduce__(self) -> tuple[type[Self], tuple[str, int | None, int | None]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.line, self.offset)
