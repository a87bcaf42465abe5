"""Private keys that sign: made, read and written."""

from typing import Final, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from moxlib.dkim.errors import InvalidKey, WeakKey

__all__ = [
    "MAX_RSA_BITS",
    "MIN_RSA_BITS",
    "PrivateKey",
    "PublicKey",
    "generate_ed25519_key",
    "generate_rsa_key",
    "load_private_key",
    "private_key_pem",
]

PrivateKey: TypeAlias = RSAPrivateKey | Ed25519PrivateKey
"""A private key of `cryptography`, of one of the two kinds that DKIM knows."""

PublicKey: TypeAlias = RSAPublicKey | Ed25519PublicKey
"""A public key of `cryptography`, likewise."""

MIN_RSA_BITS: Final = 1024
"""RFC 8301 3.2: shorter ones sign nothing, and what they signed is refused."""

MAX_RSA_BITS: Final = 8192
"""Twice what RFC 8301 3.2 wants receivers to take. The time that a signature takes to verify grows with it."""

MAX_PEM: Final = 64 * 1024  # octets; a key of 8192 bits has 7 KiB


def generate_rsa_key(bits: int = 2048) -> RSAPrivateKey:
    """Make an RSA key. Keys of 2048 bits are what all receivers take, and fit a TXT record of two strings.

    Args:
        bits: from 1024 to 8192.

    Raises:
        WeakKey: fewer than 1024.
        InvalidKey: more than 8192.
    """
    if bits < MIN_RSA_BITS:
        raise WeakKey(bits, MIN_RSA_BITS)
    if bits > MAX_RSA_BITS:
        raise InvalidKey(f"an RSA key of {bits} bits; {MAX_RSA_BITS} are the most")
    return generate_private_key(public_exponent=65537, key_size=bits)


def generate_ed25519_key() -> Ed25519PrivateKey:
    """Make an Ed25519 key (RFC 8463). Some receivers cannot verify its signatures: sign with RSA too."""
    return Ed25519PrivateKey.generate()


def private_key_pem(key: PrivateKey, *, password: bytes | None = None) -> str:
    """Return a key as PEM text (PKCS #8), as `load_private_key` and OpenSSL read it.

    Args:
        key: which one.
        password: to encrypt it with; None for not.
    """
    encryption: KeySerializationEncryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption).decode("ascii")


def load_private_key(pem: str | bytes, *, password: bytes | None = None) -> PrivateKey:
    """Read a key from PEM text: PKCS #8, or for RSA PKCS #1 too.

    Args:
        pem: the text.
        password: that it is encrypted with, if it is.

    Raises:
        WeakKey: an RSA key of less than 1024 bits.
        InvalidKey: it is no private key, one of another kind, or the password is wrong or missing.
    """
    data = pem.encode("utf-8", "replace") if isinstance(pem, str) else pem
    if len(data) > MAX_PEM:
        raise InvalidKey(f"more than {MAX_PEM} octets of PEM")
    try:
        key = load_pem_private_key(data, password)
    except TypeError as error:  # a password is missing, or there is one to no purpose
        raise InvalidKey("encrypted, without a password" if password is None else "not encrypted") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise InvalidKey("not a PEM private key, or not with this password") from error
    return checked_key(key)


def checked_key(key: object) -> PrivateKey:
    """Return a key that may sign.

    Raises:
        WeakKey: an RSA key of less than 1024 bits.
        InvalidKey: another kind of key, or an RSA key of more than 8192 bits.
    """
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise InvalidKey(f"a {type(key).__name__} is neither an RSA nor an Ed25519 private key")
    if key.key_size < MIN_RSA_BITS:
        raise WeakKey(key.key_size, MIN_RSA_BITS)
    if key.key_size > MAX_RSA_BITS:
        raise InvalidKey(f"an RSA key of {key.key_size} bits; {MAX_RSA_BITS} are the most")
    return key
