"""The form that TXT records of TLSRPT and MTA-STS have in common: a version, and `key=value` behind semicolons."""

import re
from typing import Final

__all__ = ["TEXT_VALUE", "FieldError", "Fields"]

MAX_RECORD: Final = 65535  # characters: the data of a DNS record is no longer (RFC 1035 3.2.1)

_delimiter = re.compile(r"[ \t]*;[ \t]*")
_key = re.compile(
    r"([A-Za-z0-9.-][A-Za-z0-9._-]{0,31})="
)  # RFC 8460 3 and RFC 8461 3.1; Differs: "." and "-" begin one
TEXT_VALUE: Final = re.compile(r"[!-:<>-~]+")  # RFC 8460 3, RFC 8461 3.1: neither ";" nor "="


class FieldError(Exception):
    """A record is malformed; `reason` says how. Never leaves its package."""

    def __init__(self, reason: str, *, meant: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.meant = meant


class Fields:
    """Reads the fields of a record one after the other."""

    def __init__(self, text: str, version: str) -> None:
        """Read past the version, such as "v=STSv1", and its delimiter.

        Raises:
            FieldError: that is not what the text begins with (not `meant`), or it is too long.
        """
        if not text.startswith(version) or not (delimiter := _delimiter.match(text, len(version))):
            raise FieldError(f"it does not begin with {version};", meant=False)
        if len(text) > MAX_RECORD:
            raise FieldError(f"longer than {MAX_RECORD} characters")
        self._text = text
        self._position = delimiter.end()

    def key(self) -> str:
        """Return the next key, and read past its "=".

        Raises:
            FieldError: there is none.
        """
        return self.take(_key, "a field")[1]

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        """Read what matches a pattern.

        Raises:
            FieldError: what follows does not match.
        """
        match = pattern.match(self._text, self._position)
        if match is None:
            raise FieldError(f"{what} was expected at character {self._position}")
        self._position = match.end()
        return match

    def more(self) -> bool:
        """Read past a delimiter; return whether another field follows. A delimiter may be the last.

        Raises:
            FieldError: what follows is neither a delimiter nor the end.
        """
        delimiter = _delimiter.match(self._text, self._position)
        if delimiter is not None:
            self._position = delimiter.end()
        if self._position == len(self._text):
            return False
        if delimiter is None:
            raise FieldError(f"a semicolon was expected at character {self._position}")
        return True
