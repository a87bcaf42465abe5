"""UTS 46 processing (non-transitional, STD3 rules, CheckHyphens, CheckJoiners, CheckBidi) on the tables of `idna`.

`idna.encode` itself is not used: it adds IDNA 2008's list of permitted characters, which refuses names that exist and
that mox and browsers take, such as `☺.example` or `l·a.cat`.
"""

import unicodedata

import idna

from moxlib.dns.errors import InvalidDomain

__all__ = ["to_forms"]

_ACE = "xn--"
_JOINERS = ("\u200c", "\u200d")
_RIGHT_TO_LEFT = frozenset(("R", "AL", "AN"))  # RFC 5893 1.4: one such character makes the whole name a Bidi one


def to_forms(text: str) -> tuple[str, str]:
    """Return the ASCII form and the Unicode form of a name; the latter is empty when they are the same.

    Lengths are not checked here, except that no label is empty.

    Raises:
        InvalidDomain: UTS 46 refuses the name.
    """
    try:
        # Unicode 15.1 changed the mapping of the capital sharp s from "ss" to "ß". The old one is kept, so that a
        # name does not change its meaning with the version of a dependency, and agrees with mox's.
        mapped = idna.uts46_remap(text.replace("\u1e9e", "ss"), std3_rules=True)
        unicode_labels = [_u_label(label, text) for label in mapped.split(".")]
        if any(unicodedata.bidirectional(char) in _RIGHT_TO_LEFT for label in unicode_labels for char in label):
            for label in unicode_labels:
                idna.check_bidi(label, check_ltr=True)
    except idna.IDNAError as err:
        raise InvalidDomain("a character or label that international names do not allow", text) from err
    ascii_form = ".".join(map(_a_label, unicode_labels))
    unicode_form = ".".join(unicode_labels)
    return ascii_form, "" if unicode_form == ascii_form else unicode_form


def _u_label(label: str, text: str) -> str:
    """Decode one mapped label if it is an A-label, and check it."""
    if not label:
        raise InvalidDomain("an empty label", text)
    if label.startswith(_ACE):
        label = _decode(label, text)
    idna.check_hyphen_ok(label)
    if not label.isascii():
        idna.check_initial_combiner(label)
        for joiner in _JOINERS:
            _check_joiner(label, joiner, text)
    return label


def _check_joiner(label: str, joiner: str, text: str) -> None:
    position = label.find(joiner)
    while position >= 0:
        try:
            allowed = idna.valid_contextj(label, position)
        except ValueError:  # a neighbour of unknown joining type
            allowed = False
        if not allowed:
            raise InvalidDomain("an invisible joiner where none may stand", text)
        position = label.find(joiner, position + 1)


def _decode(label: str, text: str) -> str:
    """Decode an A-label; it must be the one encoding of a valid, non-ASCII label (RFC 5890 2.3.2.1)."""
    try:
        decoded = label[len(_ACE) :].encode("ascii").decode("punycode")
        # Checked by encoding again: Python's decoder accepts other spellings of the same label.
        good = decoded != "" and not decoded.isascii() and _a_label(decoded) == label
    except UnicodeError as err:
        raise InvalidDomain("an xn-- label that decodes to nothing", text) from err
    if not good or idna.uts46_remap(decoded, std3_rules=True) != decoded or "\u1e9e" in decoded:
        raise InvalidDomain("an xn-- label that decodes to nothing valid", text)
    return decoded


def _a_label(label: str) -> str:
    return label if label.isascii() else _ACE + label.encode("punycode").decode("ascii")
