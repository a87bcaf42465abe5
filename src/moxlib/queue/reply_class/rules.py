"""Rules as data: what they look at, how they are read, and how a reply's text is made comparable. Pure."""

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, Final

from moxlib.errors import InputError
from moxlib.queue.reply_class.classes import ReplyClass

__all__ = ["Phrase", "Rule", "default_rules", "read_rules", "words_of"]

MAX_TEXT: Final = 1000  # characters looked at; the longest known replies, Gmail's on DMARC, have about 600
MAX_GAP: Final = 60  # characters that a * stands for: half a sentence; words further apart belong to different ones

_KEYS: Final = frozenset({"name", "class", "codes", "enhanced", "commands", "text", "examples"})

_code_pattern = re.compile(r"000|[2-5][0-9x][0-9x]").fullmatch
_enhanced_pattern = re.compile(r"([245x])\.([0-9]{1,3}|x)\.([0-9]{1,3}|x)").fullmatch
_words = re.compile(r"[^\W_]+").findall
_enhanced_codes = re.compile(r"\b[245]\.[0-9]{1,3}\.[0-9]{1,3}\b")


def words_of(text: str, code: int = 0) -> list[str]:
    """Return the words of a text: letters and digits, in lower case, "e-mail" as "email".

    Left out is what differs between two replies of the same meaning: addresses, enhanced codes, and the reply's own
    code, all of which may stand at the begin of each of its lines.
    """
    text = text[:MAX_TEXT].lower()
    if "@" in text:  # "no_such_user@blocked.example" says nothing about users or blocking
        text = " ".join([part for part in text.split() if "@" not in part])
    words = _words(_enhanced_codes.sub(" ", text).replace("e-mail", "email"))
    own = f"{code:03}"
    return [word for word in words if word != own]


@dataclass(frozen=True, slots=True)
class Phrase:
    """Words that follow each other in a text; `*` stands for anything before the next of them, or behind the last.

    `"mailbox * full"` is in "the mailbox of this user is full", `"block*"` in "blocked" and "blocklist", and
    `"exceed* rate"` in "exceeded the allowed rate". A `*` takes at most 60 characters. Case and punctuation do not
    count.

    Raises:
        InputError: there is no word in it, or a `*` with none before it, or glued to the next.
    """

    text: str
    parts: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """Found one behind the other, each begins at a word, and ends at one unless the word goes on."""
    key: str = field(init=False, repr=False, compare=False)
    """A whole word of it: the longest, which the fewest texts have; "" if it has none."""

    def __post_init__(self) -> None:
        """Split it."""
        parts: list[str] = []
        whole: list[str] = []
        pieces = self.text.lower().replace("e-mail", "email").split("*")
        for piece, is_last in zip(pieces, [*[False] * (len(pieces) - 1), True], strict=True):
            words = _words(piece)
            goes_on = bool(words) and not is_last and not piece[-1].isspace()
            glued = bool(parts and words) and not piece[0].isspace()
            if glued or not (words or is_last):
                raise InputError(f"a * has a word before it, and stands apart from the next: {self.text[:80]!r}")
            whole += words[:-1] if goes_on else words
            if words:
                parts.append(f" {' '.join(words)}" + ("" if goes_on else " "))
        if not parts:
            raise InputError(f"a phrase needs a word: {self.text[:80]!r}")
        object.__setattr__(self, "parts", tuple(parts))
        object.__setattr__(self, "key", max(whole, key=len, default=""))

    def is_in(self, text: str) -> bool:
        """Say whether it is in a text of words, `f" {' '.join(words)} "`; in time that grows with the text alone."""
        first, *others = self.parts
        start = text.find(first)
        while start >= 0 and others:
            end = start + len(first) - 1  # the space behind a word is the one before the next
            for part in others:
                found = text.find(part, end, end + MAX_GAP + len(part))
                if found < 0:
                    break
                end = found + len(part) - 1
            else:
                return True
            start = text.find(first, start + 1)
        return start >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Says what the replies mean that meet all the conditions given; one without any would match everything.

    Raises:
        InputError: there is no condition, or one that cannot be read; the text names the rule.
    """

    name: str
    reply_class: ReplyClass
    codes: tuple[str, ...] = ()
    """Reply codes, any of which has to be it: as "550", "55x" or "4xx"; "000" for a failure without one."""
    enhanced: tuple[str, ...] = ()
    """Enhanced codes, any of which has to be it: as "5.7.26", "x.1.1" or "4.7.x"."""
    commands: tuple[str, ...] = ()
    """What was answered, any of: as "RCPT TO"."""
    text: tuple[str, ...] = ()
    """Phrases, any of which has to be in the text: see `Phrase`."""
    examples: tuple[str, ...] = ()
    """Replies that this rule is for: code, perhaps an enhanced code, and text. For tests and for people."""
    phrases: tuple[Phrase, ...] = field(init=False, repr=False, compare=False)
    _enhanced: tuple[tuple[str, ...], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the patterns."""
        if not (self.codes or self.enhanced or self.commands or self.text):
            raise InputError(f"rule {self.name!r}: no condition")
        for code in self.codes:
            if not _code_pattern(code):
                raise InputError(f"rule {self.name!r}: not a pattern of reply codes: {code!r}")
        for enhanced in self.enhanced:
            if not _enhanced_pattern(enhanced):
                raise InputError(f"rule {self.name!r}: not a pattern of enhanced codes: {enhanced!r}")
        try:
            phrases = tuple(Phrase(text) for text in self.text)
        except InputError as error:
            raise InputError(f"rule {self.name!r}: {error}") from error
        object.__setattr__(self, "phrases", phrases)
        object.__setattr__(self, "_enhanced", tuple(tuple(enhanced.split(".")) for enhanced in self.enhanced))

    def allows(self, code: str, enhanced: tuple[str, ...], command: str) -> bool:
        """Say whether all conditions but that on the text are met."""
        return (
            (not self.codes or any(_fits(pattern, code) for pattern in self.codes))
            and (not self.enhanced or any(_fits(pattern, enhanced) for pattern in self._enhanced))
            and (not self.commands or command in self.commands)
        )


def _fits(pattern: Sequence[str], value: Sequence[str]) -> bool:
    return len(pattern) == len(value) and all(p in ("x", v) for p, v in zip(pattern, value, strict=True))


def read_rules(text: str) -> tuple[Rule, ...]:
    """Read rules from TOML: tables `[[rule]]` with the fields of `Rule`, `reply_class` being called `class`.

    Raises:
        InputError: it is no TOML, or a rule has an unknown field, or one that cannot be; the text names the rule.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"rules that are no TOML: {error}") from error
    entries = table.pop("rule", [])
    if table or not isinstance(entries, list):
        raise InputError("rules are tables called [[rule]], and nothing else")
    return tuple(_rule(entry, number) for number, entry in enumerate(entries, 1))


def _rule(entry: Any, number: int) -> Rule:
    name = entry.get("name", "") if isinstance(entry, dict) else ""
    who = f"rule {name!r}" if name else f"rule {number}"
    if not isinstance(entry, dict) or not isinstance(name, str) or not name:
        raise InputError(f"{who}: a rule is a table with a name")
    if unknown := sorted(entry.keys() - _KEYS):
        raise InputError(f"{who}: unknown field {unknown[0]!r}; known: {', '.join(sorted(_KEYS))}")
    if entry.get("class") not in list(ReplyClass):
        raise InputError(f"{who}: class must be one of {', '.join(ReplyClass)}")
    lists: dict[str, tuple[str, ...]] = {}
    for key in _KEYS - {"name", "class"}:
        value = entry.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise InputError(f"{who}: {key} must be a list of strings")
        lists[key] = tuple(value)
    return Rule(name=name, reply_class=ReplyClass(entry["class"]), **lists)


@cache
def default_rules() -> tuple[Rule, ...]:
    """Read the rules that ship, in the order in which they are tried."""
    return read_rules(files("moxlib.queue.reply_class").joinpath("rules.toml").read_text(encoding="utf-8"))
