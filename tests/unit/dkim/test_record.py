"""Records: what is published and what is read."""

import base64
import pickle

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.dkim.keys import DOMAIN, ED25519, RSA

from moxlib.dkim import InvalidKey, InvalidRecord, KeyType, Record, parse_record, record_for, record_name
from moxlib.dns import InvalidDomain
from moxlib.errors import InputError, LimitExceeded

SPKI = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
P = base64.b64encode(SPKI).decode()
ED_RAW = ED25519.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
ED_P = base64.b64encode(ED_RAW).decode()


def test_what_is_published_for_a_key() -> None:
    assert str(record_for(RSA)) == f"v=DKIM1;h=sha256;p={P}"
    assert str(record_for(ED25519)) == f"v=DKIM1;k=ed25519;p={ED_P}"
    assert str(record_for(ED25519, testing=True, notes="a;b=c d")) == f"v=DKIM1;k=ed25519;n=a=3Bb=3Dc d;t=y;p={ED_P}"


def test_a_record_says_all_that_is_not_the_default_and_is_read_back() -> None:
    record = Record(
        public_key=SPKI, hashes=("sha256", "sha1"), services=("email",), flags=("y", "s"), notes=" ä\t=\u2028;"
    )
    assert parse_record(str(record)) == record
    assert pickle.loads(pickle.dumps(record)) == record
    assert str(record).isascii()
    assert (record.testing, record.strict_identity, record.for_email, record.revoked) == (True, True, True, False)
    assert parse_record(str(Record(public_key=b""))) == Record(public_key=b"")
    assert Record(public_key=b"").key() is None


def test_strings_have_at_most_255_octets() -> None:
    strings = record_for(RSA).strings()
    assert [len(each) for each in strings] == [255, len(str(record_for(RSA))) - 255]
    assert "".join(strings) == str(record_for(RSA))
    assert record_for(RSA).zone_data() == " ".join(f'"{each}"' for each in strings)
    assert Record(public_key=b"", notes='"\\').zone_data() == r'"v=DKIM1;n=\"\\;p="'


@pytest.mark.parametrize(
    "text",
    [
        f"v=DKIM1;p={P}",
        f"p={P}",
        f" v = DKIM1 ; k = RSA ; p = {P[:40]} {P[40:]} ; ",
        f"v=DKIM1; g=*; x_other=a%b; p={P}; V=2",
        "v=DKIM1;p=" + base64.b64encode(RSA.public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)).decode(),
    ],
)
def test_forms_that_are_read(text: str) -> None:
    record = parse_record(text)
    key = record.key()
    assert key is not None
    assert key.public_numbers() == RSA.public_key().public_numbers()  # type: ignore[union-attr]


def test_lists_are_of_words() -> None:
    record = parse_record("v=DKIM1;h=SHA1 : sha256;s=email:other;t=y:s:x-new;p=")
    assert record.hashes == ("sha1", "sha256")
    assert record.services == ("email", "other")
    assert record.flags == ("y", "s", "x-new")
    assert record.revoked
    assert not parse_record("v=DKIM1;s=tlsrpt;p=").for_email


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", False),
        ("v=spf1 -all", False),
        ("google-site-verification=abc", False),
        ("v=DKIM1.1;p=", False),
        ("p=;v=DKIM1", False),
        ("v=DKIM2;p=", False),
        ("k=rsa", False),
        ("v=DKIM1", True),
        ("v=DKIM1;;p=", True),
        ("v=DKIM1;p=;p=", True),
        ("v=DKIM1;p=a b c !", True),
        ("v=DKIM1;p=AAAA", True),
        (f"v=DKIM1;p={ED_P}", True),
        (f"v=DKIM1;k=ed25519;p={P}", True),
        (f"v=DKIM1;k=dsa;p={P}", True),
        (f"v=DKIM1;h=sha_256;p={P}", True),
        (f"v=DKIM1;t=;p={P}", True),
        (f"v=DKIM1;p={P};n=\x00", True),
        (f"p={ED_P}", True),
    ],
)
def test_what_is_no_record_and_whether_it_was_meant(text: str, meant: bool) -> None:
    with pytest.raises(InvalidRecord) as caught:
        parse_record(text)
    assert caught.value.meant is meant
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, again.value, again.meant) == (caught.value.reason, text, meant)
    assert len(str(caught.value)) < 300


def test_keys_of_another_curve_in_a_record_are_none() -> None:
    der = ED25519.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(InvalidKey, match="another kind"):
        Record(public_key=der)
    with pytest.raises(InvalidKey, match="31 octets"):
        Record(public_key=ED_RAW[1:], key_type=KeyType.ED25519)


@pytest.mark.parametrize("options", [{"services": ()}, {"flags": ("y;p=",)}, {"hashes": ("SHA256",)}, {"flags": ("",)}])
def test_records_that_could_not_be_read_cannot_be(options: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(InputError, match=f"the {next(iter(options))} of a DKIM record are not words"):
        Record(public_key=b"", **options)  # type: ignore[arg-type]


def test_notes_are_read_back_with_their_blanks() -> None:
    for notes in ("", " ", " a ", "\ta\r\n", "a  b", "=3B"):
        assert parse_record(str(Record(public_key=b"", notes=notes))).notes == notes
    assert parse_record(str(Record(public_key=b"", notes="\udcff"))).notes == "?"


def test_records_have_a_limit() -> None:
    with pytest.raises(LimitExceeded):
        parse_record("v=DKIM1;n=" + "x" * 16_384 + ";p=")


def test_where_a_record_is() -> None:
    assert record_name("2026A", DOMAIN) == "2026a._domainkey.example.org"
    assert record_name("20230601", DOMAIN) == "20230601._domainkey.example.org"
    for wrong in ("", ".", "a..b", "-a", "a-", "a b", "ä", "a" * 64, "a." * 130 + "a"):
        with pytest.raises(InvalidDomain):
            record_name(wrong, DOMAIN)
