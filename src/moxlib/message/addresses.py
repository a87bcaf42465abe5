"""Address lists in headers (RFC 5322 3.4, 4.4), taken apart into addr-specs.

Only taken apart: what is not an address comes out as the text it is, for `moxlib.smtp.parse_address` to refuse, and
nothing is left out in silence. `email.utils.getaddresses` differs between Python releases, and returns nothing at all
for a list that it finds odd.
"""

import re
from collections.abc import Iterator

from moxlib.message.words import decode_words

__all__ = ["split_addresses", "split_mailboxes"]

_SPECIAL = r'\s"(),:;<>\[\]'
_QTEXT = r'(?>(?:[^"\\]|\\.)*)'  # what is not closed goes to the end, or each quote in it would be looked at again
_lone = re.compile(rf"\s*([^{_SPECIAL}]+)\s*").fullmatch
_simple = re.compile(
    rf"""
    \s*+ (?: (?: "([^"\\]*+)" | ([^"(),:;<>\[\]]*+) ) \s*+ <([^{_SPECIAL}]++)> | ([^{_SPECIAL}]++) ) \s*+ (?:,|\Z)
    """,
    re.VERBOSE,
).match
_IN_ANGLE = rf'(?>(?:[^<>"]|"{_QTEXT}")*)'
_OTHER_TOKENS = rf"""
    | (?P<space> \s+ )
    | (?P<quoted> "{_QTEXT}(?:"|\\?\Z) )
    | (?P<comment> \( )
    | (?P<end> [,;] )
    | (?P<group> : )
    | (?P<encoded> =\?[^?\s]++\?[bBqQ]\?[^?\s]*+\?= )  # RFC 2047 5: without specials, but senders put "," into it
    | (?P<word> \[[^\[\]]*\] | [^{_SPECIAL}]+ | . )
"""
_token = re.compile(
    rf"""
      (?P<angle> <{_IN_ANGLE}(?:>|"{_QTEXT}\\?\Z) )
    | (?P<unclosed> < (?=(?P<reach> {_IN_ANGLE} )) )
    {_OTHER_TOKENS}
    """,
    re.VERBOSE | re.DOTALL,
).match
# Within the reach of an unclosed "<": with quotes taken otherwise than it did, each further one could reach as far.
_token_but_angle = re.compile(rf"(?P<angle> <[^{_SPECIAL}]*+> ) {_OTHER_TOKENS}", re.VERBOSE | re.DOTALL).match
_in_comment = re.compile(r"\\.|[()]", re.DOTALL).finditer
_angle_noise = re.compile(rf'("{_QTEXT}(?:"|\\?\Z))|\s+', re.DOTALL)
_quoted_pair = re.compile(r"\\(.)", re.DOTALL)
# The lookbehind keeps a long run of blanks from being looked at again from each of them.
_around_dot_or_at = re.compile(r"(?<!\s)\s*+([.@])\s*+")


def split_addresses(value: str) -> list[str]:
    """Return the addr-specs of an address list, in order, with repeats; display names, comments and groups go.

    Args:
        value: the value of a From, To, Cc ... field, folded or not, as it stands in the message (encoded words are not
            to be decoded before: what they hold may look like an address).

    Returns:
        Texts as `parse_address` takes them. Text that is no address is returned too, so that the caller sees it.
    """
    lone = _lone(value)
    return [lone[1]] if lone else _split(value)


def _split(value: str) -> list[str]:
    return [spec for _, angle, words in _entries(value) if (spec := _spec(angle, words)) or angle is not None]


def split_mailboxes(value: str) -> list[tuple[str, str]]:
    """Return the (display name, addr-spec) pairs of an address list, in order, with repeats.

    Args:
        value: as for `split_addresses`.

    Returns:
        Names have their encoded words decoded, quotes and backslashes taken off, and blanks made single. Within quotes,
        what looks like an encoded word is none (RFC 2047 5). An address without a name but with a comment has that.
        Specs are as `split_addresses` returns them.
    """
    found: list[tuple[str, str]] = []
    position = 0
    while match := _simple(value, position):
        quoted, name, angle, spec = match.groups()
        found.append((" ".join((quoted or decode_words(name or "")).split()), angle or spec))
        position = match.end()
    if position == len(value):
        return found
    return [
        (_name(words) if angle is not None else decode_words(comment), spec)
        for comment, angle, words in _entries(value)
        if (spec := _spec(angle, words))
    ]


def _entries(value: str) -> Iterator[tuple[str, str | None, list[str]]]:
    """Yield, for each item of the list, its last comment, what is in angle brackets, and the other words."""
    words: list[str] = []
    angle: str | None = None
    comment = ""
    position = reach = 0
    while match := (_token if position >= reach else _token_but_angle)(value, position):
        position = match.end()
        match match.lastgroup:
            case "comment":
                position = _comment_end(value, match.start())
                comment = value[match.end() : position].removesuffix(")").strip()
                _add_blank(words)
            case "angle":
                angle = match[0]
            case "group":  # what came before is the group's name
                words = []
            case "end":
                yield comment, angle, words
                words, angle, comment = [], None, ""
            case "space":
                _add_blank(words)
            case "unclosed":
                reach = match.end("reach")
                words.append(match[0])
            case _:
                words.append(match[0])
    yield comment, angle, words


def _add_blank(words: list[str]) -> None:
    if words and words[-1] != " ":  # one is enough, and many would take time by the square of their number
        words.append(" ")


def _spec(angle: str | None, words: list[str]) -> str:
    if angle is not None:
        spec = _angle_noise.sub(r"\1", angle[1:].removesuffix(">")).strip()
        # An obsolete route before the address (RFC 5322 4.4): <@relay.example,@other.example:user@example.com>
        return spec.rpartition(":")[2] if spec.startswith("@") else spec
    spec = "".join(words).strip()
    return spec if '"' in spec else _around_dot_or_at.sub(r"\1", spec)


def _name(words: list[str]) -> str:
    pieces: list[str] = []
    unquoted: list[str] = []  # since the last quoted string
    for word in words:
        if word.startswith('"') and len(word) > 1:
            pieces += (decode_words("".join(unquoted)), _quoted_pair.sub(r"\1", word[1:-1]))
            unquoted = []
        else:
            unquoted.append(word)
    pieces.append(decode_words("".join(unquoted)))
    return " ".join("".join(pieces).split())


def _comment_end(value: str, start: int) -> int:
    """Return the offset after the comment that begins at `start`; comments nest. An unclosed one goes to the end."""
    depth = 0
    for match in _in_comment(value, start):
        if match[0] == "(":
            depth += 1
        elif match[0] == ")":
            depth -= 1
            if depth == 0:
                return match.end()
    return len(value)
