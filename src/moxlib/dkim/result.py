"""What verifying says of each signature."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from moxlib.dkim.record import Record
from moxlib.dkim.signature import Identity, Signature
from moxlib.dns import Domain
from moxlib.errors import InputError

__all__ = ["Policy", "Problem", "Result", "Status"]


class Status(StrEnum):
    """The results of RFC 8601 2.7.1. Only `PASS` says anything good of a message."""

    NONE = "none"
    """The signature is bad, and the domain is only trying DKIM (t=y): as if there was none."""
    PASS = "pass"  # noqa: S105 - no password
    """The domain signed what the signature covers."""
    FAIL = "fail"
    """The message, or the signature, is not what the domain signed."""
    POLICY = "policy"
    """The signature is not one that is accepted here."""
    NEUTRAL = "neutral"
    """Not used: each cause has one of the other results. Here for those who write them down."""
    TEMPERROR = "temperror"
    """The key could not be found out; a later try may."""
    PERMERROR = "permerror"
    """The signature cannot be verified, now or later."""


class Problem(StrEnum):
    """Why a signature did not pass."""

    SYNTAX = "syntax"
    """The field is malformed."""
    TOO_MANY = "too_many"
    """There are more signatures than are looked at."""
    FROM = "from"
    """From is not signed, or there is more than one."""
    EXPIRED = "expired"
    """It does not hold any more."""
    FUTURE = "future"
    """It was made more than a day from now."""
    TOP_LEVEL_DOMAIN = "top_level_domain"
    """The domain that signed has a single label."""
    ALGORITHM = "algorithm"
    """Unknown, or not secure: SHA-1."""
    QUERY_METHOD = "query_method"
    """The key is not to be found in the DNS."""
    REFUSED = "refused"
    """The caller's policy refuses it."""
    DNS = "dns"
    """The record could not be looked up."""
    NO_RECORD = "no_record"
    """There is no record."""
    SEVERAL_RECORDS = "several_records"
    """There is more than one."""
    RECORD_SYNTAX = "record_syntax"
    """There is a malformed one."""
    KEY_MISMATCH = "key_mismatch"
    """The record does not allow this algorithm, or has another kind of key."""
    REVOKED = "revoked"
    """The key was revoked."""
    KEY_SIZE = "key_size"
    """The key is shorter than is secure, or longer than is verified."""
    NOT_FOR_EMAIL = "not_for_email"
    """The key is for something else."""
    IDENTITY = "identity"
    """The record wants the identity to be of the domain itself (t=s)."""
    SIGNATURE = "signature"
    """It is not the key's signature of this header."""
    BODY_HASH = "body_hash"
    """The body is another one."""
    PARTIAL_BODY = "partial_body"
    """Something follows the part of the body that is signed (l=)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is accepted.

    Attributes:
        max_signatures: how many are looked at, from the top; each may take a lookup, and a pass over the body. Few
            messages have more than three.
        accept_partial_body: let a signature pass that covers a part of the body only (l=), although anybody may have
            added the rest.
        ignore_test_mode: take a bad signature for what it is, even if the domain is only trying DKIM (t=y).
        refuse: says of a signature why it is not accepted; None if it is. Called before anything is looked up.

    Raises:
        InputError: `max_signatures` is not positive.
    """

    max_signatures: int = 10
    accept_partial_body: bool = False
    ignore_test_mode: bool = False
    refuse: Callable[[Signature], str | None] | None = None

    def __post_init__(self) -> None:
        if self.max_signatures < 1:
            raise InputError("no signature would be looked at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one signature.

    Attributes:
        status: the result. It says nothing of whether the domain has to do with that of From: DMARC does.
        signature: what the field says; None if it could not be read.
        record: the record that has the key; None if none was found.
        authentic: whether DNSSEC authenticated what the DNS said of it.
        problem: why it did not pass; None if it did.
        error: the same for people, at most a few hundred characters, what is the sender's escaped; empty if it passed.
    """

    status: Status
    signature: Signature | None = None
    record: Record | None = None
    authentic: bool = False
    problem: Problem | None = None
    error: str = ""

    @property
    def domain(self) -> Domain | None:
        """The domain that signed, or is said to have."""
        return None if self.signature is None else self.signature.domain

    @property
    def selector(self) -> str | None:
        """The name of its key."""
        return None if self.signature is None else self.signature.selector

    @property
    def algorithm(self) -> str | None:
        """Such as `rsa-sha256`."""
        return None if self.signature is None else self.signature.algorithm

    @property
    def identity(self) -> Identity | None:
        """For whom it signed; the domain alone if that is not said (RFC 6376 3.5)."""
        if self.signature is None:
            return None
        return self.signature.identity or Identity(domain=self.signature.domain)
