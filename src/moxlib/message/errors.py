"""The errors of this package."""

from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["InvalidDraft", "InvalidMessage"]

MAX_SHOWN: Final = 80  # characters of a refused text in an error's text


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


class InvalidDraft(InputError):
    """What a message is to be composed of cannot be written as one.

    Attributes:
        reason: what is wrong with it, a short phrase.
        field: where it is wrong, as a path: `subject`, `to[1]`, `headers[0].name`, `attachments[2].content_type`.
        value: the text that is wrong, whole and unescaped; empty if there is no one text.
    """

    def __init__(self, reason: str, field: str, *, value: str = "") -> None:
        """Keep the fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        shown = f" {value[:MAX_SHOWN]!a}" if value else ""
        super().__init__(f"cannot compose the message: {field}{shown}: {reason}")
        self.reason = reason
        self.field = field
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuilt, (self.reason, self.field, self.value)


def _rebuilt(reason: str, field: str, value: str) -> InvalidDraft:
    return InvalidDraft(reason, field, value=value)
