"""Keys: made, written and read; those that may not sign are refused."""

import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as ec_key
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.unit.dkim.keys import ED25519, RSA, selector

from moxlib.dkim import (
    InvalidKey,
    PrivateKey,
    WeakKey,
    generate_rsa_key,
    load_private_key,
    private_key_pem,
    record_for,
)
from moxlib.errors import InputError

# Of 512 bits, as DKIM had it in 2007; made for this test.
SHORT = """-----BEGIN PRIVATE KEY-----
MIIBVQIBADANBgkqhkiG9w0BAQEFAASCAT8wggE7AgEAAkEAw+wl7ANQs9y3mu/G
g8kTrLCRED5e1veVO8FFNj+jxXi2Mkl0DIvWvwN8/3yf6MQq3uw4rj53cPbDIB5C
R0bvbwIDAQABAkEAnAG5PJJzO5VAGj5da2i8ouDB0hZn/HKOwVMnYogQR1dujhVa
BzR83eCtOHW2Xcc4aneCD6TVQPKDShANs+Of+QIhAPNqSVH9xNKSy05WD97nsDz4
pHPZYDOF1B2ephZ+ncGtAiEAzg1F9swVOe/DyTpA/yGsP3tJ/5Nb6d83P7xZlerT
sQsCIB8tO9rej/kQiC2uZDX+otoMVrPn4aR3vaVVjpxO91G5AiEAiZ5N2y6lAqQD
dJOGs5/OxjtWye6mlcXyxYvLnZhQOM8CICA12F9uVcAVRA9ZExLKI/MPT4QBuQP6
QtczqWlHU8aP
-----END PRIVATE KEY-----
"""


@pytest.mark.parametrize("key", [RSA, ED25519])
@pytest.mark.parametrize("password", [None, b"secret"])
def test_what_is_written_is_read(key: PrivateKey, password: bytes | None) -> None:
    pem = private_key_pem(key, password=password)
    for each in (pem, pem.encode()):
        assert record_for(load_private_key(each, password=password)) == record_for(key)


def test_rsa_keys_of_openssl_s_older_form_are_read() -> None:
    pem = RSA.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert pem.startswith(b"-----BEGIN RSA PRIVATE KEY-----")
    assert record_for(load_private_key(pem)) == record_for(RSA)


@pytest.mark.parametrize(
    ("pem", "password", "reason"),
    [
        ("", None, "not a PEM private key, or not with this password"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", None, "not a PEM private key"),
        ("\udc80", None, "not a PEM private key"),
        ("x" * 70_000, None, "more than 65536 octets"),
        (private_key_pem(ED25519, password=b"a"), None, "encrypted, without a password"),
        (private_key_pem(ED25519, password=b"a"), b"b", "not with this password"),
        (private_key_pem(ED25519), b"b", "not encrypted"),
        (record_for(RSA).public_key, None, "not a PEM private key"),
    ],
)
def test_what_is_no_key_is_refused(pem: str | bytes, password: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidKey, match=reason) as caught:
        load_private_key(pem, password=password)
    assert isinstance(caught.value, InputError)
    assert reason in pickle.loads(pickle.dumps(caught.value)).reason


def test_keys_of_other_kinds_are_refused() -> None:
    key = ec_key(SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for given in (key, pem, RSA.public_key(), None):
        with pytest.raises(InvalidKey, match=r"neither an RSA nor an Ed25519 private key"):
            selector(key=given)
        if given is not pem:
            with pytest.raises(InvalidKey):
                record_for(given)  # type: ignore[arg-type]


def test_short_rsa_keys_sign_nothing() -> None:
    with pytest.raises(WeakKey, match="512 bits; 1024 are needed") as caught:
        selector(key=SHORT)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.bits, again.needed, str(again)) == (512, 1024, str(caught.value))
    with pytest.raises(WeakKey):
        generate_rsa_key(1023)


def test_sizes_of_rsa_keys_are_bounded() -> None:
    assert isinstance(RSA, RSAPrivateKey)
    assert RSA.key_size == 2048
    assert generate_rsa_key(1024).key_size == 1024
    with pytest.raises(InvalidKey, match="8192 are the most"):
        generate_rsa_key(8193)
