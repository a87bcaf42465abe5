"""What goes wrong with names."""

from typing import Final, Self

from moxlib.errors import InputError

__all__ = ["InvalidDomain"]

MAX_SHOWN: Final = 80  # characters of a refused name in an error's text; the rest says nothing more


class InvalidDomain(InputError):
    """A text is not a domain name.

    Attributes:
        reason: what is wrong with it, a short phrase.
        value: the text as it was given, whole and unescaped.
    """

    def __init__(self, reason: str, value: str) -> None:
        """Keep both fields; the text shows at most `MAX_SHOWN` characters of the value, escaped."""
        super().__init__(f"invalid domain name: {reason}: {value[:MAX_SHOWN]!a}")
        self.reason = reason
        self.value = value

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.value)
