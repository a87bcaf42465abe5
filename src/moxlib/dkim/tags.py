"""Lists of tags, `v=1; a=rsa-sha256; ...`, which signatures and records are written as (RFC 6376 3.2)."""

import base64
import binascii
import re
from typing import Final

from moxlib.dkim.errors import shown
from moxlib.dns import InvalidDomain
from moxlib.dns.domain import check_lengths

__all__ = ["TagError", "is_word", "parse_selector", "split_base64", "split_list", "split_tags", "split_words"]

MAX_SELECTOR: Final = 253  # octets, as many as a domain name has; the regular expression is not to see more

_BLANKS: Final = " \t\r\n"  # where they stand was checked: line ends only in folds
_name = re.compile(r"[A-Za-z][A-Za-z0-9_]*").fullmatch
# Folds are blanks here, and what RFC 6376 leaves to octets above 127 is UTF-8 (RFC 8616 5).
_value = re.compile(r"(?>(?:[\t -:<-~\x80-\U0010ffff]|\r\n[ \t])*)").fullmatch
_word = re.compile(r"[a-z](?:[a-z0-9-]*[a-z0-9])?").fullmatch  # hyphenated-word
_blanks = re.compile(r"[ \t\r\n]+")
# RFC 6376 3.1 has the labels of domain names; with underscores, which some have, and mox takes.
_selector = re.compile(r"(?:[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?\.)*[a-z0-9](?:[a-z0-9_-]*[a-z0-9])?").fullmatch


class TagError(ValueError):
    """A list of tags, or the value of one, is malformed; the text says how. For the callers in this package."""


def split_tags(text: str) -> dict[str, str]:
    """Return the values by name, in order, without the blanks around them.

    Raises:
        TagError: no name, no value, a name that comes twice, or a character that may not be there.
    """
    pieces = text.split(";")
    if not pieces[-1].strip(_BLANKS):
        pieces.pop()
    tags: dict[str, str] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name = name.strip(_BLANKS)
        if not equals or not _name(name):
            raise TagError(f"not a tag: {shown(piece.strip(_BLANKS))}")
        if name in tags:
            raise TagError(f"two tags {shown(name)}")
        if not _value(value):
            raise TagError(f"a character that may not be there, in the tag {shown(name)}")
        tags[name] = value.strip(_BLANKS)
    return tags


def split_base64(value: str, what: str) -> bytes:
    """Return the octets of a base64 value, which may have blanks anywhere.

    Raises:
        TagError: it is not base64; the text names `what`.
    """
    try:
        return base64.b64decode(_blanks.sub("", value), validate=True)
    except (binascii.Error, ValueError) as error:  # the latter for what is not ASCII
        raise TagError(f"{what} is not base64") from error


def split_list(value: str) -> list[str]:
    """Return the items of a list with colons, without blanks around them."""
    return [item.strip(_BLANKS) for item in value.split(":")]


def split_words(value: str, what: str) -> tuple[str, ...]:
    """Return the words of a list with colons, in lower case.

    Raises:
        TagError: an item is no word; the text names `what`.
    """
    words = tuple(split_list(value.lower()))
    if not all(map(is_word, words)):
        raise TagError(f"{what} is not a list of words: {shown(value)}")
    return words


def is_word(text: str) -> bool:
    """Return whether a list may have this item: a word in lower case, or what stands for all (RFC 6376 3.6.1)."""
    return text == "*" or _word(text) is not None


def parse_selector(text: str) -> str:
    """Return the name of a selector in lower case.

    Raises:
        InvalidDomain: it is not one or more labels of a domain name, underscores allowed.
    """
    lowered = text.lower() if text.isascii() else text
    if len(lowered) > MAX_SELECTOR or not _selector(lowered):
        raise InvalidDomain("not a DKIM selector", text)
    check_lengths(lowered, text)
    return lowered
