"""TLSA records: which are of use, and which certificates they verify."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from moxlib.dane import DANEError, record_for, usable, verify
from moxlib.dns import TLSA, parse_domain
from moxlib.errors import InputError

NOW = datetime(2026, 11, 1, tzinfo=UTC)
HOST = parse_domain("mx.example.org")
DOMAIN = parse_domain("example.org")
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Issued:
    """A certificate, with the key to sign others."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def public_key(self) -> bytes:
        return self.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def issue(
    name: str,
    by: Issued | None = None,
    *,
    names: tuple[str, ...] = (),
    authority: bool | None = None,
    begins: datetime = NOW - DAY,
    ends: datetime = NOW + DAY,
    extensions: tuple[tuple[x509.ExtensionType, bool], ...] = (),
    signed_by: Issued | None = None,
) -> Issued:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    if names:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), critical=False
        )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    signer = signed_by or by
    return Issued(builder.sign(signer.key if signer is not None else key, hashes.SHA256()), key)


def key_usage(*, may_sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=may_sign,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


ROOT = issue("Root", authority=True)
BETWEEN = issue("Between", ROOT, authority=True)
LEAF = issue("leaf", BETWEEN, names=("mx.example.org",))
OTHER = issue("Other", authority=True)
CHAIN = [LEAF.der, BETWEEN.der, ROOT.der]
FORMS = [(selector, matching) for selector in (0, 1) for matching in (0, 1, 2)]


def check(records: list[TLSA], chain: list[bytes], *names: str) -> TLSA:
    return verify(usable(records), chain, [parse_domain(name) for name in names or ("mx.example.org",)], NOW)


@pytest.mark.parametrize(("selector", "matching"), FORMS)
def test_a_record_of_the_leaf_verifies_it(selector: int, matching: int) -> None:
    record = record_for(LEAF.der, selector=selector, matching_type=matching)
    assert check([record], CHAIN) == record
    assert check([record], [LEAF.der]) == record
    with pytest.raises(DANEError, match="no TLSA record matches") as refused:
        check([record], [OTHER.der, LEAF.der])
    assert not refused.value.matched


def test_of_the_leaf_neither_names_nor_dates_count() -> None:
    leaf = issue("old", names=("nobody.example",), begins=NOW - 9 * DAY, ends=NOW - 8 * DAY)
    record = record_for(leaf.der)
    assert check([record], [leaf.der]) == record


@pytest.mark.parametrize(("selector", "matching"), FORMS)
@pytest.mark.parametrize("anchor", [ROOT, BETWEEN], ids=["root", "between"])
def test_a_record_of_an_authority_verifies_what_is_below(anchor: Issued, selector: int, matching: int) -> None:
    record = record_for(anchor.der, usage=2, selector=selector, matching_type=matching)
    assert check([record], CHAIN) == record
    assert check([record], [LEAF.der, OTHER.der, ROOT.der, BETWEEN.der]) == record  # in whatever order, and company
    with pytest.raises(DANEError, match="a trust anchor matches, but") as refused:
        check([record], CHAIN, "other.example")
    assert refused.value.matched


def test_one_of_the_names_is_enough_and_a_wildcard_is_one_label() -> None:
    leaf = issue("leaf", ROOT, names=("*.example.org",))
    record = record_for(ROOT.der, usage=2)
    assert check([record], [leaf.der, ROOT.der], "example.net", "mx.example.org") == record
    for name in ("example.org", "a.mx.example.org"):
        with pytest.raises(DANEError):
            check([record], [leaf.der, ROOT.der], name)


@pytest.mark.parametrize(("selector", "sent"), [(0, [LEAF, BETWEEN]), (1, [LEAF, BETWEEN])])
def test_an_authority_that_is_not_sent_may_be_in_the_record_in_full(selector: int, sent: list[Issued]) -> None:
    record = record_for(ROOT.der, usage=2, selector=selector, matching_type=0)
    assert check([record], [each.der for each in sent]) == record
    digest = record_for(ROOT.der, usage=2, selector=selector, matching_type=1)
    with pytest.raises(DANEError, match="no TLSA record matches"):
        check([digest], [each.der for each in sent])


BAD = {
    "expired": (issue("leaf", ROOT, names=("mx.example.org",), ends=NOW - timedelta(hours=1)), ROOT),
    "not yet valid": (issue("leaf", ROOT, names=("mx.example.org",), begins=NOW + timedelta(hours=1)), ROOT),
    "signed by another": (issue("leaf", ROOT, names=("mx.example.org",), signed_by=OTHER), ROOT),
    "issued by another": (issue("leaf", OTHER, names=("mx.example.org",)), ROOT),
    "no names": (issue("mx.example.org", ROOT), ROOT),
    "for clients": (
        issue(
            "leaf",
            ROOT,
            names=("mx.example.org",),
            extensions=((x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), False),),
        ),
        ROOT,
    ),
    "an unknown critical extension": (
        issue(
            "leaf",
            ROOT,
            names=("mx.example.org",),
            extensions=((x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),),
        ),
        ROOT,
    ),
}
for _name, _root in {
    "no authority": issue("R", authority=False),
    "nothing says that it is an authority": issue("R"),
    "an authority that may not sign": issue("R", authority=True, extensions=((key_usage(may_sign=False), True),)),
    "an authority for other names": issue(
        "R",
        authority=True,
        extensions=((x509.NameConstraints([x509.DNSName("other.example")], None), True),),
    ),
    "an authority that is expired": issue("R", authority=True, ends=NOW - timedelta(hours=1)),
}.items():
    BAD[_name] = (issue("leaf", _root, names=("mx.example.org",)), _root)


@pytest.mark.parametrize("name", BAD)
def test_a_path_that_is_none_is_refused(name: str) -> None:
    leaf, root = BAD[name]
    with pytest.raises(DANEError) as refused:
        check([record_for(root.der, usage=2)], [leaf.der, root.der])
    assert refused.value.matched
    assert "a trust anchor matches, but" in str(refused.value)


def test_an_authority_that_may_sign_is_one() -> None:
    root = issue("R", authority=True, extensions=((key_usage(may_sign=True), True),))
    leaf = issue("leaf", root, names=("mx.example.org",))
    record = record_for(root.der, usage=2)
    assert check([record], [leaf.der, root.der]) == record


def test_a_record_that_fails_leaves_the_others_their_chance() -> None:
    wrong, right = record_for(OTHER.der), record_for(LEAF.der)
    assert check([wrong, record_for(OTHER.der, usage=2), right], CHAIN) == right


@pytest.mark.parametrize("chain", [[], [b"no certificate"], [b""]])
def test_without_a_certificate_nothing_is_verified(chain: list[bytes]) -> None:
    with pytest.raises(DANEError):
        check([record_for(LEAF.der)], chain)


def test_what_cannot_be_read_behind_the_leaf_is_passed_over() -> None:
    record = record_for(BETWEEN.der, usage=2)
    assert check([record], [LEAF.der, b"rubbish", BETWEEN.der]) == record


def test_long_chains_are_looked_at_for_their_beginning() -> None:
    record = record_for(ROOT.der, usage=2)
    with pytest.raises(DANEError):
        check([record], [LEAF.der, *[OTHER.der] * 500, BETWEEN.der, ROOT.der])


def test_the_usable_ones_are_those_for_smtp() -> None:
    good = record_for(LEAF.der)
    bad = [
        replace(good, usage=0),
        replace(good, usage=1),
        replace(good, usage=4),
        replace(good, selector=2),
        replace(good, matching_type=3),
        replace(good, data=good.data[:-1]),
        replace(good, matching_type=2),
        replace(good, selector=0, matching_type=0, data=b"no certificate"),
        replace(good, selector=1, matching_type=0, data=b"no key"),
    ]
    assert usable([*bad, good, good]) == (good,)
    assert usable([]) == ()
    many = [replace(good, data=number.to_bytes(32, "big")) for number in range(1000)]
    assert usable(many) == tuple(many[:32])


def test_a_record_to_publish() -> None:
    pem = LEAF.certificate.public_bytes(Encoding.PEM)
    assert record_for(pem) == record_for(LEAF.der)
    assert str(record_for(LEAF.der)).startswith("3 1 1 ")
    assert record_for(LEAF.der, selector=1, matching_type=0).data == LEAF.public_key
    for wrong in ({"usage": 1}, {"selector": 2}, {"matching_type": 3}):
        with pytest.raises(InputError):
            record_for(LEAF.der, **wrong)
    with pytest.raises(InputError):
        record_for(b"no certificate")


def test_its_error_can_be_pickled() -> None:
    error = DANEError("a reason", matched=True)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.matched) == (str(error), True)
