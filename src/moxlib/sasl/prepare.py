"""Passwords as the server will have prepared them: the OpaqueString profile of PRECIS (RFC 8265 4.2, RFC 8264)."""

import re
import unicodedata
from typing import Final

__all__ = ["prepared_password"]

# RFC 8264 9.6: exceptions that are allowed though no other rule allows them, and that are forbidden though one does.
_ALLOWED: Final = frozenset("\u00df\u03c2\u06fd\u06fe\u0f0b\u3007")
_FORBIDDEN: Final = frozenset("\u0640\u07fa\u302e\u302f\u3031\u3032\u3033\u3034\u3035\u303b")
# RFC 8264 9.6 with RFC 5892 A: allowed in certain places only.
_IN_CONTEXT: Final = re.compile("[\u00b7\u0375\u05f3\u05f4\u30fb\u0660-\u0669\u06f0-\u06f9\u200c\u200d]")
# RFC 8264 9.9 and 9.13: letters and digits of all kinds, spaces, symbols, punctuation.
_CATEGORIES: Final = frozenset(
    {"Ll", "Lu", "Lo", "Nd", "Lm", "Mn", "Mc", "Lt", "Nl", "No", "Me", "Zs"}
    | {"Sm", "Sc", "Sk", "So", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po"}
)
# RFC 8264 9.9 and 9.13: old Hangul jamo; then what Unicode's Default_Ignorable_Code_Point names, and noncharacters.
_IGNORABLE: Final = re.compile(
    "[\u1100-\u11ff\ua960-\ua97c\ud7b0-\ud7c6\ud7cb-\ud7fb"
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "\ufdd0-\ufdef\ufffe\uffff]"
)


def prepared_password(password: str) -> str:
    """Return `password` with every kind of space as SPACE, in NFC; one that the profile forbids as it is.

    A server may not enforce the profile, so a forbidden password is worth a try (RFC 8265 6.1).
    """
    if password.isascii():
        return password
    spaced = "".join(" " if unicodedata.category(c) == "Zs" else c for c in password)
    prepared = unicodedata.normalize("NFC", spaced)
    return prepared if _allowed(prepared) else password


def _allowed(text: str) -> bool:
    """Whether the string is of the FreeformClass (RFC 8264 4.3)."""
    return all(_character_allowed(text, index, character) for index, character in enumerate(text))


def _character_allowed(text: str, index: int, character: str) -> bool:
    if character in _ALLOWED or " " <= character <= "~":
        return True
    if _IN_CONTEXT.match(character):
        return _context_allows(text, index)
    if character in _FORBIDDEN or _IGNORABLE.match(character):
        return False
    return unicodedata.category(character) in _CATEGORIES


def _context_allows(text: str, index: int) -> bool:
    """RFC 5892 A, as the IDNA library has it."""
    from idna import IDNAError, valid_contextj, valid_contexto  # noqa: PLC0415 - tables of a megabyte, rarely needed

    rule = valid_contextj if text[index] in "\u200c\u200d" else valid_contexto
    try:
        return rule(text, index)
    except (IDNAError, ValueError):
        return False
