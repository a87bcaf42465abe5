"""`ConfiguredAccounts`: accounts that stand in a configuration file.

[domains."example.org"]
separators = ["+"]                  # the default; also: disabled, case_sensitive

[accounts.mjl]
password = "$scrypt$ln=15,r=8,p=3$..."
full_name = "Mjl"
addresses = ["mjl@example.org", { address = "@example.net", full_name = "Info" }]
max_messages_per_day = 1000
"""

import hmac
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final, Self

from moxlib.dns import parse_domain
from moxlib.errors import InputError
from moxlib.smtp import Address, InvalidAddress, parse_address
from moxlib.webapi.accounts import (
    Account,
    LoggedIn,
    LoginDisabled,
    LoginResult,
    LoginsBusy,
    SenderAddress,
    SenderDomain,
    Signer,
    WrongCredentials,
)
from moxlib.webapi.password_checks import MAX_WAITING, THREADS, PasswordChecks
from moxlib.webapi.password_hash import PasswordHash, hash_password
from moxlib.webapi.passwords import VerifiedPasswords

__all__ = ["ConfiguredAccount", "ConfiguredAccounts"]

Key = tuple[str, str | None]
"""A domain's ASCII name, and a canonical localpart; None for all others of the domain."""

UNKNOWN: Final = "\0"  # what is in no login and in no password
UNLIMITED: Final = "unlimited"
_DOMAIN_FIELDS: Final = frozenset({"separators", "disabled", "case_sensitive"})
_LIMITS: Final = frozenset({"max_message_size", "max_messages_per_day", "max_first_time_recipients_per_day", "quota"})
_TEXTS: Final = frozenset({"password", "full_name", "login_disabled"})
_ACCOUNT_FIELDS: Final = _LIMITS | _TEXTS | {"addresses"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfiguredAccount:
    """An account and how it logs in."""

    account: Account
    password: PasswordHash | None = field(default=None, repr=False)
    """None: it cannot log in."""
    login_disabled: str = ""
    """Why it may not log in now; "" where it may. Only who has the password is told."""


class ConfiguredAccounts:
    """`Accounts` from plain data. Unchanging: for another configuration make another one.

    Args:
        accounts: the accounts; no two have a name or an address in common.
        verified: remembers right passwords for a while. Give the same one to the accounts of the next configuration,
            and only changed passwords are checked anew.
        threads: how many passwords are checked at once.
        max_waiting: how many wait for that at most; then `LoginsBusy`.

    Raises:
        InputError: two accounts with the same name or address.
    """

    def __init__(
        self,
        accounts: Iterable[ConfiguredAccount],
        *,
        verified: VerifiedPasswords | None = None,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        self._accounts: dict[str, ConfiguredAccount] = {}
        self._by_address: dict[Key, ConfiguredAccount] = {}
        self._domains: dict[str, SenderDomain] = {}
        for each in accounts:
            self._add(each)
        hashes = [each.password for each in self._accounts.values() if each.password is not None]
        self._decoys = tuple(hashes) or (PasswordHash.parse(hash_password(secrets.token_hex())),)
        self._decoy_key = secrets.token_bytes()
        remembers = VerifiedPasswords() if verified is None else verified  # an empty one is a memory, too
        self._checks = PasswordChecks(verified=remembers, threads=threads, max_waiting=max_waiting)

    def _add(self, each: ConfiguredAccount) -> None:
        account = each.account
        if account.name in self._accounts:
            raise InputError(f"two accounts with the name {account.name!a:.100}")
        self._accounts[account.name] = each
        self._domains |= account.domains
        for address in account.addresses:
            key = (address.domain.ascii, address.localpart)
            if key in self._by_address:
                shown = f"{address.localpart or ''}@{address.domain.name}"
                raise InputError(
                    f"account {account.name!a:.100}: {shown!a:.300} is an address of another one, or twice"
                )
            self._by_address[key] = each

    @classmethod
    def read(
        cls,
        data: Mapping[str, Any],
        *,
        signers: Mapping[str, Signer] | None = None,
        verified: VerifiedPasswords | None = None,
        threads: int = THREADS,
        max_waiting: int = MAX_WAITING,
    ) -> Self:
        """Make accounts of what `tomllib` or `json` read: tables `accounts` and `domains`, see the module.

        Args:
            data: the tables; nothing else may stand there.
            signers: what signs messages, by domain.
            verified: see the class, as of the rest.
            threads: how many passwords are checked at once.
            max_waiting: how many wait for that at most.

        Raises:
            InputError: something unknown, of the wrong kind, or wrong; the text says where, and shows no password.
        """
        _check_fields(data, frozenset({"accounts", "domains"}), "the configuration")
        domains = _domains(_table(data, "domains", ""), signers or {})
        tables = {
            name: _table(_table(data, "accounts", ""), name, "accounts.") for name in _table(data, "accounts", "")
        }
        for name, table in tables.items():
            _check_fields(table, _ACCOUNT_FIELDS, f"accounts.{name}")
        addresses = {name: _addresses(table, f"accounts.{name}", domains) for name, table in tables.items()}
        return cls(
            [_account(name, tables[name], addresses, domains) for name in tables],
            verified=verified,
            threads=threads,
            max_waiting=max_waiting,
        )

    def get(self, name: str) -> Account | None:
        """Return an account by its name."""
        found = self._accounts.get(name)
        return None if found is None else found.account

    async def login(self, address: str, password: str) -> LoginResult:
        """Check an address and a password.

        An address may have a separator and anything behind it. For one that is unknown, the password is checked against
        the hash of some account, always the same one: that takes as long as it would if it were known.
        """
        parsed = _parsed(address)
        found = None if parsed is None else self._find(parsed)
        if parsed is None or found is None or found.password is None:
            right = await self._checks.check(UNKNOWN + address, UNKNOWN + password, self._decoy(address))
            return LoginsBusy() if right is None else WrongCredentials()
        right = await self._checks.check(str(parsed), password, found.password)
        if right is None:
            return LoginsBusy()
        if not right:
            return WrongCredentials()
        if found.login_disabled:
            return LoginDisabled(reason=found.login_disabled)
        return LoggedIn(account=found.account, address=parsed)

    def close(self) -> None:
        """End the threads that check passwords. Idempotent."""
        self._checks.close()

    def _find(self, address: Address) -> ConfiguredAccount | None:
        domain = self._domains.get(address.domain.ascii)
        if domain is None:
            return None
        localpart = domain.canonical(address.localpart)
        found = self._by_address.get((address.domain.ascii, localpart))
        return found or self._by_address.get((address.domain.ascii, None))

    def _decoy(self, address: str) -> PasswordHash:
        """Return the hash to check in place of an unknown address's."""
        made = hmac.digest(self._decoy_key, address.encode("utf-8", "surrogatepass"), sha256)
        return self._decoys[int.from_bytes(made, "big") % len(self._decoys)]


def _parsed(address: str) -> Address | None:
    try:
        return parse_address(address)
    except InvalidAddress:
        return None


# Reading plain data


def _table(data: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = data.get(name, {})
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{where}{name} must be a table")
    return value


def _check_fields(table: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in table:
        if name not in known:
            raise InputError(f"{where}: unknown field {name!a:.100}; known: {', '.join(sorted(known))}")


def _domains(tables: Mapping[str, Any], signers: Mapping[str, Signer]) -> dict[str, SenderDomain]:
    by_domain = {parse_domain(name): signer for name, signer in signers.items()}
    domains = {domain.ascii: SenderDomain(domain=domain, signer=signer) for domain, signer in by_domain.items()}
    seen: set[str] = set()
    for name in tables:
        where = f"domains.{name}"
        table = _table(tables, name, "domains.")
        _check_fields(table, _DOMAIN_FIELDS, where)
        domain = parse_domain(name)
        if domain.ascii in seen:
            raise InputError(f"{where}: it is there twice")
        seen.add(domain.ascii)
        domains[domain.ascii] = SenderDomain(
            domain=domain,
            disabled=_boolean(table, "disabled", where),
            separators=_separators(table, where),
            case_sensitive=_boolean(table, "case_sensitive", where),
            signer=by_domain.get(domain),
        )
    return domains


def _boolean(table: Mapping[str, Any], name: str, where: str) -> bool:
    value = table.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{where}.{name} must be true or false")
    return value


def _separators(table: Mapping[str, Any], where: str) -> tuple[str, ...]:
    value = table.get("separators", ["+"])
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) and each for each in value):
        raise InputError(f"{where}.separators must be a list of texts")
    return tuple(value)


def _addresses(table: Mapping[str, Any], where: str, domains: dict[str, SenderDomain]) -> tuple[SenderAddress, ...]:
    value = table.get("addresses", [])
    if not isinstance(value, list | tuple):
        raise InputError(f"{where}.addresses must be a list")
    return tuple([_address(each, f"{where}.addresses[{index}]", domains) for index, each in enumerate(value)])


def _address(value: object, where: str, domains: dict[str, SenderDomain]) -> SenderAddress:
    full_name = ""
    if isinstance(value, Mapping):
        _check_fields(value, frozenset({"address", "full_name"}), where)
        full_name, value = value.get("full_name", ""), value.get("address")
    if not isinstance(value, str) or not isinstance(full_name, str):
        raise InputError(f"{where} must be an address, or a table of address and full_name")
    try:
        if value.startswith("@"):
            name = parse_domain(value[1:])
            domains.setdefault(name.ascii, SenderDomain(domain=name))
            return SenderAddress(domain=name, localpart=None, full_name=full_name)
        address = parse_address(value)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    domain = domains.setdefault(address.domain.ascii, SenderDomain(domain=address.domain))
    localpart = domain.canonical(address.localpart)
    if localpart.lower() != address.localpart.value.lower():
        raise InputError(f"{where}: {value!a:.300} has one of its domain's separators {domain.separators}")
    return SenderAddress(domain=address.domain, localpart=localpart, full_name=full_name)


def _account(
    name: str,
    table: Mapping[str, Any],
    addresses: Mapping[str, Sequence[SenderAddress]],
    domains: Mapping[str, SenderDomain],
) -> ConfiguredAccount:
    where = f"accounts.{name}"
    for each in _TEXTS & table.keys():
        if not isinstance(table[each], str):
            raise InputError(f"{where}.{each} must be a text")
    limits = {each: _limit(table[each], f"{where}.{each}") for each in _LIMITS & table.keys()}
    try:
        password = PasswordHash.parse(table["password"]) if table.get("password") else None
        account = Account(
            name=name,
            full_name=table.get("full_name", ""),
            addresses=tuple([_with_taken(each, name, addresses) for each in addresses[name]]),
            domains=domains,
            **limits,
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    return ConfiguredAccount(account=account, password=password, login_disabled=table.get("login_disabled", ""))


def _limit(value: object, where: str) -> int | None:
    if value is None or value == UNLIMITED:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise InputError(f"{where} must be a whole number, not negative, or {UNLIMITED!r}")
    return value


def _with_taken(address: SenderAddress, name: str, addresses: Mapping[str, Sequence[SenderAddress]]) -> SenderAddress:
    if address.localpart is not None:
        return address
    taken = [
        each.localpart
        for other, theirs in addresses.items()
        for each in theirs
        if other != name and each.domain == address.domain and each.localpart is not None
    ]
    return SenderAddress(domain=address.domain, localpart=None, full_name=address.full_name, taken=frozenset(taken))
