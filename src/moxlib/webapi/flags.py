r"""Flags of messages: the well-known ones, `\seen` and `$junk` say, and keywords of one's own. In lower case."""

import re
from collections.abc import Iterable
from typing import Final

from moxlib.errors import InputError

__all__ = ["KEYWORDS_MAX", "NOT_JUNK", "SEEN", "WELL_KNOWN", "InvalidFlag", "add_flags", "parse_flags", "remove_flags"]

SEEN: Final = "\\seen"
NOT_JUNK: Final = "$notjunk"
WELL_KNOWN: Final = frozenset(
    (
        "\\answered",  # RFC 9051 2.3.2, as those with a backslash and the first four with a dollar
        "\\deleted",
        "\\draft",
        "\\flagged",
        SEEN,
        "$forwarded",
        "$junk",
        NOT_JUNK,
        "$phishing",
        "$mdnsent",  # RFC 3503
    )
)
MAX_FLAG: Final = 255  # octets: names that people give are far shorter
KEYWORDS_MAX: Final = 256  # of one message: they are read and written together

# RFC 9051 9, flag-keyword: an atom. Not "]" either, which closes lists of them in answers.
_keyword = re.compile(r"[!#$&\'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,255}").fullmatch


class InvalidFlag(InputError):
    """A flag that messages cannot have, or too many of them."""


def parse_flags(flags: Iterable[str]) -> frozenset[str]:
    r"""Return flags in lower case.

    Raises:
        InvalidFlag: one is neither well-known nor a keyword: without characters, with a backslash, with what IMAP has
            no place for; or there are more than a message may have.
    """
    parsed = set()
    for flag in flags:
        lower = flag.lower() if flag.isascii() else ""
        if lower not in WELL_KNOWN and not _keyword(lower):
            raise InvalidFlag(f"not a flag: {flag[:80]!a}")
        parsed.add(lower)
        if len(parsed) > KEYWORDS_MAX + len(WELL_KNOWN):
            raise InvalidFlag(f"more than {KEYWORDS_MAX} keywords")
    return frozenset(parsed)


def add_flags(flags: Iterable[str], added: Iterable[str]) -> tuple[str, ...]:
    """Return the flags of a message that gets more of them, in order.

    Raises:
        InvalidFlag: it would have too many keywords.
    """
    return _ordered({*flags, *added})


def remove_flags(flags: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    """Return the flags of a message that loses some, if it has them, in order."""
    return _ordered({*flags}.difference(removed))


def _ordered(flags: set[str]) -> tuple[str, ...]:
    """Return the well-known flags, then the keywords, each in order, as mox does."""
    keywords = sorted(flags - WELL_KNOWN)
    if len(keywords) > KEYWORDS_MAX:
        raise InvalidFlag(f"more than {KEYWORDS_MAX} keywords")
    return (*sorted(flags & WELL_KNOWN), *keywords)
