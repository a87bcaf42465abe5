"""Hashes of passwords, as texts in the PHC string format: scrypt by the standard library, Argon2id by `cryptography`.

    $scrypt$ln=15,r=8,p=3$<salt>$<hash>
    $argon2id$v=19$m=19456,t=2,p=1$<salt>$<hash>

The parameters stand in the text, so they can be raised for new hashes while old ones are still read.
"""

import hashlib
import hmac
import re
import secrets
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from moxlib.errors import InputError, LimitExceeded
from moxlib.sasl.prepare import prepared_password

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as KDF  # noqa: N814

__all__ = ["Argon2id", "InvalidPasswordHash", "PasswordHash", "Scrypt", "hash_password"]

MIN_PASSWORD: Final = 8  # characters: NIST SP 800-63B 5.1.1.1, and mox
MAX_PASSWORD: Final = 1024  # octets: what is longer is no password, and would have to be hashed
MAX_HASH: Final = 512  # characters of a hash's text; ours have 100
MAX_MEMORY: Final = 1 << 30  # octets that a hash may take to check: above that it is a mistake, or an attack
SALT: Final = 16  # octets, RFC 9106 3.1
OUTPUT: Final = 32  # octets

_scrypt = re.compile(
    r"\$scrypt\$ln=([1-9][0-9]?),r=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,3})\$([A-Za-z0-9+/]{0,128})\$([A-Za-z0-9+/]{22,128})"
).fullmatch
_argon2id = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,7}),t=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,2})"
    r"\$[A-Za-z0-9+/]{11,128}\$[A-Za-z0-9+/]{22,128}"
).fullmatch


class InvalidPasswordHash(InputError):
    """A text is no hash of a password that can be checked here. The text itself is not shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrypt:
    """scrypt (RFC 7914) with its parameters. The default takes 32 MiB, and about 0.2 s of CPU.

    Raises:
        InputError: parameters that cannot be, or take more than a gibibyte.
    """

    log_n: int = 15
    """The work factor N is 2 to this power."""
    r: int = 8
    """Blocks; 128 * N * r octets of memory are taken."""
    p: int = 3
    """How often that is done, one after the other. These three together are one of OWASP's recommendations."""

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if not (self.log_n in range(1, 31) and self.r in range(1, 10_000) and self.p in range(1, 10_000)):
            raise InputError("scrypt: log_n is from 1 to 30, r and p from 1 to 9999")
        if 128 * self.r * ((1 << self.log_n) + self.p) > MAX_MEMORY:
            raise LimitExceeded(MAX_MEMORY, "the memory of a password hash, in octets,")

    def derive(self, password: bytes, salt: bytes, length: int) -> bytes:
        """Return the derived key. Takes its time; other threads run meanwhile."""
        n, r, p = 1 << self.log_n, self.r, self.p
        needed = 128 * r * (n + p + 2)  # what OpenSSL counts
        return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=needed, dklen=length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argon2id:
    """Argon2id (RFC 9106) with its parameters. The default takes 19 MiB; OWASP recommends it.

    Raises:
        InputError: parameters that cannot be, or take more than a gibibyte.
    """

    memory_kib: int = 19_456
    iterations: int = 2
    lanes: int = 1

    def __post_init__(self) -> None:
        """Refuse what cannot be computed."""
        if not (self.iterations in range(1, 1000) and self.lanes in range(1, 256)):
            raise InputError("Argon2id: iterations are from 1 to 999, lanes from 1 to 255")
        if self.memory_kib < 8 * self.lanes:  # RFC 9106 3.1
            raise InputError("Argon2id: memory_kib is at least 8 for each lane")
        if self.memory_kib * 1024 > MAX_MEMORY:
            raise LimitExceeded(MAX_MEMORY, "the memory of a password hash, in octets,")


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordHash:
    """A hash that passwords can be checked against. Made by `parse`, which checks it."""

    text: str = field(repr=False)
    parameters: Scrypt | Argon2id

    @classmethod
    def parse(cls, text: str) -> "PasswordHash":
        """Read a hash in the PHC string format.

        Raises:
            InvalidPasswordHash: another scheme, a form that cannot be read, parameters beyond the limits, or Argon2id
                where the `cryptography` that is installed does not have it.
        """
        if len(text) > MAX_HASH:
            raise InvalidPasswordHash(f"a password hash is longer than {MAX_HASH} characters")
        try:
            parameters = _parameters_of(text)
        except (InputError, Base64Error) as error:
            raise InvalidPasswordHash(f"a password hash cannot be checked: {error}") from error
        if parameters is None:
            raise InvalidPasswordHash("a password hash is neither $scrypt$ln=..,r=..,p=..$ nor $argon2id$v=19$m=..")
        return cls(text=text, parameters=parameters)

    def verify(self, password: str) -> bool:
        """Say whether this is the password. Takes a while (see the parameters) whatever it is; run it in a thread."""
        given = _octets(password)
        if len(given) > MAX_PASSWORD or b"\0" in given:  # to scrypt's HMAC, NULs at the end are not there
            self._verify(b"")
            return False
        return self._verify(given)

    def _verify(self, password: bytes) -> bool:
        if isinstance(self.parameters, Scrypt):
            _, _, _, salt, expected = self.text.split("$")
            key = _decoded(expected)
            return hmac.compare_digest(self.parameters.derive(password, _decoded(salt), len(key)), key)
        from cryptography.exceptions import InvalidKey  # noqa: PLC0415 - who uses scrypt only does without
        from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as KDF  # noqa: N814, PLC0415

        try:
            KDF.verify_phc_encoded(password, self.text)
        except InvalidKey:
            return False
        return True


def _parameters_of(text: str) -> Scrypt | Argon2id | None:
    if match := _scrypt(text):
        _decoded(match[4]), _decoded(match[5])
        return Scrypt(log_n=int(match[1]), r=int(match[2]), p=int(match[3]))
    if match := _argon2id(text):
        parameters = Argon2id(memory_kib=int(match[1]), iterations=int(match[2]), lanes=int(match[3]))
        _argon2id_of(parameters, b"\0" * SALT)
        return parameters
    return None


def hash_password(
    password: str,
    parameters: Scrypt | Argon2id | None = None,
    *,
    random_octets: Callable[[int], bytes] = secrets.token_bytes,
) -> str:
    """Return the hash to keep in place of a password. Takes a while: a fifth of a second by default.

    Args:
        password: in any Unicode form; it is prepared by the OpaqueString profile (RFC 8265).
        parameters: of which kind, and how costly; `Scrypt()` by default.
        random_octets: makes the salt.

    Raises:
        InputError: it has fewer than 8 characters, or more than 1024 octets, or a NUL; or Argon2id is not to be had.
    """
    if len(password) < MIN_PASSWORD:
        raise InputError(f"a password needs at least {MIN_PASSWORD} characters")
    octets = _octets(password)
    if b"\0" in octets:
        raise InputError("a password has no NUL")
    if len(octets) > MAX_PASSWORD:
        raise LimitExceeded(MAX_PASSWORD, "a password")
    salt = random_octets(SALT)
    how = parameters or Scrypt()
    if isinstance(how, Argon2id):
        return str(_argon2id_of(how, salt).derive_phc_encoded(octets))
    key = how.derive(octets, salt, OUTPUT)
    return f"$scrypt$ln={how.log_n},r={how.r},p={how.p}${_encoded(salt)}${_encoded(key)}"


def _argon2id_of(parameters: Argon2id, salt: bytes) -> "KDF":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - who uses scrypt only does without
    from cryptography.hazmat.primitives.kdf.argon2 import Argon2id as KDF  # noqa: N814, PLC0415

    try:
        return KDF(
            salt=salt,
            length=OUTPUT,
            iterations=parameters.iterations,
            lanes=parameters.lanes,
            memory_cost=parameters.memory_kib,
        )
    except UnsupportedAlgorithm as error:  # OpenSSL before 3.2
        raise InvalidPasswordHash("the OpenSSL that `cryptography` uses has no Argon2id") from error


def _octets(password: str) -> bytes:
    return prepared_password(password).encode("utf-8", "surrogatepass")


def _encoded(data: bytes) -> str:
    return b2a_base64(data, newline=False).rstrip(b"=").decode("ascii")


def _decoded(text: str) -> bytes:
    return a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True) if text else b""
