"""Whatever is in a configuration, a login or a message: it is taken, or refused by our error."""

import asyncio
import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.testing.clock import START
from moxlib.webapi.accounts import WrongCredentials
from moxlib.webapi.configured_accounts import ConfiguredAccounts
from moxlib.webapi.flags import InvalidFlag, parse_flags
from moxlib.webapi.login_limit import networks_of
from moxlib.webapi.mailbox import InvalidMailboxName, OpenMessage, PartNotFound, StoredMessage, check_mailbox_name
from moxlib.webapi.password_hash import InvalidPasswordHash, PasswordHash, Scrypt, hash_password
from moxlib.webapi.reading import message_of

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["password", "full_name", "addresses", "login_disabled", "quota", "max_message_size", "separators", "disabled", "x"]
)
NAMES = st.sampled_from(["a", "example.org", "", "é.example", "a..b"]) | st.text(max_size=5)
TABLES = st.dictionaries(NAMES, st.dictionaries(FIELDS, ANY, max_size=3) | ANY, max_size=3)
HASH = hash_password("test1234test", Scrypt(log_n=1, r=1, p=1))
ACCOUNTS = {"accounts": {"mjl": {"password": HASH, "addresses": ["mjl@mox.example", "@catch.example"]}}}


@given(st.dictionaries(st.sampled_from(["accounts", "domains", "x"]), TABLES | ANY, max_size=3))
def test_any_configuration_is_read_or_refused(data: dict[str, Any]) -> None:
    with contextlib.suppress(InputError):
        ConfiguredAccounts.read({"accounts": {"one": {"password": HASH}}} | data).close()


@given(st.text() | st.sampled_from(["$scrypt$", "$argon2id$v=19$", HASH]).flatmap(lambda s: st.text().map(s.__add__)))
def test_any_text_is_a_hash_or_is_none(text: str) -> None:
    with contextlib.suppress(InvalidPasswordHash):
        PasswordHash.parse(text)


SURROGATES = st.text(st.characters(codec=None), max_size=40)


@given(st.lists(st.tuples(SURROGATES | SURROGATES.map(lambda s: f"{s}@mox.example"), SURROGATES), max_size=3))
def test_any_login_is_answered(logins: list[tuple[str, str]]) -> None:
    accounts = ConfiguredAccounts.read(ACCOUNTS)

    async def answers() -> list[object]:
        return [await accounts.login(*each) for each in logins]

    try:
        assert asyncio.run(answers()) == [WrongCredentials()] * len(logins)
    finally:
        accounts.close()


@given(SURROGATES, st.lists(SURROGATES))
def test_any_name_and_any_flags_are_taken_or_refused(name: str, flags: list[str]) -> None:
    with contextlib.suppress(InvalidMailboxName):
        assert check_mailbox_name(check_mailbox_name(name)) == check_mailbox_name(name)
    with contextlib.suppress(InvalidFlag):
        assert parse_flags(parse_flags(flags)) == parse_flags(flags)


@given(st.text())
def test_any_text_is_an_address_of_the_network_or_none(text: str) -> None:
    with contextlib.suppress(InputError):
        assert len(networks_of(text)) == 3


PIECES = st.sampled_from(
    [
        b"From: a@b.example\r\n",
        b"To: \xff <\xc3\xbc@x>\r\n",
        b"Cc: \xc3\xbc@x.1\r\n",
        b"References: <a\r\n",
        b"\r\n",
        b"--b\r\n",
        b"--b--\r\n",
        b"\x00",
        b"Content-Type: multipart/mixed; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Date: never\r\n",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=10), max_size=30).map(b"".join), st.lists(st.integers(), max_size=3))
def test_any_message_is_read(mail: bytes, path: list[int]) -> None:
    message = StoredMessage(id=1, account="", mailbox="", flags=(), received=START, size=len(mail))
    opened = OpenMessage(message, mail)
    message_of(opened)

    async def read() -> bytes:
        assert b"".join([chunk async for chunk in opened.raw()]) == mail
        part = await opened.part(path)
        return b"".join([chunk async for chunk in opened.body(part)])

    with contextlib.suppress(PartNotFound):
        asyncio.run(read())
