"""Unique MAIL FROM addresses: each recipient's own, by which a bounce is matched to its message. Pure.

A fromid is text behind a separator in the sender's localpart, `news+UiDp4BXxhcNHOeCb6mYzNg@example.org`. Mail to it
reaches the mailbox `news`, as mail to any address with a separator does, and says what it is about whatever the
bouncing server made of the message.
"""

import base64
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Self

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.errors import InputError
from moxlib.smtp import MAX_LOCALPART, Address, InvalidAddress, Localpart, parse_address

__all__ = [
    "NO_FROMIDS",
    "DuplicateFromID",
    "FromIDConfig",
    "FromIDForSeveral",
    "InvalidFromID",
    "MailFrom",
    "fromid_of",
    "given",
    "mail_from",
    "make",
    "plain",
]

FROMID_OCTETS: Final = 16  # as mox; 128 bits are guessed by nobody and drawn twice by nobody
MAX_SEPARATORS: Final = 10  # of one domain: each is tried for each bounce
MAX_SEPARATOR: Final = 8  # characters; in use are "+" and "-"

# ASCII punctuation that stands in a localpart unquoted, and does not compose with its neighbours in Unicode NFC. Not
# letters and digits, which names and fromids are made of.
_separator = re.compile(rf"[!#$%&'*+\-./=?^_`{{|}}~]{{1,{MAX_SEPARATOR}}}").fullmatch


class InvalidFromID(InputError):
    """A sender that cannot get a fromid, or a fromid that cannot be used.

    Attributes:
        reason: what is wrong, a short phrase.
        sender: the address it is about, packed.
        code: the reply with which an SMTP submission is refused.
        enhanced: the enhanced status code of that reply.
    """

    code = 554
    enhanced = "5.1.7"  # RFC 3463: bad sender's mailbox address syntax

    def __init__(self, reason: str, sender: str) -> None:
        super().__init__(f"{sender[:MAX_LOCALPART]!a}: {reason}")
        self.reason = reason
        self.sender = sender

    def __reduce__(self) -> tuple[type[Self], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.sender)


class FromIDForSeveral(InvalidFromID):
    """One fromid was given for several recipients: a bounce could not be told to be of one of them."""

    enhanced = "5.5.3"  # RFC 3463: too many recipients

    def __init__(self, reason: str = "a fromid of one's own serves one recipient only", sender: str = "") -> None:
        super().__init__(reason, sender)


class DuplicateFromID(InvalidFromID):
    """The fromid is that of another message in the queue or its history."""

    def __init__(self, reason: str = "its fromid was used before", sender: str = "") -> None:
        super().__init__(reason, sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class FromIDConfig:
    """Which logins get fromids, and by what they are set apart in a domain's addresses.

    `FromIDConfig.of` makes one from texts.

    Raises:
        InputError: a separator that could be part of any name, or could not stand in an address; the text says which.
    """

    login_addresses: frozenset[Address] = frozenset()
    """Addresses with which one logs in to have fromids; compared exactly, localparts included."""
    separators: Mapping[str, Sequence[str]] = field(default_factory=lambda: MappingProxyType({}))
    """Localpart separators by sender domain, in lower-case ASCII form. New fromids stand behind a domain's first."""

    def __post_init__(self) -> None:
        """Refuse separators by which nothing could be matched."""
        for domain, separators in self.separators.items():
            if domain != domain.lower() or not domain.isascii():
                raise InputError(f"the domain {domain!a:.100} must be in lower-case ASCII form")
            check_separators(separators, f"of domain {domain!r:.100}")
        frozen = {domain: tuple(separators) for domain, separators in self.separators.items()}
        object.__setattr__(self, "separators", MappingProxyType(frozen))
        object.__setattr__(self, "login_addresses", frozenset(self.login_addresses))

    @classmethod
    def of(cls, login_addresses: Iterable[str] = (), separators: Mapping[str, Sequence[str]] | None = None) -> Self:
        """Read one from texts, as configuration files have them; domains may be international.

        Raises:
            InputError: as the class; or an address or a domain that is none.
        """
        try:
            domains = {parse_domain(name).ascii: tuple(each) for name, each in (separators or {}).items()}
        except InvalidDomain as error:
            raise InputError(f"a domain with separators: {error}") from error
        return cls(login_addresses=frozenset(map(parse_address, login_addresses)), separators=domains)

    def separators_for(self, sender: Address) -> Sequence[str]:
        """Return the separators of a sender's domain; none where there are no fromids."""
        return self.separators.get(sender.domain.ascii, ())

    def applies(self, login: Address | None, sender: Address) -> bool:
        """Say whether a message of this sender, submitted by who logged in as `login`, gets fromids."""
        return login is not None and login in self.login_addresses and bool(self.separators_for(sender))


NO_FROMIDS: Final = FromIDConfig()
"""Nobody gets fromids."""


@dataclass(frozen=True, slots=True)
class MailFrom:
    """The sender of one recipient's message: its address for MAIL FROM, and the fromid in it. Positional, as a pair."""

    address: Address
    fromid: str
    """Empty where there is none."""


def check_separators(separators: Collection[str], whose: str) -> None:
    """Refuse localpart separators by which nothing could be told apart.

    Raises:
        InputError: too many, or one that is not 1 to 8 characters of ASCII punctuation that may stand unquoted, or that
            begins as it ends: of "a---b", nobody can say where "--" is.
    """
    if isinstance(separators, str) or len(separators) > MAX_SEPARATORS:
        raise InputError(f"the localpart separators {whose} must be a list of at most {MAX_SEPARATORS}")
    for separator in separators:
        begins_as_it_ends = any(separator.startswith(separator[at:]) for at in range(1, len(separator)))
        if not _separator(separator) or begins_as_it_ends:
            raise InputError(f"the localpart separator {separator!a:.100} {whose} is not one like '+' or '-'")


def make(sender: Address, separators: Sequence[str], random: Callable[[int], bytes]) -> MailFrom:
    """Return the sender with a fromid of its own: the localpart up to the first separator, that separator, the fromid.

    Args:
        sender: as in From. What stands behind a separator there gives way.
        separators: those of its domain, at least one.
        random: returns so many random octets, as `secrets.token_bytes` does.

    Raises:
        InvalidFromID: no separators; or the result would be longer than a localpart or an address may be (64 and 256
            octets). It is not cut to fit, since a shorter name is somebody else's: the longest that can be used has 41
            octets, with a separator of one.
    """
    if not separators:
        raise InvalidFromID("its domain has no localpart separator", str(sender))
    fromid = base64.urlsafe_b64encode(random(FROMID_OCTETS)).rstrip(b"=").decode()
    name, _ = _cut(sender.localpart.value, separators[0])
    localpart = f"{name}{separators[0]}{fromid}"
    if (octets := len(localpart.encode())) > MAX_LOCALPART:
        raise InvalidFromID(f"with a fromid its localpart has {octets} octets of {MAX_LOCALPART}", str(sender))
    try:
        return MailFrom(Address(localpart=Localpart(value=localpart), domain=sender.domain), fromid)
    except InvalidAddress as error:
        raise InvalidFromID(error.reason, str(sender)) from error


def given(sender: Address, separators: Sequence[str]) -> str:
    """Return the fromid that a MAIL FROM brings along, behind the first of its domain's separators; "" for none."""
    return _cut(sender.localpart.value, separators[0])[1] if separators else ""


def mail_from(
    sender: Address,
    *,
    recipients: int,
    separators: Sequence[str],
    random: Callable[[int], bytes],
    smtp: bool = False,
) -> tuple[MailFrom, ...]:
    """Return the senders of a submission's recipients, in order.

    Args:
        sender: as submitted.
        recipients: how many.
        separators: those of the sender's domain, at least one.
        random: as for `make`.
        smtp: it was submitted over SMTP, so that a fromid in MAIL FROM was put there on purpose, and is used. A caller
            who names an address otherwise means the mailbox.

    Raises:
        FromIDForSeveral: one came along, and there are several recipients (554 5.5.3).
        InvalidFromID: as `make`.
    """
    if smtp and (fromid := given(sender, separators)):
        if recipients > 1:
            raise FromIDForSeveral(sender=str(sender))
        return (MailFrom(sender, fromid),) * recipients
    return tuple([make(sender, separators, random) for _ in range(recipients)])


def fromid_of(address: Address, separators: Iterable[str]) -> tuple[str, ...]:
    """Return what may be the fromid in an address that mail came in for, the likeliest first; look each of them up.

    Each configured separator is tried, as a fromid may be older than their order, and has "-" and "_" itself.
    """
    found = [_cut(address.localpart.value, separator)[1] for separator in separators]
    return tuple(dict.fromkeys([fromid for fromid in found if fromid]))


def plain(address: Address, fromid: str, separators: Iterable[str]) -> Address:
    """Return a sender without its fromid and the separator before it: whom a notification is for.

    It is returned as it is where the fromid is "" or does not stand behind one of the separators. A localpart's other
    separators stay.
    """
    value = address.localpart.value
    for separator in separators if fromid else ():
        name = value.removesuffix(separator + fromid)
        if name and name != value:
            return Address(localpart=Localpart(value=name), domain=address.domain)
    return address


def _cut(localpart: str, separator: str) -> tuple[str, str]:
    """Return what stands before the first separator, which is never nothing, and what stands behind it."""
    found = localpart.find(separator, 1)  # of "+tag", the "+" is part of the name
    return (localpart, "") if found < 0 else (localpart[:found], localpart[found + len(separator) :])
