"""Values with parameters, as a caller gives them and as they are written (RFC 2045 5.1, RFC 2183 2, RFC 2231).

`parameters` reads what others wrote, however broken; what is given here is to be right, or is refused.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from moxlib.message.encoded_text import SOFT_LIMIT, check_text
from moxlib.message.errors import InvalidDraft

__all__ = ["MediaType", "parameter_tokens", "parse_media_type"]

MAX_INPUT: Final = 4096  # characters: more than any content type that means something
MAX_NAME: Final = 40  # characters of a parameter's name, so that a section of its value has room beside it
_CHARS = r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]"  # RFC 2045 5.1
_NAME_CHARS = r"[!#$&+\-.^_`{|}~0-9A-Za-z]"  # RFC 2231 7: attribute-char
_type = re.compile(rf"[ \t]*+({_CHARS}{{1,127}}+)/({_CHARS}{{1,127}}+)[ \t]*+").match  # RFC 6838 4.2 has the length
_parameter = re.compile(
    rf'[ \t]*+({_NAME_CHARS}{{1,{MAX_NAME}}}+)[ \t]*+=[ \t]*+(?:"((?>(?:[^"\\]|\\.)*))"|([^ \t;"\\]++))[ \t]*+'
).match
_plain = re.compile(rf"{_NAME_CHARS}+").fullmatch  # a token has more, at which there are readers that stumble
_quoted_pair = re.compile(r"\\(.)")
_to_quote = re.compile(r'["\\]')
# RFC 2231 7: the octets that stand for themselves
_PERCENT: Final = tuple(
    chr(octet) if re.match(_NAME_CHARS, chr(octet)) and octet < 128 else f"%{octet:02X}"  # noqa: PLR2004 - ASCII
    for octet in range(256)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaType:
    """A content type: its name, in lower case, and its parameters in order, their names in lower case."""

    name: str
    parameters: tuple[tuple[str, str], ...] = ()

    def tokens(self) -> list[str]:
        """Return it as the tokens of a field."""
        return parameter_tokens(self.name, self.parameters)


def parse_media_type(text: str, where: str) -> MediaType:
    """Parse a content type that is given to be written.

    Args:
        text: as `text/calendar; method=REQUEST`. Values may have characters beyond ASCII, in quotes.
        where: the field that an error is of.

    Raises:
        InvalidDraft: it is none, or has a parameter twice.
    """
    check_text(where, text)
    match = _type(text) if len(text) <= MAX_INPUT else None
    if match is None:
        raise InvalidDraft("not a content type", where, value=text)
    parameters: dict[str, str] = {}
    position = match.end()
    while position < len(text):
        parameter = _parameter(text, position + 1) if text[position] == ";" else None
        if parameter is None:
            if not text[position:].strip("; \t") and text[position] == ";":  # nothing after the last semicolon
                break
            raise InvalidDraft("a parameter that is none", where, value=text)
        name, in_quotes, bare = parameter.groups()
        if name.lower() in parameters:
            raise InvalidDraft("a parameter that is repeated", where, value=text)
        parameters[name.lower()] = bare if in_quotes is None else _quoted_pair.sub(r"\1", in_quotes)
        position = parameter.end()
    return MediaType(name=f"{match[1]}/{match[2]}".lower(), parameters=tuple(parameters.items()))


def parameter_tokens(main: str, parameters: Iterable[tuple[str, str]]) -> list[str]:
    """Return a value with parameters as tokens, each parameter one: long ones in sections, beyond ASCII in UTF-8."""
    pieces = [main, *(piece for name, value in parameters for piece in _sections(name, value))]
    return [f"{piece};" for piece in pieces[:-1]] + pieces[-1:]


def _sections(name: str, value: str) -> Iterator[str]:
    if _plain(value):
        whole = f"{name}={value}"
    elif value.isascii():
        whole = f'{name}="{_to_quote.sub(_escaped, value)}"'
    else:
        yield from _extended(name, value)
        return
    if len(whole) < SOFT_LIMIT - 1:
        yield whole
    else:
        yield from _extended(name, value)


def _escaped(match: re.Match[str]) -> str:
    return f"\\{match[0]}"


def _extended(name: str, value: str) -> Iterator[str]:
    """Yield a value in UTF-8 and percent-encoded (RFC 2231 4), in sections if it is long (RFC 2231 3)."""
    whole = f"{name}*=utf-8''" + "".join([_PERCENT[octet] for octet in value.encode()])
    if len(whole) < SOFT_LIMIT - 1:
        yield whole
        return
    number = 0
    section = f"{name}*0*=utf-8''"
    for character in value:
        encoded = "".join([_PERCENT[octet] for octet in character.encode()])
        if len(section) + len(encoded) >= SOFT_LIMIT - 1:
            yield section
            number += 1
            section = f"{name}*{number}*="
        section += encoded
    yield section
