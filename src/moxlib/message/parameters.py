"""Values with parameters: Content-Type and Content-Disposition (RFC 2045 5.1, RFC 2183 2, RFC 2231).

Read as far as they can be. A parameter that is malformed is left out, and the others stay; mox gives up the whole
field.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import unquote_to_bytes

from moxlib.message.charset import decode

__all__ = ["first_token", "parse_parameters"]

# RFC 2045 5.1 token, also of characters beyond ASCII, which some senders put into file names
_CHAR = r'[^\x00-\x20()<>@,;:\\"/\[\]?=\x7f]'
_main = re.compile(rf"\s*+({_CHAR}++(?:/{_CHAR}++)?)").match
_parameter = re.compile(rf'\s*+({_CHAR}++)\s*+=\s*+(?:"((?>(?:[^"\\]|\\.)*))("?)|([^;]*+))', re.DOTALL).match
_plain = re.compile(rf"{_CHAR}++").fullmatch
_quoted_pair = re.compile(r'\\([()<>@,;:\\"/\[\]?=])')
_comment = re.compile(r"\([^()]*+\)")
_looks_like_another = re.compile(r"[A-Za-z][A-Za-z0-9]*+=").match
_section = re.compile(r"([^*]++)(?:\*([0-9]{1,4}))?(\*)?").fullmatch
MAX_SECTIONS: Final = 1000  # of one parameter (RFC 2231 3); a file name of 255 octets takes four


def first_token(value: str) -> str:
    """Return the first word of a value, in lower case, as in `base64 (a comment)`; a type may have a slash."""
    if value.startswith("("):
        value = _comment.sub("", value)
    match = _main(value)
    return match[1].lower() if match else ""


def parse_parameters(value: str) -> tuple[str, dict[str, str]]:
    """Return the first word of a value in lower case, empty if there is none, and its parameters.

    Args:
        value: unfolded.

    Returns:
        Names are in lower case and without the marks of RFC 2231, whose sections are joined and decoded. Of repeated
        ones the first counts.
    """
    main = first_token(value)
    position = value.find(";")
    if position < 0:
        return main, {}
    found: dict[str, str] = {}
    extended = False
    while position >= 0:
        match = _parameter(value, position + 1)
        if match is None:
            position = value.find(";", position + 1)
            continue
        name, quoted, _, bare = match.groups()
        text = _bare(bare) if quoted is None else _unquoted(quoted)
        if text is not None:
            extended = extended or "*" in name
            found.setdefault(name.lower(), text)
        position = value.find(";", match.end())
    return main, _joined(found) if extended else found


def _unquoted(text: str) -> str:
    # Only what needs it is unescaped, or Windows paths, which senders do not escape, would lose their backslashes.
    return _quoted_pair.sub(r"\1", text) if "\\" in text else text


def _bare(text: str) -> str | None:
    """Return a value without quotes; None if it is none.

    Blanks in it are kept, as in `filename=my file.txt`. So is "=", as in `boundary=----=_Part`, but not in `a=b`: there
    the ";" before a further parameter was forgotten, and what belongs to what is anybody's guess.
    """
    text = text.strip()
    if _plain(text):
        return text
    if "(" in text:
        text = _comment.sub("", text).strip()
    return None if not text or _looks_like_another(text) else text


def _joined(found: dict[str, str]) -> dict[str, str]:
    """Join and decode the sections of RFC 2231; an extended form wins over a plain one of the same name."""
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, text in found.items():
        match = _section(name)
        if match is None or (match[2] is None and match[3] is None):
            plain[name] = text
        else:
            # name* is the one section of its own; were there name*0* as well, it would win
            number = -1 if match[2] is None else int(match[2])
            sections.setdefault(match[1], {}).setdefault(number, (text, match[3] is not None))
    return plain | {name: _sections_text(numbered) for name, numbered in sections.items()}


def _sections_text(numbered: dict[int, tuple[str, bool]]) -> str:
    if -1 in numbered:
        return _decoded([numbered[-1]])
    run = []
    for number in range(MAX_SECTIONS):
        if number not in numbered:
            break
        run.append(numbered[number])
    return _decoded(run)


def _decoded(sections: list[tuple[str, bool]]) -> str:
    """Decode (text, is percent-encoded) sections; the first, if it is, begins with charset'language' (RFC 2231 4)."""
    charset = ""
    pieces: list[str] = []
    octets = bytearray()  # of encoded sections in a row: a character may be split between them
    for index, (text, encoded) in enumerate(sections):
        if index == 0 and encoded and text.count("'") > 1:
            charset, _, text = text.split("'", 2)  # noqa: PLW2901 - the rest of the section
        if encoded:
            octets += unquote_to_bytes(text)
        else:
            pieces += (decode(octets, charset), text)
            octets = bytearray()
    pieces.append(decode(octets, charset))
    return "".join(pieces)
