"""What goes wrong with TLSRPT records and reports."""

from typing import Final, Self

from moxlib.errors import InputError, RemoteError

__all__ = ["InvalidRecord", "InvalidReport", "UnusableRecord"]

MAX_SHOWN: Final = 80  # characters of a refused text in an error's text; the rest says nothing more


class InvalidRecord(InputError):
    """A text is not a TLSRPT record.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
        meant: it says that it is a TLSRPT record, and is malformed; otherwise it is a TXT record for something else.
    """

    def __init__(self, reason: str, value: str, *, meant: bool) -> None:
        """Keep the fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        super().__init__(f"invalid TLSRPT record: {reason}: {value[:MAX_SHOWN]!a}")
        self.reason = reason
        self.value = value
        self.meant = meant

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by fields, not by text."""
        return _rebuild_record, (self.reason, self.value, self.meant)


def _rebuild_record(reason: str, value: str, meant: bool) -> InvalidRecord:
    return InvalidRecord(reason, value, meant=meant)


class InvalidReport(InputError):
    """Bytes are not a TLS report.

    Attributes:
        reason: what is wrong, and where.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"invalid TLS report: {reason}")
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason,)


class UnusableRecord(RemoteError):
    """A domain publishes something as its TLSRPT record that is none: to be treated as if there was no record.

    Attributes:
        name: where it is.
        reason: what is wrong.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"TLSRPT record of {name[:MAX_SHOWN]!a}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.name, self.reason)
