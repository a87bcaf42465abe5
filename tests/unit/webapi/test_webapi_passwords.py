"""Hashes of passwords are what the RFCs say, cost what they say, and nothing else is read as one."""

import hashlib
from base64 import b64encode
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as KDF

from moxlib.errors import InputError, LimitExceeded
from moxlib.testing.clock import FakeClock
from moxlib.webapi.password_hash import Argon2id, InvalidPasswordHash, PasswordHash, Scrypt, hash_password
from moxlib.webapi.passwords import VerifiedPasswords

CHEAP = Scrypt(log_n=4, r=1, p=1)
CHEAP_ARGON = Argon2id(memory_kib=8, iterations=1)
SALT = b"0123456789abcdef"


def text_of(data: bytes) -> str:
    return b64encode(data).decode().rstrip("=")


@pytest.mark.parametrize("parameters", [CHEAP, CHEAP_ARGON, Scrypt(log_n=5, r=2, p=3)])
def test_a_hash_is_of_its_password_only(parameters: Scrypt | Argon2id) -> None:
    hashed = PasswordHash.parse(hash_password("test1234test", parameters))
    assert hashed.parameters == parameters
    assert hashed.verify("test1234test")
    for wrong in (
        "",
        "test1234tes",
        "test1234test ",
        "Test1234test",
        "test1234test\0",
        "\0test1234test",
        "test1234test" * 200,
    ):
        assert not hashed.verify(wrong)


def test_each_hash_has_its_own_salt() -> None:
    assert hash_password("test1234test", CHEAP) != hash_password("test1234test", CHEAP)


def test_scrypt_is_that_of_the_rfc() -> None:
    # RFC 7914 12, its second test vector: N=1024, r=8, p=16
    key = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162"
        "2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640"
    )
    hashed = PasswordHash.parse(f"$scrypt$ln=10,r=8,p=16${text_of(b'NaCl')}${text_of(key)}")
    assert hashed.verify("password")
    assert not hashed.verify("passwort")


def test_the_form_is_phc() -> None:
    made = hash_password("test1234test", CHEAP, random_octets=lambda count: SALT[:count])
    key = hashlib.scrypt(b"test1234test", salt=SALT, n=16, r=1, p=1, dklen=32)
    assert made == f"$scrypt$ln=4,r=1,p=1${text_of(SALT)}${text_of(key)}"
    argon = hash_password("test1234test", CHEAP_ARGON, random_octets=lambda count: SALT[:count])
    assert argon.startswith(f"$argon2id$v=19$m=8,t=1,p=1${text_of(SALT)}$")
    KDF.verify_phc_encoded(b"test1234test", argon)


def test_passwords_are_prepared_as_opaque_strings() -> None:
    hashed = PasswordHash.parse(hash_password("pa\u0308ss\u00a0wörter", CHEAP))
    assert hashed.verify("päss w\u006f\u0308rter")


def test_the_default_costs_what_is_recommended() -> None:
    assert Scrypt() == Scrypt(log_n=15, r=8, p=3)
    assert Argon2id() == Argon2id(memory_kib=19_456, iterations=2, lanes=1)


@pytest.mark.parametrize("password", ["", "seven77", "x" * 1025, "ü" * 513, "test1234\0"])
def test_a_password_is_neither_short_nor_endless(password: str) -> None:
    with pytest.raises(InputError) as caught:
        hash_password(password, CHEAP)
    assert password not in str(caught.value) or not password


@pytest.mark.parametrize(
    "text",
    [
        "",
        "test1234test",
        "$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
        "$scrypt$ln=4,r=1,p=1$" + text_of(SALT),
        "$scrypt$ln=4,r=1,p=1$" + text_of(SALT) + "$" + text_of(SALT[:15]),  # too short to tell passwords apart
        "$scrypt$ln=4,r=1,p=1$A$" + text_of(SALT * 2),  # no base64
        "$scrypt$ln=24,r=8,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),  # 16 GiB
        "$scrypt$ln=31,r=1,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),
        "$argon2id$v=19$m=4194304,t=1,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),  # 4 GiB
        "$argon2id$v=19$m=7,t=1,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),
        "$argon2id$v=16$m=8,t=1,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),
        "$argon2i$v=19$m=8,t=1,p=1$" + text_of(SALT) + "$" + text_of(SALT * 2),
        hash_password("test1234test", CHEAP, random_octets=lambda count: SALT[:count]) + "\n",
        hash_password("test1234test", CHEAP, random_octets=lambda count: SALT[:count]) + "A" * 512,
    ],
)
def test_what_is_no_hash_is_refused_and_not_shown(text: str) -> None:
    with pytest.raises(InvalidPasswordHash) as caught:
        PasswordHash.parse(text)
    assert not text or text not in str(caught.value)


def test_a_hash_does_not_show_itself() -> None:
    made = hash_password("test1234test", CHEAP)
    assert made not in repr(PasswordHash.parse(made))


def test_no_parameters_take_all_memory() -> None:
    with pytest.raises(LimitExceeded):
        Scrypt(log_n=20, r=16)
    with pytest.raises(InputError):
        Scrypt(log_n=0)
    with pytest.raises(InputError):
        Argon2id(iterations=0)


# What is remembered


async def test_a_right_password_is_remembered_for_a_while() -> None:
    clock = FakeClock()
    verified = VerifiedPasswords(clock=clock, lifetime=timedelta(minutes=5))
    digest = verified.digest("mjl@mox.example", "test1234test", "hash")
    assert not verified.knows(digest)
    verified.remember(digest)
    await clock.advance(299.9)
    assert verified.knows(digest)
    await clock.advance(0.1)
    assert not verified.knows(digest)


def test_what_is_remembered_is_of_login_password_and_hash() -> None:
    verified = VerifiedPasswords(clock=FakeClock())
    verified.remember(verified.digest("ab", "cd", "ef"))
    for other in (("abc", "d", "ef"), ("ab", "cde", "f"), ("ab", "cd", "eg"), ("ab", "x", "ef"), ("x", "cd", "ef")):
        assert not verified.knows(verified.digest(*other))
    assert verified.knows(verified.digest("ab", "cd", "ef"))
    verified.forget()
    assert not verified.knows(verified.digest("ab", "cd", "ef"))


def test_the_key_is_each_processs_own() -> None:
    asked = ("ab", "cd", "ef")
    assert VerifiedPasswords().digest(*asked) != VerifiedPasswords().digest(*asked)
    assert VerifiedPasswords(key=b"k" * 16).digest(*asked) == VerifiedPasswords(key=b"k" * 16).digest(*asked)


async def test_the_memory_is_bounded_and_the_oldest_is_forgotten() -> None:
    clock = FakeClock()
    verified = VerifiedPasswords(clock=clock, max_entries=2)
    one, two, three = [verified.digest(str(number), "", "") for number in range(3)]
    for each in (one, two, one, three):
        verified.remember(each)
        await clock.advance(1)
    assert [verified.knows(each) for each in (one, two, three)] == [True, False, True]
    await clock.advance(3600)
    verified.remember(two)
    assert len(verified) == 1


def test_nothing_is_remembered_for_no_time() -> None:
    verified = VerifiedPasswords(lifetime=timedelta(0), clock=FakeClock())
    verified.remember(verified.digest("a", "b", "c"))
    assert len(verified) == 0


@pytest.mark.parametrize(
    "options", [{"lifetime": timedelta(seconds=-1)}, {"max_entries": 0}, {"key": b"short"}, {"key": b"k" * 65}]
)
def test_a_memory_that_cannot_be_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError):
        VerifiedPasswords(**options)  # type: ignore[arg-type]
