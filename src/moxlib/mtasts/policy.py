"""What a policy says (RFC 8461 3.2), and which hosts it lets through (4.1)."""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from moxlib.dns import Domain, InvalidDomain, parse_domain
from moxlib.errors import InputError
from moxlib.mtasts.errors import InvalidPolicy

__all__ = ["MAX_POLICY", "MXPattern", "Mode", "Policy", "parse_policy"]

MAX_POLICY: Final = 64 * 1024  # bytes, RFC 8461 3.3
MAX_SECONDS: Final = 2**31 - 1  # of max_age, as mox takes them; what is over a year (RFC 8461 3.2) is cached for a year
VERSION: Final = "STSv1"

_key = re.compile(r"([A-Za-z0-9.-][A-Za-z0-9._-]{0,31}):[ \t]*")
_version = re.compile(VERSION)
_mode = re.compile(r"testing|enforce|none")
_max_age = re.compile(r"[0-9]{1,10}")
_mx = re.compile(r"(\*\.)?([0-9A-Za-z][0-9A-Za-z-]*(?:\.[0-9A-Za-z][0-9A-Za-z-]*)*)")
_text = re.compile(r"[ -~\x80-\ud7ff\ue000-\U0010ffff]+")  # of an extension; spaces at its end are not part of it
_end_of_line = re.compile(r"[ \t]*(?:\r?\n|\Z)")


class Mode(StrEnum):
    """How a policy wants to be taken (RFC 8461 5)."""

    ENFORCE = "enforce"  # deliver to hosts it lists only, over TLS that is verified
    TESTING = "testing"  # deliver anyway, and report what would have failed
    NONE = "none"  # there is no policy any more


@dataclass(frozen=True, slots=True, kw_only=True)
class MXPattern:
    """A host that may take a domain's mail, or all hosts one label below a name.

    Attributes:
        domain: the host, or the name they are below.
        wildcard: it is the latter, `*.example.com`.
    """

    domain: Domain
    wildcard: bool = False

    def matches(self, host: Domain) -> bool:
        """Return whether a host is one of those; the wildcard stands for exactly one label."""
        return (host.ascii.partition(".")[2] if self.wildcard else host.ascii) == self.domain.ascii

    def log_string(self) -> str:
        """Return it in Unicode, and where that is not plain ASCII, `/` and it in ASCII."""
        forms = [self.domain.unicode, self.domain.ascii] if self.domain.unicode else [self.domain.ascii]
        return "/".join(f"{self._prefix}{form}" for form in forms)

    def __str__(self) -> str:
        """Return it as it stands in a policy, in ASCII."""
        return f"{self._prefix}{self.domain.ascii}"

    @property
    def _prefix(self) -> str:
        return "*." if self.wildcard else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy, as its domain publishes it.

    Attributes:
        mode: how it is meant.
        max_age_seconds: how long it may be cached.
        mx: the hosts, in the order of the text.
        extensions: fields that RFC 8461 does not know, with their values.

    Raises:
        InputError: an age that cannot be, or no hosts in a policy of another mode than none.
    """

    mode: Mode
    max_age_seconds: int
    mx: tuple[MXPattern, ...] = ()
    extensions: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.max_age_seconds <= MAX_SECONDS:
            raise InputError(f"a policy cannot have a max_age of {self.max_age_seconds} seconds")
        if not self.mx and self.mode is not Mode.NONE:
            raise InputError(f"a policy of mode {self.mode} has to list hosts")

    def matches(self, host: Domain) -> bool:
        """Return whether a host may take the domain's mail (RFC 8461 4.1)."""
        return any(pattern.matches(host) for pattern in self.mx)

    def __str__(self) -> str:
        """Return it as text to publish, without its extensions."""
        fields = [("version", VERSION), ("mode", self.mode), ("max_age", self.max_age_seconds)]
        fields += [("mx", pattern) for pattern in self.mx]
        return "".join(f"{key}: {value}\n" for key, value in fields)


def parse_policy(text: bytes | str) -> Policy:
    """Parse a policy. Of fields other than `mx` that come several times, the first counts (RFC 8461 3.2).

    Args:
        text: of at most 64 KiB. Of bytes, those that are not UTF-8 are replaced; they can stand in extensions only.

    Raises:
        InvalidPolicy: any other line, or the lack of a line.
    """
    if len(text) > MAX_POLICY:
        raise InvalidPolicy(f"longer than {MAX_POLICY} bytes")
    fields = _Lines(text.decode("utf-8", "replace") if isinstance(text, bytes) else text)
    while fields.more():
        fields.read()
    return fields.policy()


class _Lines:
    """Reads a policy line by line."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0
        self._line = 0
        self._first: dict[str, str] = {}
        self._mx: list[MXPattern] = []
        self._extensions: list[tuple[str, str]] = []

    def more(self) -> bool:
        """Return whether there is another line. The first one is there even when it is empty, and wrong then."""
        return self._line == 0 or self._position < len(self._text)

    def read(self) -> None:
        """Read a line.

        Raises:
            InvalidPolicy: it is malformed.
        """
        self._line += 1
        key = self._take(_key, "a field")[1]
        match key:
            case "version":
                self._keep(key, self._take(_version, VERSION)[0])
            case "mode":
                self._keep(key, self._take(_mode, "testing, enforce or none")[0])
            case "max_age":
                self._keep(key, self._take(_max_age, "a number of seconds")[0])
            case "mx":
                self._mx.append(self._pattern())
            case _:
                self._extensions.append((key, self._extension()))
        self._take(_end_of_line, "the end of the line")

    def policy(self) -> Policy:
        """Return what was read.

        Raises:
            InvalidPolicy: something is missing, or it cannot be.
        """
        missing = [key for key in ("version", "mode", "max_age") if key not in self._first]
        if missing:
            raise InvalidPolicy(f"without {missing[0]}")
        try:
            return Policy(
                mode=Mode(self._first["mode"]),
                max_age_seconds=int(self._first["max_age"]),
                mx=tuple(self._mx),
                extensions=tuple(self._extensions),
            )
        except InputError as error:
            raise InvalidPolicy(str(error)) from error

    def _keep(self, key: str, value: str) -> None:
        self._first.setdefault(key, value)

    def _pattern(self) -> MXPattern:
        found = self._take(_mx, "a host in ASCII, or *. and a domain")
        try:
            return MXPattern(domain=parse_domain(found[2]), wildcard=found[1] is not None)
        except InvalidDomain as error:
            raise InvalidPolicy(f"line {self._line}: {error}") from error

    def _extension(self) -> str:
        found = self._take(_text, "a value")
        value = found[0].rstrip(" ")
        if not value:
            raise InvalidPolicy(f"line {self._line}: a value was expected")
        self._position = found.start() + len(value)
        return value

    def _take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = pattern.match(self._text, self._position)
        if found is None:
            raise InvalidPolicy(f"line {self._line}: {what} was expected")
        self._position = found.end()
        return found
