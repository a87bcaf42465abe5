"""`Accounts`: who may log in to the webapi, and what they may do. The seam to a host's own user database.

`ConfiguredAccounts` (`moxlib.webapi.configured_accounts`) is the one for accounts that stand in a configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol, TypeAlias

from moxlib.dns import Domain
from moxlib.errors import InputError
from moxlib.message import SupportsReadAt
from moxlib.queue.selection import is_text
from moxlib.queue.sending import SendingLimits
from moxlib.smtp import Address, Localpart
from moxlib.webapi.login_limit import LoginLimit, TooManyFailures

__all__ = [
    "Account",
    "Accounts",
    "DomainDisabled",
    "LoggedIn",
    "LoginDisabled",
    "LoginResult",
    "LoginsBusy",
    "MayNotSend",
    "MaySend",
    "SendPermission",
    "SenderAddress",
    "SenderDomain",
    "Signer",
    "WrongCredentials",
    "limited_login",
]

MAX_MESSAGES_PER_DAY: Final = 1000  # recipients: a lot for a person; a program says what it needs
MAX_FIRST_TIME_RECIPIENTS_PER_DAY: Final = 200  # a stolen account writes to strangers


class Signer(Protocol):
    """Signs messages for a domain: a `moxlib.dkim.Signer` does."""

    def sign(self, message: bytes | SupportsReadAt, /, *, localpart: Localpart) -> bytes:
        """Return the header fields to put before a message, each ended by CRLF.

        Args:
            message: with CRLF line ends; in memory, or an open file, which is read by position.
            localpart: of who it is from.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderDomain:
    """A domain that accounts send from.

    Raises:
        InputError: an empty separator.
    """

    domain: Domain
    disabled: bool = False
    """Nobody may send from it at the moment."""
    separators: tuple[str, ...] = ("+",)
    """What begins a part of a localpart that does not count: with "+", mjl+x is mjl."""
    case_sensitive: bool = False
    """Whether MJL and mjl are two."""
    signer: Signer | None = field(default=None, compare=False)
    """What signs messages from it."""

    def __post_init__(self) -> None:
        """Refuse what would cut everything."""
        if not all(self.separators):
            raise InputError(f"a separator of {self.domain.ascii} is empty")

    def canonical(self, localpart: Localpart) -> str:
        """Return what the mailbox is known by: without what follows a separator, in lower case unless that counts.

        A separator at the beginning is no separator, as nothing would be left. Differs: mox then finds nobody.
        """
        value = localpart.value if self.case_sensitive else localpart.value.lower()
        for separator in self.separators:
            value = value[: value.find(separator, 1)] if separator in value[1:] else value
        return value


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderAddress:
    """An address that an account may send from, and log in with; or all of a domain.

    Attributes:
        domain: its domain.
        localpart: its canonical localpart (`SenderDomain.canonical`); None for all that are nobody else's.
        full_name: who stands beside it in From where the request has no name; "" for the account's.
        taken: of all of a domain, the canonical localparts that are somebody else's.
    """

    domain: Domain
    localpart: str | None
    full_name: str = ""
    taken: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class MaySend:
    """An account may send from an address."""

    full_name: str
    domain: SenderDomain


@dataclass(frozen=True, slots=True, kw_only=True)
class MayNotSend:
    """The address is not the account's: badFrom."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainDisabled:
    """The address may be the account's, but nobody may send from its domain now: domainDisabled."""


SendPermission: TypeAlias = MaySend | MayNotSend | DomainDisabled
"""Whether an account may send from an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What an account may do.

    Raises:
        InputError: a name that is no text, a limit below zero, or an address of a domain that is not among `domains`.
    """

    name: str
    """As `Queue.submit(account=...)` has it: history, suppressions and limits go by it."""
    full_name: str = ""
    """Who stands in From where neither the request nor the address has a name."""
    addresses: tuple[SenderAddress, ...] = ()
    domains: Mapping[str, SenderDomain] = field(default_factory=dict, repr=False, hash=False)
    """By ASCII name: those of its addresses at least; others say which are disabled."""
    max_message_size: int | None = None
    """Octets; None for what the queue takes."""
    max_messages_per_day: int | None = MAX_MESSAGES_PER_DAY
    """Recipients of all messages, over any 24 hours; None for no limit."""
    max_first_time_recipients_per_day: int | None = MAX_FIRST_TIME_RECIPIENTS_PER_DAY
    """Of those, whom it had never written to; None for no limit."""
    quota: int | None = None
    """Octets of its mailbox; None for no limit."""
    _known: Mapping[tuple[str, str | None], SenderAddress] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check, and make the addresses easy to find."""
        if not self.name or not is_text(self.name) or "\0" in self.name:
            raise InputError(
                f"an account's name must be a text without NUL and lone surrogates, not {self.name!a:.100}"
            )
        for limit in ("max_message_size", "max_messages_per_day", "max_first_time_recipients_per_day", "quota"):
            value = getattr(self, limit)
            if value is not None and value < 0:
                raise InputError(f"Account.{limit} must not be negative")
        for address in self.addresses:
            if address.domain.ascii not in self.domains:
                raise InputError(f"account {self.name!a:.100}: nothing is known of the domain {address.domain.ascii}")
        object.__setattr__(self, "domains", MappingProxyType(dict(self.domains)))
        object.__setattr__(self, "_known", {(each.domain.ascii, each.localpart): each for each in self.addresses})

    @property
    def sending_limits(self) -> SendingLimits:
        """Its daily limits, as `Queue.submit(limits=...)` has them."""
        return SendingLimits(
            messages_per_day=self.max_messages_per_day,
            first_time_recipients_per_day=self.max_first_time_recipients_per_day,
        )

    def permission(self, sender: Address) -> SendPermission:
        """Say whether it may send from an address: one of its own, with anything behind a separator, in any case."""
        domain = self.domains.get(sender.domain.ascii)
        if domain is None:
            return MayNotSend()
        if domain.disabled:
            return DomainDisabled()
        localpart = domain.canonical(sender.localpart)
        found = self._known.get((sender.domain.ascii, localpart))
        if found is None:
            found = self._known.get((sender.domain.ascii, None))
            if found is None or localpart in found.taken:
                return MayNotSend()
        return MaySend(full_name=found.full_name or self.full_name, domain=domain)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """The password is right."""

    account: Account
    address: Address
    """What was logged in with: From where a request has none, and what `Queue.submit(login=...)` wants to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongCredentials:
    """No such address, or not its password; nobody is told which: 401."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginDisabled:
    """The password is right, but the account may not log in now: 401, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoginsBusy:
    """More passwords wait to be checked than can be in a reasonable time: 503, try again."""


LoginResult: TypeAlias = LoggedIn | WrongCredentials | LoginDisabled | LoginsBusy
"""What came of a login."""


class Accounts(Protocol):
    """Knows who may log in."""

    async def login(self, address: str, password: str) -> LoginResult:
        """Check an email address and a password, as given; whatever they are, with no other outcome.

        It takes as long for an unknown address as for a known one, and compares in constant time.
        """
        ...


async def limited_login(
    accounts: Accounts, limit: LoginLimit, *, remote_ip: str, address: str, password: str
) -> LoginResult | TooManyFailures:
    """Log in, unless too many logins from there have failed; count it if this one does.

    Raises:
        InputError: `remote_ip` is no IP address.
    """
    admitted = await limit.admit(remote_ip)
    if isinstance(admitted, TooManyFailures):
        return admitted
    with admitted:
        result = await accounts.login(address, password)
        match result:
            case LoggedIn():
                admitted.succeeded()
            case WrongCredentials() | LoginDisabled():
                admitted.failed()
            case LoginsBusy():
                pass
        return result
