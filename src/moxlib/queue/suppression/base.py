"""The base address: what the addresses of one mailbox have in common, and what a suppression is on. Pure.

Differs: mox cuts at "+" and "-" and drops dots everywhere, so that `jean-luc@x` suppresses `jean@x`, and
`+a@x` all that its domain has of the kind. Here only what a domain is known to ignore is taken off.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from moxlib.errors import InputError
from moxlib.smtp import Address, InvalidAddress, Localpart, Path

__all__ = ["BASE_RULES", "BaseRules", "base_address", "base_key", "mox_base_address"]

IGNORES_DOTS: Final = frozenset(("gmail.com", "googlemail.com"))
MAX_SEPARATORS: Final = 10  # of one domain
_separator = re.compile(r"[!#$%&'*+\-/=?^_`{|}~]{1,8}").fullmatch  # the punctuation of localparts, but no dots


def _no_domains() -> Mapping[str, Sequence[str]]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseRules:
    """What does not tell two mailboxes apart. Domains are those of recipients, in lower-case ASCII form.

    Raises:
        InputError: a separator that is no punctuation, or a domain in another form; the text says which.
    """

    separators: Mapping[str, Sequence[str]] = field(default_factory=_no_domains)
    """What separates a tag from the name, for domains of which that is known; an empty tuple: they have no tags."""
    default_separators: Sequence[str] = ("+",)
    """For all others: most large providers have this one, and it stands in hardly any name."""
    dotless_domains: frozenset[str] = IGNORES_DOTS
    """Domains to which `j.doe` and `jdoe` are the same."""
    all_dotless: bool = False
    """Take dots off for all domains, as mox does."""
    may_be_empty: bool = False
    """Leave nothing of a localpart that is all tag and dots, as mox does: all such addresses are one."""

    def __post_init__(self) -> None:
        """Refuse what would never match, or always."""
        frozen = {domain: tuple(each) for domain, each in self.separators.items()}
        for domain in (*frozen, *self.dotless_domains):
            if domain != domain.lower() or not domain.isascii():
                raise InputError(f"the domain {domain!a:.100} must be in lower-case ASCII form")
        for separators in (*frozen.values(), self.default_separators):
            if len(separators) > MAX_SEPARATORS or not all(map(_separator, separators)):
                raise InputError(f"localpart separators are up to {MAX_SEPARATORS} like '+': {separators!a:.100}")
        object.__setattr__(self, "separators", MappingProxyType(frozen))
        object.__setattr__(self, "default_separators", tuple(self.default_separators))
        object.__setattr__(self, "dotless_domains", frozenset(self.dotless_domains))

    @classmethod
    def mox(cls) -> Self:
        """Return mox's: cut at "+" and "-", without dots, whatever the domain."""
        return cls(default_separators=("+", "-"), all_dotless=True, may_be_empty=True)


BASE_RULES: Final = BaseRules()
"""The default: cut at "+", and dots dropped for Gmail."""


def base_address(address: Address | Path, rules: BaseRules = BASE_RULES) -> Path:
    """Return the base address of an address; two are suppressed together when theirs are equal.

    The domain stays as it is. The localpart is put in lower case, and where the rules say so, dots and then the tag are
    taken off. It never becomes empty, unless the rules let it. `str()` of it is the key to store and look up by.

    It is a fixed point: the base address of a base address is itself.
    """
    path = Path.of(address) if isinstance(address, Address) else address
    domain = path.host.text(utf8=False)
    # Dots first: taking them off may bring a separator together, and what is done twice must be done.
    name = _lower(path.localpart.value)
    if rules.all_dotless or domain in rules.dotless_domains:
        name = name.replace(".", "") if rules.may_be_empty else name.replace(".", "") or name
    name = _untagged(name, rules.separators.get(domain, rules.default_separators), 0 if rules.may_be_empty else 1)
    try:
        return Path(localpart=Localpart(value=name), host=path.host)
    except InvalidAddress:  # a few letters beyond ASCII have more octets in lower case, and this is at the limit
        return path


def base_key(address: Address | Path, rules: BaseRules = BASE_RULES) -> str:
    """Return the base address as the text that suppressions are stored and looked up by; quickly, as every submit asks.

    It is `str(base_address(address, rules))`.
    """
    text = str(address)
    name, _, domain = text.rpartition("@")
    if (
        name.isascii()
        and name.isalnum()
        and name.islower()
        and not (rules.all_dotless or domain in rules.dotless_domains)
    ):  # no case, no quotes, no dots, no punctuation that could separate
        return text
    return str(base_address(address, rules))


def mox_base_address(address: Address | Path) -> Path:
    """Return mox's base address, for exchanging data with it: `.text(utf8=True)` is the text it stores."""
    return base_address(address, BaseRules.mox())


def _untagged(name: str, separators: Iterable[str], first: int) -> str:
    found = [at for separator in separators if (at := name.find(separator, first)) >= 0]
    return name[: min(found)] if found else name


def _lower(text: str) -> str:
    """Put a text in lower case, letter by letter, by Unicode's simple mapping: whatever stands around a letter."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFC", "".join([char.lower()[0] for char in text]))
