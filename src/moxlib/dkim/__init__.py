"""DKIM (RFC 6376, 8301, 8463): a domain signs mail, and who receives it verifies that.

Selector(domain=..., name=..., private_key=...)     a key, and how it signs: canonical forms, fields, expiration
Signer(selectors)                                   `sign(message) -> bytes`: header fields to put before the message
sign(message, selectors) -> bytes                   the same for one message
generate_rsa_key(), generate_ed25519_key()          new keys; `private_key_pem(key)`, `load_private_key(pem)`
record_for(key) -> Record                           the TXT record to publish at `selector.record_name`
parse_record(text) -> Record                        and to read; `lookup_record(resolver, selector, domain)`
verify(message, resolver=...) -> (Result, ...)      `status`, `domain`, `problem`, ...; `Policy` says what is accepted
parse_signature(value) -> Signature                 what a DKIM-Signature field says
InvalidKey, WeakKey, InvalidRecord, ...             what goes wrong: see `moxlib.dkim.errors`
"""

from moxlib.dkim.canonical import Canonicalization
from moxlib.dkim.errors import InvalidKey, InvalidRecord, InvalidSignature, WeakKey
from moxlib.dkim.keys import (
    MAX_RSA_BITS,
    MIN_RSA_BITS,
    PrivateKey,
    PublicKey,
    generate_ed25519_key,
    generate_rsa_key,
    load_private_key,
    private_key_pem,
)
from moxlib.dkim.lookup import Found, Lookup, NotFound, lookup_record
from moxlib.dkim.record import KeyType, Record, parse_record, record_for, record_name
from moxlib.dkim.result import Policy, Problem, Result, Status
from moxlib.dkim.selector import DEFAULT_HEADERS, DEFAULT_HEADERS_IF_PRESENT, Selector
from moxlib.dkim.sign import Signer, sign
from moxlib.dkim.signature import Identity, Signature, parse_signature
from moxlib.dkim.verify import verify

__all__ = [
    "DEFAULT_HEADERS",
    "DEFAULT_HEADERS_IF_PRESENT",
    "MAX_RSA_BITS",
    "MIN_RSA_BITS",
    "Canonicalization",
    "Found",
    "Identity",
    "InvalidKey",
    "InvalidRecord",
    "InvalidSignature",
    "KeyType",
    "Lookup",
    "NotFound",
    "Policy",
    "PrivateKey",
    "Problem",
    "PublicKey",
    "Record",
    "Result",
    "Selector",
    "Signature",
    "Signer",
    "Status",
    "WeakKey",
    "generate_ed25519_key",
    "generate_rsa_key",
    "load_private_key",
    "lookup_record",
    "parse_record",
    "parse_signature",
    "private_key_pem",
    "record_for",
    "record_name",
    "sign",
    "verify",
]
