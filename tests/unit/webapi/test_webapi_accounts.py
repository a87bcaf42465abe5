"""Who logs in, with what, and what they may send from."""

import asyncio
import itertools
import threading
import tomllib
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, TypeVar

import pytest

from moxlib.dns import parse_domain
from moxlib.errors import InputError, StateError
from moxlib.message import SupportsReadAt
from moxlib.queue import SendingLimits
from moxlib.smtp import Localpart, parse_address
from moxlib.testing.clock import FakeClock
from moxlib.webapi.accounts import (
    DomainDisabled,
    LoggedIn,
    LoginDisabled,
    LoginResult,
    LoginsBusy,
    MayNotSend,
    MaySend,
    SenderDomain,
    WrongCredentials,
    limited_login,
)
from moxlib.webapi.configured_accounts import ConfiguredAccounts
from moxlib.webapi.login_limit import LoginLimit, TooManyFailures
from moxlib.webapi.password_hash import PasswordHash, Scrypt, hash_password
from moxlib.webapi.passwords import VerifiedPasswords

R = TypeVar("R")

PASSWORD = "test1234test"
HASH = hash_password(PASSWORD, Scrypt(log_n=2, r=1, p=1))
OTHER = hash_password("another password", Scrypt(log_n=2, r=1, p=1))
WRONG = WrongCredentials()

TOML = f"""
[domains."mox.example"]
[domains."nodkim.example"]
separators = ["-"]
[domains."disabled.example"]
disabled = true
[domains."exact.example"]
case_sensitive = true
separators = []

[accounts.mjl]
password = "{HASH}"
full_name = "Mjl Full Näme"
addresses = [
    "MJL@mox.example", "mjl@nodkim.example", "mjl@MÜNCHEN.example", "mjl@disabled.example", "møx@mox.example",
    '"a b"@nodkim.example', "Mjl@exact.example", {{ address = "@catch.example", full_name = "All" }},
]
max_messages_per_day = 10
quota = "unlimited"
max_message_size = 102400

[accounts.other]
password = "{OTHER}"
addresses = ["other@mox.example", "taken@catch.example"]

[accounts.disabled]
password = "{HASH}"
addresses = ["disabled@mox.example"]
login_disabled = "on holiday"

[accounts.mute]
addresses = ["mute@mox.example"]
"""


class Signs:
    def sign(self, message: bytes | SupportsReadAt, /, *, localpart: Localpart) -> bytes:
        return b"DKIM-Signature: x\r\n"


SIGNS = Signs()


@pytest.fixture
def accounts() -> Iterator[ConfiguredAccounts]:
    made = ConfiguredAccounts.read(tomllib.loads(TOML), signers={"mox.example": SIGNS})
    yield made
    made.close()


def name_of(result: LoginResult) -> str:
    return result.account.name if isinstance(result, LoggedIn) else type(result).__name__


@pytest.mark.parametrize(
    "address",
    [
        "mjl@mox.example",
        "MJL@Mox.Example",
        "mjl+anything@mox.example",
        "mjl@xn--mnchen-3ya.example",
        "mjl@münchen.example",
        "mjl@mu\u0308nchen.example",
        "mo\u0338x@mox.example",  # decomposes otherwise, so this is another one
        "mjl-x@nodkim.example",
        '"a b"@nodkim.example',
        "mjl@disabled.example",
        "anybody@catch.example",
        "Mjl@exact.example",
    ],
)
async def test_an_address_is_the_same_however_it_is_written(accounts: ConfiguredAccounts, address: str) -> None:
    expected = "WrongCredentials" if "\u0338" in address else "mjl"
    assert name_of(await accounts.login(address, PASSWORD)) == expected


@pytest.mark.parametrize(
    ("address", "password"),
    [
        ("mjl@mox.example", "bad"),
        ("mjl@mox.example", ""),
        ("mjl@mox.example", PASSWORD + "\0"),
        ("mjl@mox.example", "another password"),
        ("nobody@mox.example", PASSWORD),
        ("mjl@nowhere.example", PASSWORD),
        ("mjl+x@nodkim.example", PASSWORD),
        ("mjl@exact.example", PASSWORD),
        ("taken@catch.example", PASSWORD),
        ("disabled@mox.example", "bad"),
        ("mute@mox.example", PASSWORD),
        ("mjl", PASSWORD),
        ("", ""),
        ("@mox.example", PASSWORD),
        ("\0@mox.example", PASSWORD),
        ("mjl@mox.example\n", PASSWORD),
        ("x" * 100_000, PASSWORD),
        ("mjl@mox.example", "x" * 100_000),
        ("mjl@mox.example", "\ud800" * 8),
        ("\ud800@mox.example", "\ud800" * 8),
    ],
)
async def test_what_is_wrong_is_wrong_whatever_it_is(accounts: ConfiguredAccounts, address: str, password: str) -> None:
    assert await accounts.login(address, password) == WRONG
    assert await accounts.login(address, password) == WRONG


async def test_who_is_disabled_is_told_so_with_the_right_password_only(accounts: ConfiguredAccounts) -> None:
    assert await accounts.login("disabled@mox.example", PASSWORD) == LoginDisabled(reason="on holiday")
    assert await accounts.login("disabled@mox.example", "bad") == WRONG


async def test_one_who_logged_in_is_known_by_the_address_that_was_used(accounts: ConfiguredAccounts) -> None:
    result = await accounts.login("mjl+FromID@MOX.example", PASSWORD)
    assert isinstance(result, LoggedIn)
    assert str(result.address) == "mjl+FromID@mox.example"
    assert result.account is accounts.get("mjl")
    assert accounts.get("nobody") is None


# Permissions


@pytest.mark.parametrize(
    ("sender", "expected"),
    [
        ("mjl@mox.example", "Mjl Full Näme"),
        ("MJL+x@mox.example", "Mjl Full Näme"),
        ("anybody@catch.example", "All"),
        ("mjl@disabled.example", DomainDisabled()),
        ("nobody@disabled.example", DomainDisabled()),
        ("other@mox.example", MayNotSend()),
        ("taken@catch.example", MayNotSend()),
        ("taken+x@catch.example", MayNotSend()),
        ("mjl-x@mox.example", MayNotSend()),
        ("+mjl@mox.example", MayNotSend()),
        ("mjl@exact.example", MayNotSend()),
        ("mjl@elsewhere.example", MayNotSend()),
        ("mjl@sub.mox.example", MayNotSend()),
    ],
)
def test_an_account_may_send_from_what_is_its_own(accounts: ConfiguredAccounts, sender: str, expected: object) -> None:
    account = accounts.get("mjl")
    assert account is not None
    permission = account.permission(parse_address(sender))
    assert (permission.full_name if isinstance(permission, MaySend) else permission) == expected


@pytest.mark.parametrize(
    ("localpart", "canonical"),
    [
        ("Mjl", "mjl"),
        ("mjl+a+b", "mjl"),
        ("+mjl", "+mjl"),
        ("+mjl+x", "+mjl"),
        ("mjl-x", "mjl"),
        ("a+b-c", "a"),
        ("", ""),
    ],
)
def test_nothing_is_cut_to_nothing(localpart: str, canonical: str) -> None:
    domain = SenderDomain(domain=parse_domain("mox.example"), separators=("+", "-"))
    assert domain.canonical(Localpart(value=localpart)) == canonical


def test_a_domain_may_have_a_signer(accounts: ConfiguredAccounts) -> None:
    account = accounts.get("mjl")
    assert account is not None
    signed = account.permission(parse_address("mjl@mox.example"))
    unsigned = account.permission(parse_address("mjl@nodkim.example"))
    assert isinstance(signed, MaySend)
    assert isinstance(unsigned, MaySend)
    assert (signed.domain.signer, unsigned.domain.signer) == (SIGNS, None)


def test_limits_are_the_defaults_unless_told(accounts: ConfiguredAccounts) -> None:
    mjl, other = accounts.get("mjl"), accounts.get("other")
    assert mjl is not None
    assert other is not None
    assert (mjl.max_messages_per_day, mjl.max_message_size, mjl.quota) == (10, 102400, None)
    assert (other.max_messages_per_day, other.max_first_time_recipients_per_day) == (1000, 200)
    assert mjl.sending_limits == SendingLimits(messages_per_day=10, first_time_recipients_per_day=200)
    assert len({mjl, other, mjl}) == 2


# What a login costs


class Counting:
    """Counts the hashes that are computed, by what was tried."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tried: list[tuple[str, str]] = []
        verify = PasswordHash.verify

        def counted(hashed: PasswordHash, password: str) -> bool:
            self.tried.append((hashed.text, password))
            return verify(hashed, password)

        monkeypatch.setattr(PasswordHash, "verify", counted)


async def test_an_unknown_address_costs_one_hash_like_a_known_one(
    accounts: ConfiguredAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    for address in ("mjl@mox.example", "nobody@mox.example", "mute@mox.example", "no address", "x@nowhere.example"):
        for _ in range(2):
            assert await accounts.login(address, "bad") == WRONG
    assert len(counting.tried) == 10
    of_nobody = {hashed for hashed, _ in counting.tried[2:4]}
    assert len(of_nobody) == 1  # always the same: else its cost would tell


async def test_without_any_password_there_is_still_a_hash_to_check(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = ConfiguredAccounts.read({})
    counting = Counting(monkeypatch)
    assert await accounts.login("nobody@mox.example", PASSWORD) == WRONG
    assert len(counting.tried) == 1
    accounts.close()


async def test_a_right_password_is_hashed_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = FakeClock()
    verified = VerifiedPasswords(clock=clock)
    accounts = ConfiguredAccounts.read(tomllib.loads(TOML), verified=verified)
    counting = Counting(monkeypatch)
    for _ in range(3):
        assert name_of(await accounts.login("mjl@mox.example", PASSWORD)) == "mjl"
    assert len(counting.tried) == 1
    await clock.advance(300)
    await accounts.login("mjl@mox.example", PASSWORD)
    assert len(counting.tried) == 2
    accounts.close()


async def test_a_changed_password_is_not_taken_from_memory() -> None:
    verified = VerifiedPasswords()
    before = ConfiguredAccounts.read(tomllib.loads(TOML), verified=verified)
    assert name_of(await before.login("mjl@mox.example", PASSWORD)) == "mjl"
    after = ConfiguredAccounts.read(tomllib.loads(TOML.replace(HASH, OTHER)), verified=verified)
    assert await after.login("mjl@mox.example", PASSWORD) == WRONG
    assert name_of(await after.login("mjl@mox.example", "another password")) == "mjl"
    before.close()
    after.close()


async def test_the_same_login_at_the_same_time_is_checked_once(
    accounts: ConfiguredAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting = Counting(monkeypatch)
    results = await asyncio.gather(*[accounts.login("mjl@mox.example", PASSWORD) for _ in range(32)])
    assert {name_of(result) for result in results} == {"mjl"}
    assert len(counting.tried) == 1


class Stalled:
    """Lets no hash be computed before some logins have ended without one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._go_on = threading.Event()
        verify = PasswordHash.verify

        def stalled(hashed: PasswordHash, password: str) -> bool:
            assert self._go_on.wait(10)
            return verify(hashed, password)

        monkeypatch.setattr(PasswordHash, "verify", stalled)

    async def results(self, logins: Sequence[Coroutine[Any, Any, R]], *, without: int) -> list[R]:
        tasks = [asyncio.ensure_future(login) for login in logins]
        async with asyncio.timeout(10):
            for ended in itertools.islice(asyncio.as_completed(tasks), without):
                await ended
        self._go_on.set()
        return await asyncio.gather(*tasks)


async def test_more_than_can_be_checked_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = ConfiguredAccounts.read(tomllib.loads(TOML), threads=1, max_waiting=2)
    logins = [accounts.login("mjl@mox.example", f"bad {number}") for number in range(10)]
    results = await Stalled(monkeypatch).results(logins, without=7)
    assert results.count(WRONG) == 3
    assert results.count(LoginsBusy()) == 7
    assert name_of(await accounts.login("mjl@mox.example", PASSWORD)) == "mjl"
    accounts.close()


def test_accounts_serve_one_event_loop_after_another(accounts: ConfiguredAccounts) -> None:
    for _ in range(2):
        assert name_of(asyncio.run(accounts.login("other@mox.example", "another password"))) == "other"
        assert asyncio.run(accounts.login("other@mox.example", "bad")) == WRONG


async def test_closed_accounts_check_nothing_more(accounts: ConfiguredAccounts) -> None:
    accounts.close()
    accounts.close()
    with pytest.raises(StateError):
        await accounts.login("mjl@mox.example", PASSWORD)


# With the limit


async def test_failed_logins_are_limited_by_address(accounts: ConfiguredAccounts) -> None:
    limit = LoginLimit(clock=FakeClock())

    async def login(password: str, remote_ip: str = "192.0.2.1") -> str:
        result = await limited_login(accounts, limit, remote_ip=remote_ip, address="mjl@mox.example", password=password)
        return "429" if isinstance(result, TooManyFailures) else name_of(result)

    assert [await login("bad") for _ in range(9)] == ["WrongCredentials"] * 9
    assert await login(PASSWORD) == "mjl"
    assert [await login("bad") for _ in range(11)] == ["WrongCredentials"] * 10 + ["429"]
    assert await login(PASSWORD) == "429"  # the vectors' ratelimit-429-goodauth
    assert await login(PASSWORD, "192.0.2.2") == "mjl"


async def test_hundreds_of_passwords_at_once_try_ten(
    accounts: ConfiguredAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    counting, limit = Counting(monkeypatch), LoginLimit(clock=FakeClock())
    tried = [
        limited_login(accounts, limit, remote_ip="192.0.2.1", address="mjl@mox.example", password=f"bad {number}")
        for number in range(150)
    ]
    results = await asyncio.gather(*tried)
    assert len(counting.tried) == results.count(WRONG) == 10
    assert sum(isinstance(result, TooManyFailures) for result in results) == 140


async def test_who_could_not_be_checked_has_not_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    accounts = ConfiguredAccounts.read(tomllib.loads(TOML), threads=1, max_waiting=1)
    limit = LoginLimit(clock=FakeClock())
    logins = [
        limited_login(accounts, limit, remote_ip="192.0.2.1", address="mjl@mox.example", password=f"bad {number}")
        for number in range(5)
    ]
    results = await Stalled(monkeypatch).results(logins, without=3)
    assert results.count(WRONG) == 2
    more = [
        await limited_login(accounts, limit, remote_ip="192.0.2.1", address="mjl@mox.example", password="bad")
        for _ in range(9)
    ]
    assert more.count(WRONG) == 8
    accounts.close()


# What cannot be configured


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"account": {}}, "unknown field 'account'"),
        ({"accounts": []}, "accounts must be a table"),
        ({"accounts": {"a": "x"}}, "accounts.a must be a table"),
        ({"accounts": {"a": {"passwort": "x"}}}, "accounts.a: unknown field 'passwort'"),
        ({"accounts": {"a": {"password": PASSWORD}}}, "accounts.a: a password hash"),
        ({"accounts": {"a": {"password": 1}}}, "accounts.a.password must be a text"),
        ({"accounts": {"a": {"full_name": ["x"]}}}, "accounts.a.full_name must be a text"),
        ({"accounts": {"a": {"addresses": "x@y.example"}}}, "accounts.a.addresses must be a list"),
        ({"accounts": {"a": {"addresses": [1]}}}, "accounts.a.addresses[0] must be"),
        ({"accounts": {"a": {"addresses": ["a@b.example", "x"]}}}, "accounts.a.addresses[1]: invalid email address"),
        ({"accounts": {"a": {"addresses": ["@"]}}}, "accounts.a.addresses[0]:"),
        ({"accounts": {"a": {"addresses": ["a+b@c.example"]}}}, "has one of its domain's separators"),
        ({"accounts": {"a": {"addresses": [{"adress": "a@b.example"}]}}}, "unknown field 'adress'"),
        ({"accounts": {"a": {"addresses": ["a@b.example", "A@b.example"]}}}, "is an address of another one, or twice"),
        ({"accounts": {"a": {"addresses": ["a@b.c"]}, "b": {"addresses": ["a@b.c"]}}}, "address of another one"),
        ({"accounts": {"a": {"addresses": ["@b.c"]}, "b": {"addresses": ["@b.c"]}}}, "address of another one"),
        ({"accounts": {"a": {"quota": -1}}}, "accounts.a.quota must be a whole number"),
        ({"accounts": {"a": {"quota": True}}}, "accounts.a.quota must be a whole number"),
        ({"accounts": {"a": {"quota": "lots"}}}, "accounts.a.quota must be a whole number"),
        ({"accounts": {"": {}}}, "an account's name"),
        ({"accounts": {"a\0": {}}}, "an account's name"),
        ({"domains": {"a.example": {"disabled": 1}}}, "domains.a.example.disabled must be true or false"),
        ({"domains": {"a.example": {"separators": "+"}}}, "domains.a.example.separators must be a list"),
        ({"domains": {"a.example": {"separators": [""]}}}, "domains.a.example.separators must be a list"),
        ({"domains": {"a.example": {}, "A.example": {}}}, "domains.A.example: it is there twice"),
        ({"domains": {"a..example": {}}}, "domain"),
        ({"domains": {"a.example": {"x": 1}}}, "domains.a.example: unknown field 'x'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(data: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        ConfiguredAccounts.read(data)
    assert said in str(caught.value)
    assert PASSWORD not in str(caught.value)
