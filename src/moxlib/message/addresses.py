"""Address lists in headers (RFC 5322 3.4, 4.4), taken apart into addr-specs.

Only taken apart: what is not an address comes out as the text it is, for `moxlib.smtp.parse_address` to refuse, and
nothing is left out in silence. `email.utils.getaddresses` differs between Python releases, and returns nothing at all
for a list that it finds odd.
"""

import re

__all__ = ["split_addresses"]

_SPECIAL = r'\s"(),:;<>\[\]'
_lone = re.compile(rf"\s*([^{_SPECIAL}]+)\s*").fullmatch
_token = re.compile(
    rf"""
      (?P<space> \s+ )
    | (?P<quoted> "(?:[^"\\]|\\.)*" )
    | (?P<angle> <(?:[^<>"]|"(?:[^"\\]|\\.)*")*> )
    | (?P<comment> \( )
    | (?P<end> [,;] )
    | (?P<group> : )
    | (?P<word> \[[^\[\]]*\] | [^{_SPECIAL}]+ | . )
    """,
    re.VERBOSE | re.DOTALL,
).match
_in_comment = re.compile(r"\\.|[()]", re.DOTALL).finditer
_angle_noise = re.compile(r'("(?:[^"\\]|\\.)*")|\s+', re.DOTALL)
_around_dot_or_at = re.compile(r"\s*([.@])\s*")


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
    found: list[str] = []
    words: list[str] = []
    angle: str | None = None
    position = 0
    while match := _token(value, position):
        position = match.end()
        match match.lastgroup:
            case "comment":
                position = _comment_end(value, match.start())
                words.append(" ")
            case "angle":
                angle = match[0]
            case "group":  # what came before is the group's name
                words.clear()
            case "end":
                _add(found, words, angle)
                words, angle = [], None
            case "space":
                words.append(" ")
            case _:
                words.append(match[0])
    _add(found, words, angle)
    return found


def _add(found: list[str], words: list[str], angle: str | None) -> None:
    if angle is not None:
        spec = _angle_noise.sub(r"\1", angle[1:-1])
        # An obsolete route before the address (RFC 5322 4.4): <@relay.example,@other.example:user@example.com>
        found.append(spec.rpartition(":")[2] if spec.startswith("@") else spec)
    elif spec := "".join(words).strip():
        found.append(spec if '"' in spec else _around_dot_or_at.sub(r"\1", spec))


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
