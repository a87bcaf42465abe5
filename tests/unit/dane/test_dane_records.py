"""TLSA records: which are usable, what they match, and how they are made."""

import base64
import hashlib
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.dane.issuing import Issued, server

from moxlib.dane import DANEError, DANEFault, record_for, usable
from moxlib.dane.certificate import public_key_info
from moxlib.dane.records import MAX_RECORDS, matches
from moxlib.dns import TLSA
from moxlib.errors import InputError, RemoteError

# Made by `openssl req -x509` for a key of P-256 that is written as a compressed point.
COMPRESSED = base64.b64decode("""
MIIBYjCCAQegAwIBAgIUEhtjqSMPyORdHAfMHHjn6gleraswCgYIKoZIzj0EAwIwFTETMBEGA1UEAwwKbXguZXhhbXBsZTAgFw0y
NjExMjYwMTA2MjRaGA8yMTI2MTEwMjAxMDYyNFowFTETMBEGA1UEAwwKbXguZXhhbXBsZTA5MBMGByqGSM49AgEGCCqGSM49AwEH
AyIAAykKQwOpAfxAa0hmAsj3m89DolapWV3T7vmm3FSLsBjto1MwUTAdBgNVHQ4EFgQU37a+Q5TWc1UE1362NhJwLzKbh/UwHwYD
VR0jBBgwFoAU37a+Q5TWc1UE1362NhJwLzKbh/UwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQDAgNJADBGAiEAhz+C+dNXt5ub
9CNmz39Dtb4+PhhxzvArWJBo49aPaSQCIQCmpvNERQB//OjOxteCcmyQTbVnn294+iwEqR5OOs7wPg==
""")
COMPRESSED_KEY = bytes.fromhex(
    "3039301306072a8648ce3d020106082a8648ce3d03010703220003"
    "290a4303a901fc406b486602c8f79bcf43a256a9595dd3eef9a6dc548bb018ed"
)

LEAF = server(None)
KEY = LEAF.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def tlsa(usage: int, selector: int, matching_type: int, data: bytes) -> TLSA:
    return TLSA(usage=usage, selector=selector, matching_type=matching_type, data=data)


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize(
    ("selector", "matching_type", "data"),
    [
        (0, 0, LEAF.der),
        (0, 1, hashlib.sha256(LEAF.der).digest()),
        (0, 2, hashlib.sha512(LEAF.der).digest()),
        (1, 0, KEY),
        (1, 1, hashlib.sha256(KEY).digest()),
        (1, 2, hashlib.sha512(KEY).digest()),
    ],
    ids=["certificate", "its SHA-256", "its SHA-512", "key", "its SHA-256 ", "its SHA-512 "],
)
def test_a_record_of_each_kind(usage: int, selector: int, matching_type: int, data: bytes) -> None:
    record = tlsa(usage, selector, matching_type, data)
    assert usable([record]) == (record,)
    assert matches(record, LEAF.der)
    assert not matches(record, server(None).der)
    assert record_for(LEAF.der, usage=usage, selector=selector, matching_type=matching_type) == record


@pytest.mark.parametrize(
    "record",
    [
        tlsa(0, 0, 1, bytes(32)),  # PKIX-TA and PKIX-EE: RFC 7672 3.1.3
        tlsa(1, 1, 1, bytes(32)),
        tlsa(4, 1, 1, bytes(32)),
        tlsa(255, 1, 1, bytes(32)),
        tlsa(3, 2, 1, bytes(32)),
        tlsa(3, 255, 1, bytes(32)),
        tlsa(3, 1, 3, bytes(32)),
        tlsa(3, 1, 255, bytes(32)),
        tlsa(3, 1, 1, bytes(31)),
        tlsa(3, 1, 1, bytes(33)),
        tlsa(3, 1, 1, b""),
        tlsa(3, 1, 2, bytes(32)),
        tlsa(3, 1, 2, bytes(65)),
        tlsa(2, 0, 0, b""),
        tlsa(2, 0, 0, LEAF.der[:-1]),
        tlsa(2, 0, 0, LEAF.der + b"\0"),
        tlsa(2, 0, 0, KEY),
        tlsa(2, 1, 0, LEAF.der),
        tlsa(2, 1, 0, KEY[:-1]),
    ],
    ids=lambda record: f"{record.usage} {record.selector} {record.matching_type}",
)
def test_a_record_that_is_of_no_use(record: TLSA) -> None:
    assert usable([record]) == ()


def test_usable_records_keep_their_order_and_have_a_limit() -> None:
    good = [tlsa(3, 1, 1, bytes([number]) * 32) for number in range(MAX_RECORDS + 1)]
    assert usable([tlsa(1, 1, 1, bytes(32)), *good, good[0]]) == tuple(good[:MAX_RECORDS])
    assert usable([good[1], good[0], good[1]]) == (good[1], good[0])
    assert usable([]) == ()


def test_the_key_is_taken_as_it_stands() -> None:
    """`cryptography` would write its point uncompressed."""
    assert public_key_info(COMPRESSED) == COMPRESSED_KEY
    assert record_for(COMPRESSED).data == hashlib.sha256(COMPRESSED_KEY).digest()
    assert usable([tlsa(2, 1, 0, COMPRESSED_KEY)])


@pytest.mark.parametrize(
    "key", [rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()], ids=["RSA", "Ed25519"]
)
def test_keys_of_other_kinds(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> None:
    info = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    assert public_key_info(Issued("mx.example", key=key).der) == info


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"0",
        b"\x30\x80",
        b"\x30\x85\x01\x01\x01\x01\x01",
        b"\x30\x84\xff\xff\xff\xff",
        b"\x31\x03\x02\x01\x01",
        b"\x30\x02\x30\x00",
        bytes.fromhex("300e300c" + "020101" * 4),
        bytes.fromhex("30143012" + "020101" * 6),  # the sixth, where the key would be, is a number
        KEY,
        *[LEAF.der[:length] for length in range(0, 120, 7)],
    ],
    ids=lambda der: f"{len(der)} bytes",
)
def test_no_key_in_what_is_no_certificate(der: bytes) -> None:
    assert public_key_info(der) is None
    assert not matches(tlsa(3, 1, 1, hashlib.sha256(b"").digest()), der)


def test_a_record_is_made_from_pem() -> None:
    pem = LEAF.certificate.public_bytes(Encoding.PEM)
    other = server(None).certificate.public_bytes(Encoding.PEM)
    assert record_for(pem) == record_for(LEAF.der) == record_for(b"a server:\n" + pem + other)
    assert str(record_for(pem)) == f"3 1 1 {hashlib.sha256(KEY).hexdigest()}"


@pytest.mark.parametrize("values", [{"usage": 1}, {"usage": 0}, {"selector": 2}, {"matching_type": 3}], ids=str)
def test_a_record_that_would_be_of_no_use_is_not_made(values: dict[str, int]) -> None:
    with pytest.raises(InputError, match="not a TLSA record for SMTP"):
        record_for(LEAF.der, **values)


@pytest.mark.parametrize(
    "certificate",
    [b"", b"text", KEY, b"-----BEGIN CERTIFICATE-----\nAAAA\n", LEAF.der[:-1]],
    ids=["empty", "text", "key", "PEM", "cut off"],
)
def test_a_record_of_no_certificate(certificate: bytes) -> None:
    with pytest.raises(InputError, match="not a certificate"):
        record_for(certificate)


@pytest.mark.parametrize("fault", DANEFault)
def test_errors_say_what_they_are(fault: DANEFault) -> None:
    error = DANEError("why", fault=fault)
    assert isinstance(error, RemoteError)
    again: DANEError = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason, again.fault) == ("DANE: why", "why", fault)
    assert again.matched is (fault not in (DANEFault.NO_CERTIFICATE, DANEFault.NO_MATCH))
