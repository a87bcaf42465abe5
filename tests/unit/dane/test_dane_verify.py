"""Certificates verified by TLSA records: the server's own, and below an authority."""

from collections.abc import Sequence
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from tests.unit.dane.issuing import NOW, Issued, authority, name_of, new_key, server

from moxlib.dane import DANE_EE, DANE_TA, DANEError, DANEFault, record_for, verify
from moxlib.dane.path import MAX_SIGNATURES, Paths
from moxlib.dane.verify import MAX_CHAIN
from moxlib.dns import TLSA, Domain, parse_domain_lax

ROOT = authority("the root")
MIDDLE = authority("the middle", ROOT)
LEAF = server(MIDDLE)
STRANGER = authority("a stranger")
CHAIN = (LEAF, MIDDLE, ROOT)
NAMES = ("mx.example",)
UNKNOWN_CRITICAL = (x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\0"), True)


def domains(*names: str) -> tuple[Domain, ...]:
    return tuple(map(parse_domain_lax, names))


def verified(
    records: TLSA | Sequence[TLSA], chain: Sequence[Issued], *, names: Sequence[str] = NAMES, days: int = 0
) -> TLSA:
    records = [records] if isinstance(records, TLSA) else records
    return verify(records, [one.der for one in chain], domains(*names), NOW + timedelta(days=days))


def fault(
    records: TLSA | Sequence[TLSA], chain: Sequence[Issued], *, names: Sequence[str] = NAMES, days: int = 0
) -> DANEFault:
    with pytest.raises(DANEError) as caught:
        verified(records, chain, names=names, days=days)
    return caught.value.fault


def below(issued: Issued, selector: int = 0, matching_type: int = 1) -> TLSA:
    return record_for(issued.der, usage=DANE_TA, selector=selector, matching_type=matching_type)


KINDS = pytest.mark.parametrize(
    ("selector", "matching_type"), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)], ids=str
)


# The server's own certificate


@KINDS
def test_the_servers_own_certificate(selector: int, matching_type: int) -> None:
    record = record_for(LEAF.der, usage=DANE_EE, selector=selector, matching_type=matching_type)
    assert verified(record, CHAIN) == record
    assert verified(record, [LEAF]) == record
    assert fault(record, [server(MIDDLE), MIDDLE, ROOT]) is DANEFault.NO_MATCH


def test_its_names_dates_and_extensions_do_not_matter() -> None:
    """RFC 7671 5.1."""
    odd = server(STRANGER, "other.example", begins=-9, ends=-2, extensions=[UNKNOWN_CRITICAL])
    record = record_for(odd.der)
    assert verified(record, [odd]) == record
    assert verified(record, [odd], names=()) == record


def test_only_its_own_certificate_matches_by_usage_3() -> None:
    assert fault(record_for(MIDDLE.der), CHAIN) is DANEFault.NO_MATCH


@pytest.mark.parametrize("usage", [0, 1, 4, 255])
def test_other_usages_verify_nothing(usage: int) -> None:
    for one in CHAIN:
        record = TLSA(usage=usage, selector=0, matching_type=0, data=one.der)
        assert fault(record, CHAIN) is DANEFault.NO_MATCH


@pytest.mark.parametrize("chain", [[b"\0" * 100], [b""], [LEAF.der[:-1]]], ids=["garbage", "nothing", "cut"])
def test_a_certificate_that_cannot_be_read(chain: list[bytes]) -> None:
    for record, expected in [(record_for(LEAF.der), DANEFault.NO_MATCH), (below(ROOT), DANEFault.NO_CERTIFICATE)]:
        with pytest.raises(DANEError) as caught:
            verify([record], chain, domains(*NAMES), NOW)
        assert caught.value.fault is expected


def test_no_certificate() -> None:
    assert fault(record_for(LEAF.der), []) is DANEFault.NO_CERTIFICATE


def test_no_record() -> None:
    assert fault([], CHAIN) is DANEFault.NO_MATCH


# Below an authority


@KINDS
@pytest.mark.parametrize("anchor", [ROOT, MIDDLE], ids=["root", "intermediate"])
def test_below_an_authority_that_the_server_sends(anchor: Issued, selector: int, matching_type: int) -> None:
    record = below(anchor, selector, matching_type)
    chain = CHAIN if anchor is ROOT else (LEAF, MIDDLE)
    assert verified(record, chain) == record
    assert fault(record, chain, names=("other.example",)) is DANEFault.NAME


@pytest.mark.parametrize("chain", [(LEAF, ROOT, MIDDLE), (LEAF, STRANGER, ROOT, server(STRANGER), MIDDLE, MIDDLE)])
def test_certificates_in_disorder_and_others_among_them(chain: tuple[Issued, ...]) -> None:
    assert verified(below(ROOT), chain) == below(ROOT)


@pytest.mark.parametrize("selector", [0, 1], ids=["certificate", "key"])
@pytest.mark.parametrize(("anchor", "chain"), [(ROOT, (LEAF, MIDDLE)), (MIDDLE, (LEAF,))])
def test_below_an_authority_that_the_record_holds(anchor: Issued, chain: tuple[Issued, ...], selector: int) -> None:
    """RFC 7671 5.2.2, 5.2.3: the server need not send it."""
    record = below(anchor, selector, matching_type=0)
    assert verified(record, chain) == record
    assert fault(record, chain, names=("other.example",)) is DANEFault.NAME
    assert fault(record, chain, days=100) is DANEFault.EXPIRED
    assert fault(below(STRANGER, selector, matching_type=0), chain) is (
        DANEFault.NO_PATH if selector == 0 else DANEFault.NO_MATCH
    )


@pytest.mark.parametrize("kind", ["RSA", "Ed25519"])
def test_a_key_of_another_kind_in_the_record(kind: str) -> None:
    key = rsa.generate_private_key(65537, 2048) if kind == "RSA" else ed25519.Ed25519PrivateKey.generate()
    anchor = authority("the anchor", key=key)
    record = below(anchor, 1, 0)
    assert verified(record, [server(anchor)]) == record
    assert fault(record, [server(STRANGER)]) is DANEFault.NO_MATCH


def test_a_weak_key_in_the_record() -> None:
    anchor = authority("the anchor", key=rsa.generate_private_key(65537, 1024))
    assert fault(below(anchor, 1, 0), [server(anchor)]) is DANEFault.NO_MATCH
    assert fault(below(anchor), [server(anchor), anchor]) is DANEFault.INVALID


def test_a_digest_of_an_authority_that_the_server_does_not_send() -> None:
    assert fault(below(ROOT), (LEAF, MIDDLE)) is DANEFault.NO_MATCH


def test_an_authority_that_the_certificate_is_not_below() -> None:
    assert fault(below(ROOT), (LEAF, ROOT)) is DANEFault.NO_PATH
    assert fault(below(STRANGER), (*CHAIN, STRANGER)) is DANEFault.NO_PATH


def test_another_authority_of_the_same_name() -> None:
    twin = authority("the root")
    assert fault(below(twin), (LEAF, MIDDLE, twin)) is DANEFault.NO_PATH
    assert verified(below(ROOT), (LEAF, MIDDLE, twin, ROOT)) == below(ROOT)


def test_a_certificate_that_names_another_issuer_than_the_one_that_signed_it() -> None:
    leaf = server(MIDDLE, issuer="somebody else")
    assert fault(below(MIDDLE), (leaf, MIDDLE)) is DANEFault.NO_PATH


@pytest.mark.parametrize("by", [None, MIDDLE], ids=["self-signed", "issued"])
def test_the_servers_own_certificate_as_the_authority(by: Issued | None) -> None:
    """As in mox, its names and dates count then."""
    leaf = server(by)
    record = below(leaf)
    assert verified(record, [leaf]) == record
    assert fault(record, [leaf], names=("other.example",)) is DANEFault.NAME
    assert fault(record, [leaf], days=100) is DANEFault.EXPIRED
    assert fault(record, [server(by, extensions=[UNKNOWN_CRITICAL], key=leaf.key)]) is DANEFault.NO_MATCH


def test_an_unsigned_way_over_a_certificate_that_looks_alike() -> None:
    """One with the authority's name and key, but not its signature, which anybody can make."""
    mock = Issued("the middle", STRANGER, key=MIDDLE.key, authority=True, issuer="the root")
    assert fault(below(ROOT), (LEAF, mock, ROOT)) is DANEFault.NO_PATH


# Its dates


@pytest.mark.parametrize(
    ("root", "middle", "leaf", "says"),
    [
        ((-9, -1), (-9, 9), (-9, 9), "an authority has expired"),
        ((-9, 9), (-9, -1), (-9, 9), "an authority has expired"),
        ((-9, 9), (-9, 9), (-9, -1), "the server's certificate has expired"),
        ((-9, 9), (1, 9), (-9, 9), "an authority is not valid yet"),
        ((-9, 9), (-9, 9), (1, 9), "the server's certificate is not valid yet"),
    ],
)
def test_a_certificate_that_is_not_valid_now(
    root: tuple[int, int], middle: tuple[int, int], leaf: tuple[int, int], says: str
) -> None:
    first = authority("1", begins=root[0], ends=root[1])
    second = authority("2", first, begins=middle[0], ends=middle[1])
    chain = (server(second, begins=leaf[0], ends=leaf[1]), second, first)
    with pytest.raises(DANEError, match=says) as caught:
        verified(below(first), chain)
    assert caught.value.fault is DANEFault.EXPIRED


@pytest.mark.parametrize(("days", "valid"), [(-2, False), (-1, True), (90, True), (91, False)])
def test_the_first_and_the_last_moment(days: int, valid: bool) -> None:
    if valid:
        assert verified(below(ROOT), CHAIN, days=days) == below(ROOT)
    else:
        assert fault(below(ROOT), CHAIN, days=days) is DANEFault.EXPIRED


def test_an_authority_renewed_with_the_same_key() -> None:
    key = new_key()
    old = authority("the middle", ROOT, key=key, begins=-90, ends=-1)
    new = authority("the middle", ROOT, key=key)
    leaf = server(old)
    for chain in [(leaf, old, new, ROOT), (leaf, new, old, ROOT)]:
        assert verified(below(ROOT), chain) == below(ROOT)
    for record in [below(new, 1, 1), below(old, 1, 1)]:  # the same
        assert verified(record, (leaf, old, new)) == record
    assert fault(below(old), (leaf, old, new)) is DANEFault.EXPIRED


# What an authority may do


def key_usage(*, sign: bool) -> tuple[x509.KeyUsage, bool]:
    return x509.KeyUsage(True, False, False, False, False, sign, False, False, False), True


def extended(*purposes: ObjectIdentifier) -> tuple[x509.ExtendedKeyUsage, bool]:
    return x509.ExtendedKeyUsage(purposes), False


SERVER, CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH
ANY = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE


@pytest.mark.parametrize(
    ("middle", "valid"),
    [
        ({"authority": None}, False),
        ({"authority": False}, False),
        ({"extensions": [key_usage(sign=True)]}, True),
        ({"extensions": [key_usage(sign=False)]}, False),
        ({"extensions": [UNKNOWN_CRITICAL]}, False),
        ({"extensions": [extended(SERVER, CLIENT)]}, True),
        ({"extensions": [extended(ANY)]}, True),
        ({"extensions": [extended(CLIENT)]}, False),
        ({"path_length": 0}, True),
    ],
    ids=str,
)
@pytest.mark.parametrize("anchor", ["it", "above it"])
def test_what_an_authority_may_do(middle: dict[str, object], valid: bool, anchor: str) -> None:
    one = authority("an authority", ROOT, **middle)
    record = below(one if anchor == "it" else ROOT)
    chain = (server(one), one, ROOT)
    if valid:
        assert verified(record, chain) == record
    else:
        assert fault(record, chain) is DANEFault.INVALID


def test_a_path_that_is_longer_than_an_authority_allows() -> None:
    narrow = authority("narrow", path_length=0)
    middle = authority("middle", narrow)
    assert fault(below(narrow), (server(middle), middle, narrow)) is DANEFault.INVALID
    assert verified(below(narrow), (server(narrow), narrow)) == below(narrow)


@pytest.mark.parametrize(
    ("extension", "valid"),
    [
        (extended(SERVER), True),
        (extended(ANY), True),
        (extended(CLIENT, ExtendedKeyUsageOID.EMAIL_PROTECTION), False),
        (key_usage(sign=False), True),
        (UNKNOWN_CRITICAL, False),
        ((UNKNOWN_CRITICAL[0], False), True),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_the_servers_certificate_is_for(extension: tuple[x509.ExtensionType, bool], valid: bool) -> None:
    leaf = server(ROOT, extensions=[extension])
    if valid:
        assert verified(below(ROOT), (leaf, ROOT)) == below(ROOT)
    else:
        assert fault(below(ROOT), (leaf, ROOT)) is DANEFault.INVALID


@pytest.mark.parametrize(
    ("permitted", "excluded", "valid"),
    [
        (["example"], None, True),
        (["mx.example"], None, True),
        (["other.test"], None, False),
        (None, ["other.test"], True),
        (None, ["mx.example"], False),
        (None, ["example"], False),
    ],
)
def test_name_constraints(permitted: list[str] | None, excluded: list[str] | None, valid: bool) -> None:
    trees = [None if names is None else list(map(x509.DNSName, names)) for names in (permitted, excluded)]
    one = authority("constrained", ROOT, extensions=[(x509.NameConstraints(*trees), True)])
    for record in (below(one), below(ROOT)):
        if valid:
            assert verified(record, (server(one), one, ROOT)) == record
        else:
            assert fault(record, (server(one), one, ROOT)) is DANEFault.INVALID


@pytest.mark.parametrize("excluded", [False, True], ids=["permitted", "excluded"])
def test_constraints_of_a_kind_that_is_not_known_here(excluded: bool) -> None:
    trees = [x509.DNSName("example" if not excluded else "other.test"), x509.DirectoryName(name_of("somebody"))]
    constraints = x509.NameConstraints(None, trees) if excluded else x509.NameConstraints(trees, None)
    one = authority("constrained", ROOT, extensions=[(constraints, True)])
    for record in (below(one), below(ROOT)):
        assert fault(record, (server(one), one, ROOT)) is DANEFault.INVALID


def test_constraints_of_what_is_not_looked_at() -> None:
    constraints = x509.NameConstraints([x509.RFC822Name("example"), x509.DNSName("example")], None)
    one = authority("constrained", ROOT, extensions=[(constraints, True)])
    assert verified(below(ROOT), (server(one), one, ROOT)) == below(ROOT)


def test_an_authority_with_a_key_of_a_kind_that_is_not_taken() -> None:
    """A limit of `cryptography`; documented."""
    anchor = authority("the anchor", key=ed25519.Ed25519PrivateKey.generate())
    assert fault(below(anchor), (server(anchor), anchor)) is DANEFault.INVALID


def test_what_a_certificate_says_is_escaped_and_cut() -> None:
    leaf = Issued("evil\n\x1b[2J" + 20 * ("|" + "x" * 60), ROOT, names=NAMES, extensions=[UNKNOWN_CRITICAL])
    with pytest.raises(DANEError) as caught:
        verified(below(ROOT), (leaf, ROOT))
    assert caught.value.reason.isprintable()
    assert len(caught.value.reason) < 300


# Its names


@pytest.mark.parametrize(
    ("presented", "names", "matched"),
    [
        (["mx.example"], ["mx.example"], True),
        (["MX.Example"], ["mx.example"], True),
        (["other.example", "mx.example"], ["mx.example"], True),
        (["next.example"], ["mx.example", "next.example"], True),
        (["*.example"], ["mx.example"], True),
        (["*.mx.example"], ["mx.example"], False),
        (["*.example"], ["a.mx.example"], False),
        (["*.*.example"], ["a.mx.example"], False),
        (["mx*.example"], ["mx1.example"], False),
        (["*x.example"], ["mx.example"], False),
        (["mx.*"], ["mx.example"], False),
        (["*"], ["mx.example"], False),
        (["*"], ["localhost"], False),
        (["example"], ["mx.example"], False),
        (["mx.example."], ["mx.example"], False),
        (["xn--mnchen-3ya.example"], ["xn--mnchen-3ya.example"], True),
        (["a_b.example"], ["a_b.example"], True),
        (["mx.example"], [], False),
    ],
)
def test_names(presented: list[str], names: list[str], matched: bool) -> None:
    chain = (server(ROOT, *presented), ROOT)
    if matched:
        assert verified(below(ROOT), chain, names=names) == below(ROOT)
    else:
        assert fault(below(ROOT), chain, names=names) is DANEFault.NAME


def test_the_common_name_does_not_count() -> None:
    mail = x509.SubjectAlternativeName(
        [x509.RFC822Name("mx@mx.example"), x509.UniformResourceIdentifier("x:mx.example")]
    )
    for leaf in [
        Issued("mx.example", ROOT),
        Issued("mx.example", ROOT, extensions=[(mail, False)]),
        Issued("mx.example", ROOT, names=["other.example"]),
    ]:
        assert fault(below(ROOT), (leaf, ROOT)) is DANEFault.NAME


# Several records


def test_the_record_that_verifies_is_told() -> None:
    others = [record_for(STRANGER.der), below(STRANGER), below(STRANGER, 0, 0)]
    assert verified([*others, below(ROOT)], CHAIN) == below(ROOT)
    assert verified([below(ROOT), *others, record_for(LEAF.der)], CHAIN) == record_for(LEAF.der)


def test_a_record_that_fails_does_not_stop_the_next() -> None:
    old = authority("the middle", ROOT, key=MIDDLE.key, begins=-9, ends=-1)
    assert verified([below(old), below(MIDDLE)], (LEAF, old, MIDDLE)) == below(MIDDLE)


def test_of_several_failures_that_of_a_match_is_told() -> None:
    records = [record_for(STRANGER.der), below(STRANGER), below(ROOT), below(ROOT, 0, 2)]
    assert fault(records, CHAIN, days=100) is DANEFault.EXPIRED


# The work it may make


def test_certificates_that_all_sign_each_other() -> None:
    """Through ten of one name and one key lead a million ways; each is looked at once."""
    key = new_key()
    crowd = [authority("the crowd", key=key, path_length=0) for _ in range(MAX_CHAIN - 2)]
    anchor = authority("the crowd", key=key, extensions=[UNKNOWN_CRITICAL])
    chain = (server(anchor), *crowd, anchor)
    paths = Paths([one.certificate for one in chain])
    way = paths.to([anchor.certificate], at=NOW)
    assert way == (chain[0].certificate, anchor.certificate)
    assert fault(below(anchor), chain) is DANEFault.INVALID


def test_no_certificate_has_two_issuers_on_a_way() -> None:
    """Or else the library would have a choice, and try all of them."""
    keys = [new_key() for _ in range(4)]
    layers = [[authority("0", key=keys[0]), authority("0", key=keys[0])]]
    for depth in range(1, 4):
        layers.append([authority(str(depth), layers[-1][0], key=keys[depth]) for _ in range(2)])
    leaf = server(layers[-1][0])
    chain = [leaf, *layers[3], *layers[2], *layers[1], *layers[0]]
    way = Paths([one.certificate for one in chain]).to([layers[0][1].certificate], at=NOW)
    assert way is not None
    for one in way:
        assert sum(one.issuer == other.subject for other in way if other != one) <= 1
    assert verified(below(layers[0][1]), chain) == below(layers[0][1])


def test_signatures_are_not_checked_without_end() -> None:
    leaf = server(STRANGER)
    records = [below(authority("any"), 1, 0) for _ in range(MAX_SIGNATURES // MAX_CHAIN + 1)]
    chain = [leaf, *[authority(str(number)) for number in range(MAX_CHAIN - 1)]]
    with pytest.raises(DANEError, match="too many signatures"):
        verified(records, chain)


def test_a_long_chain_is_cut() -> None:
    chain = [LEAF, *[authority(str(number)) for number in range(MAX_CHAIN)], MIDDLE]
    assert fault(below(MIDDLE), chain) is DANEFault.NO_MATCH
