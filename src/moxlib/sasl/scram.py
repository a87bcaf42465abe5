"""SCRAM-SHA-1 and SCRAM-SHA-256, with channel binding as -PLUS (RFC 5802, RFC 7677, RFC 5929).

The password is not sent, and the server has to prove that it knows it. With channel binding the proof is worth nothing
on another TLS connection, so nobody in the middle can pass it on.
"""

import base64
import binascii
import hashlib
import hmac
import re
import secrets
import unicodedata
from collections.abc import Callable
from enum import Enum
from typing import Final

from moxlib.errors import InputError
from moxlib.sasl.errors import SASLError
from moxlib.sasl.mechanism import Step, check_size
from moxlib.sasl.prepare import prepared_password

__all__ = ["SCRAM", "ChannelBinding", "SCRAMHash", "make_nonce"]

MIN_ITERATIONS: Final = 2048  # Fewer make it cheap to guess the password from an exchange; RFC 7677 4 wants 4096.
MAX_ITERATIONS: Final = 2_000_000  # About a second of CPU, which the server makes us spend before it proves anything.
MIN_NONCE: Final = 8  # bytes the server has to add to our nonce, so that an exchange cannot be replayed to us
MIN_SALT: Final = 8  # bytes; RFC 7677 4 wants more, some servers have 12
_NONCE_BYTES: Final = 12

_server_first = re.compile(
    rb"r=([!-+\--~]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})(?:,[a-z]=[^\0,]+)*", re.IGNORECASE
).fullmatch
_server_final = re.compile(rb"(?:e=([^\0,]+)|v=([A-Za-z0-9+/=]+))(?:,[a-z]=[^\0,]+)*", re.IGNORECASE).fullmatch


class SCRAMHash(Enum):
    """The hash function, by its name in the mechanism's; the value is hashlib's."""

    SHA1 = "sha1"
    SHA256 = "sha256"


class ChannelBinding(Enum):
    """What a client that binds no channel says about it (RFC 5802 6); the value is the gs2 flag."""

    UNSUPPORTED = "n"  # it cannot, on this connection
    NOT_OFFERED = "y"  # it could, but the server offers no -PLUS: a server that does knows then of a man in the middle


def make_nonce() -> str:
    """Return a new random nonce."""
    return base64.b64encode(secrets.token_bytes(_NONCE_BYTES)).decode("ascii")


class SCRAM:
    """One SCRAM exchange.

    Attributes:
        name: the mechanism's name, "-PLUS" included when a channel is bound.
    """

    cleartext = False

    def __init__(
        self,
        hash_: SCRAMHash,
        username: str,
        password: str,
        *,
        binding: bytes | ChannelBinding = ChannelBinding.UNSUPPORTED,
        authorize_as: str = "",
        nonce: Callable[[], str] = make_nonce,
    ) -> None:
        """Prepare an exchange.

        Args:
            hash_: which SCRAM.
            username: who logs in.
            password: prepared here, as the server will have done.
            binding: the connection's tls-unique value for the -PLUS mechanism; else why there is none.
            authorize_as: whom to act as, if not as oneself.
            nonce: makes the client's nonce: printable ASCII without a comma.

        Raises:
            InputError: an empty channel binding.
        """
        if binding == b"":
            raise InputError("channel binding data is empty")
        self.name = "SCRAM-SHA-" + hash_.value.removeprefix("sha") + ("-PLUS" if isinstance(binding, bytes) else "")
        self._hash = hash_.value
        self._password = prepared_password(password)
        flag = binding.value if isinstance(binding, ChannelBinding) else "p=tls-unique"
        authzid = f"a={_escaped(authorize_as)}" if authorize_as else ""
        self._gs2_header = f"{flag},{authzid},"
        self._binding = binding if isinstance(binding, bytes) else b""
        self._nonce = nonce()
        self._first_bare = f"n={_escaped(username)},r={self._nonce}"
        self._server_signature = b""
        self._taken = 0

    def step(self, challenge: bytes | None = None) -> Step:
        """Return the first message, then the proof, then nothing when the server has proved itself.

        The second step costs the iterations that the server asks for: up to about a second of CPU, which does not hold
        the interpreter's lock.

        Raises:
            SASLError: the server's message is malformed or unsafe, is an error, or does not prove that it knows the
                password.
        """
        check_size(self.name, challenge)
        self._taken += 1
        match self._taken:
            case 1:
                return Step(data=(self._gs2_header + self._first_bare).encode(), last=False)
            case 2:
                return Step(data=self._prove(challenge or b""), last=False)
            case 3:
                self._verify(challenge or b"")
                return Step(data=b"", last=True)
            case _:
                raise SASLError(self.name, "the server asks for more than the mechanism has")

    def _prove(self, server_first: bytes) -> bytes:
        if server_first[:2].lower() == b"m=":
            raise SASLError(self.name, "the server demands an extension")  # RFC 5802 5.1
        match = _server_first(server_first)
        if match is None:
            raise SASLError(self.name, f"the server's first message is malformed: {server_first[:100]!a}")
        nonce, salt, iterations = match[1].decode("ascii"), self._base64(match[2]), int(match[3])
        if not nonce.startswith(self._nonce):
            raise SASLError(self.name, "the server does not go on from our nonce")
        if len(nonce) - len(self._nonce) < MIN_NONCE:
            raise SASLError(self.name, f"the server's nonce has less than {MIN_NONCE} bytes")
        if len(salt) < MIN_SALT:
            raise SASLError(self.name, f"the salt has less than {MIN_SALT} bytes")
        if not MIN_ITERATIONS <= iterations <= MAX_ITERATIONS:
            raise SASLError(self.name, f"{iterations} iterations: not within {MIN_ITERATIONS} to {MAX_ITERATIONS}")
        bound = base64.b64encode(self._gs2_header.encode() + self._binding).decode("ascii")
        without_proof = f"c={bound},r={nonce}"
        message = b",".join([self._first_bare.encode(), server_first, without_proof.encode()])
        salted = hashlib.pbkdf2_hmac(self._hash, self._password.encode(), salt, iterations)
        client_key = self._hmac(salted, b"Client Key")
        signature = self._hmac(hashlib.new(self._hash, client_key).digest(), message)
        self._server_signature = self._hmac(self._hmac(salted, b"Server Key"), message)
        proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        return f"{without_proof},p={base64.b64encode(proof).decode('ascii')}".encode()

    def _verify(self, server_final: bytes) -> None:
        match = _server_final(server_final)
        if match is None:
            raise SASLError(self.name, f"the server's final message is malformed: {server_final[:100]!a}")
        if match[1] is not None:
            raise SASLError(self.name, f"the server says {match[1][:100]!a}")
        if not hmac.compare_digest(self._base64(match[2]), self._server_signature):
            raise SASLError(self.name, "the server did not prove that it knows the password")

    def _hmac(self, key: bytes, message: bytes) -> bytes:
        return hmac.digest(key, message, self._hash)

    def _base64(self, text: bytes) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise SASLError(self.name, f"malformed Base64: {text[:100]!a}") from error


def _escaped(name: str) -> str:
    """RFC 5802 5.1: a saslname; normalized, for that is what the server looks up."""
    return unicodedata.normalize("NFC", name).replace("=", "=3D").replace(",", "=2C")
