"""What goes wrong with reports.

MoxlibError
└── InputError
    ├── NotADSN            a message is something else
    └── InvalidReport      a message means to be a report, and is malformed
        └── InvalidDSN     that of a DSN; or data cannot be written as one
"""

from typing import ClassVar, Final, Self

from moxlib.errors import InputError

__all__ = ["InvalidDSN", "InvalidReport", "NotADSN"]

MAX_SHOWN: Final = 80  # characters of a refused text in an error's text; the rest says nothing more


class NotADSN(InputError):
    """A message is no delivery status notification.

    Attributes:
        reason: what it is instead, a short phrase; what of it is the message's is escaped and bounded.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"not a DSN: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class InvalidReport(InputError):
    """A report is malformed.

    Attributes:
        reason: what is wrong, a short phrase without any text of the message.
        where: the field or part it is wrong in, as `Status` or `second part`.
        recipient: the number of the recipient whose field that is, from 1; 0 if it is no recipient's.
        value: the text that is wrong, whole and unescaped; empty if there is no one text.
    """

    what: ClassVar[str] = "report"

    def __init__(self, reason: str, where: str = "", *, recipient: int = 0, value: str = "") -> None:
        """Keep the fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        of = f" of recipient {recipient}" if recipient else ""
        shown = f" {value[:MAX_SHOWN]!a}" if value else ""
        super().__init__(f"invalid {self.what}: {where[:MAX_SHOWN]}{of}{shown}{': ' if where else ''}{reason}")
        self.reason = reason
        self.where = where
        self.recipient = recipient
        self.value = value

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild, (type(self), self.reason, self.where, self.recipient, self.value)


class InvalidDSN(InvalidReport):
    """A delivery status notification is malformed; or, in composing, data cannot be written as one."""

    what = "DSN"


def _rebuild(kind: type[InvalidReport], reason: str, where: str, recipient: int, value: str) -> InvalidReport:
    return kind(reason, where, recipient=recipient, value=value)
