"""Domain names in their two forms, and the parser that makes them.

Parsing is UTS 46, non-transitional, with STD3 rules (`_uts46`); plain lower-case ASCII names, which are nearly all
that mail software meets, take a path of one regular expression and never load the tables.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from moxlib.dns.errors import InvalidDomain

__all__ = ["MAX_LABEL", "MAX_NAME", "Domain", "parse_domain", "parse_domain_lax"]

MAX_LABEL: Final = 63  # octets, RFC 1035 2.3.4
MAX_NAME: Final = 253  # octets without the final dot: 255 on the wire (RFC 1035 2.3.4) less its two length octets
MAX_INPUT: Final = 4 * MAX_NAME  # characters: mapping may shorten a name; what is longer is not a name to look at

# Letter-digit-hyphen labels without "--" (which UTS 46 restricts and "xn--" needs), the last one beginning with a
# letter. Possessive, so that a refusal costs one pass. The length of labels is not in it: names to 63 need no look.
# Groups repeat inside atomic ones, (?>(?:...)*): Python before 3.11.5 matches (?:...)*+ wrongly (CPython gh-106052).
_plain = re.compile(r"(?>(?:[a-z0-9]++(?>(?:-[a-z0-9]++)*)\.)*)[a-z][a-z0-9]*+(?>(?:-[a-z0-9]++)*)").fullmatch

# What `Domain` admits as its ASCII form: as above, with "--", any last label, and underscores (parse_domain_lax).
_ascii_form = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Domain:
    """A domain name of one or more labels, without a final dot.

    Two domains are equal when their ASCII forms are. Make one with `parse_domain`; the constructor takes forms that
    are canonical already (read back from a database, say) and checks the ASCII one only.

    Attributes:
        ascii: lower case; A-labels (`xn--...`) where the name is international. This is what DNS is asked.
        unicode: the same name with U-labels in NFC; empty when the name is plain ASCII.

    Raises:
        InvalidDomain: `ascii` is not a lower-case name of at most 253 octets in labels of at most 63.
    """

    ascii: str
    unicode: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not _ascii_form(self.ascii):
            raise InvalidDomain("not a canonical ASCII name", self.ascii)
        check_lengths(self.ascii, self.ascii)

    @property
    def name(self) -> str:
        """The Unicode form if there is one, else the ASCII form, for people to read."""
        return self.unicode or self.ascii

    def xname(self, utf8: bool) -> str:
        """Return `name` if UTF-8 may be used (SMTPUTF8), else the ASCII form."""
        return self.unicode if utf8 and self.unicode else self.ascii

    def ascii_extra(self, utf8: bool) -> str:
        """Return the ASCII form where `xname(utf8)` is not it, else nothing: for comments in trace headers."""
        return self.ascii if utf8 and self.unicode else ""

    def log_string(self) -> str:
        """Return `unicode/ascii` for an international name, else the ASCII form."""
        return f"{self.unicode}/{self.ascii}" if self.unicode else self.ascii

    def __str__(self) -> str:
        """Return the ASCII form."""
        return self.ascii


_new_object = object.__new__
_set_ascii = Domain.__dict__["ascii"].__set__
_set_unicode = Domain.__dict__["unicode"].__set__


def _checked(ascii_form: str, unicode_form: str) -> Domain:
    """Make a `Domain` of forms that were just checked, at half the cost of its constructor."""
    domain = _new_object(Domain)
    _set_ascii(domain, ascii_form)
    _set_unicode(domain, unicode_form)
    return domain


def check_lengths(name: str, value: str) -> None:
    """Check the octets of an ASCII name and of its labels.

    Raises:
        InvalidDomain: the name or a label is too long; the error carries `value`, which the name was made from.
    """
    if len(name) > MAX_NAME:
        raise InvalidDomain(f"longer than {MAX_NAME} octets", value)
    if len(name) > MAX_LABEL and max(map(len, name.split("."))) > MAX_LABEL:
        raise InvalidDomain(f"a label is longer than {MAX_LABEL} octets", value)


def parse_domain(text: str, *, numeric_tld: bool = False) -> Domain:
    """Parse a domain name of ASCII or Unicode labels into its canonical forms.

    Names are mapped as UTS 46 says (case, width, compatibility forms), so compare only what was parsed.

    Args:
        text: the name, without a final dot. Invalid UTF-8 (as surrogates) is refused.
        numeric_tld: accept a last label of digits only, as long as another label has something else. No such name
            exists in the DNS (RFC 3696 2), but in addresses on private networks they do.

    Raises:
        InvalidDomain: empty, a final dot, an empty or overlong label, too long a name, an IP address or a name of
            digits only, an underscore, or any character or label that UTS 46 refuses.
    """
    if _plain(text):
        if len(text) > MAX_LABEL:
            check_lengths(text, text)
        return _checked(text, "")
    if text.isascii() and _plain(lowered := text.lower()):
        check_lengths(lowered, text)
        return _checked(lowered, "")
    if not text:
        raise InvalidDomain("empty", text)
    if text.endswith("."):
        raise InvalidDomain("ends in a dot", text)
    if len(text) > MAX_INPUT:
        raise InvalidDomain(f"longer than {MAX_NAME} octets", text)

    from moxlib.dns._uts46 import to_forms  # noqa: PLC0415 - its tables take milliseconds to load, and few names need them

    ascii_form, unicode_form = to_forms(text)
    check_lengths(ascii_form, text)
    *others, last = ascii_form.split(".")
    if last.isdigit() and (not numeric_tld or all(label.isdigit() for label in others)):
        raise InvalidDomain("numeric, like an IP address", text)
    return _checked(ascii_form, unicode_form)


def parse_domain_lax(text: str) -> Domain:
    """Parse a domain name as `parse_domain` does, but allow underscores in a name that is plain ASCII.

    Names of services (`_dmarc.example.com`) and some MX targets have them.

    Raises:
        InvalidDomain: as `parse_domain`; also for underscores in an international name.
    """
    if "_" not in text:
        return parse_domain(text)
    lowered = text.lower()
    if not text.isascii():
        raise InvalidDomain("underscores are allowed in plain ASCII names only", text)
    # Valid with an underscore exactly if it is with a letter in its place. Nothing else may be mapped on the way.
    stand_in = lowered.replace("_", "a")
    try:
        domain = parse_domain(stand_in)
    except InvalidDomain as err:
        raise InvalidDomain(err.reason, text) from err
    if domain.unicode:
        raise InvalidDomain("underscores are allowed in plain ASCII names only", text)
    return _checked(lowered, "")
