"""Whatever a peer sends for certificates, and whatever records there are: a record that matches, or our error."""

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.dane.issuing import NOW, authority, server

from moxlib.dane import DANE_EE, DANE_TA, DANEError, DANEFault, record_for, usable, verify
from moxlib.dane.certificate import certificate_of, public_key_info
from moxlib.dane.records import MAX_RECORDS, matches
from moxlib.dns import TLSA, Domain, parse_domain

ROOT = authority("the root")
MIDDLE = authority("the middle", ROOT)
LEAF = server(MIDDLE)
CHAIN = (LEAF.der, MIDDLE.der, ROOT.der)
NAMES = (parse_domain("mx.example"),)
RECORDS = tuple(
    record_for(der, usage=usage, selector=selector, matching_type=matching_type)
    for usage, ders in ((3, CHAIN[:1]), (2, CHAIN))
    for der in ders
    for selector in (0, 1)
    for matching_type in (0, 1, 2)
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A certificate with some of its bytes changed, removed or doubled."""
    der = bytearray(draw(st.sampled_from(CHAIN)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(der) - 1))
        match draw(st.sampled_from(["change", "remove", "double"])):
            case "change":
                der[at] = draw(st.integers(0, 255))
            case "remove":
                del der[at]
            case _:
                der[at:at] = der[at : at + draw(st.integers(1, 40))]
    return bytes(der)


certificates = st.one_of(st.sampled_from(CHAIN), damaged(), st.binary(max_size=60))
fields = st.one_of(st.integers(0, 4), st.integers(0, 255))
records = st.one_of(
    st.sampled_from(RECORDS),
    st.builds(TLSA, usage=fields, selector=fields, matching_type=fields, data=st.one_of(certificates, st.binary())),
)
domains: st.SearchStrategy[list[Domain]] = st.lists(st.sampled_from((*NAMES, parse_domain("b.example"))), max_size=3)


def outcome(records: list[TLSA], chain: list[bytes], names: Sequence[Domain]) -> TLSA | DANEError:
    try:
        return verify(records, chain, names, NOW)
    except DANEError as error:
        return error


@given(records=st.lists(records, max_size=5), chain=st.lists(certificates, max_size=5), names=domains)
@example(records=list(RECORDS), chain=list(CHAIN), names=list(NAMES))
def test_a_record_or_our_error(records: list[TLSA], chain: list[bytes], names: list[Domain]) -> None:
    match outcome(records, chain, names):
        case DANEError() as error:
            assert error.reason.isprintable()
            assert error.fault is not DANEFault.NO_CERTIFICATE or not chain or certificate_of(chain[0]) is None
        case record:
            assert record in usable(records)
            assert matches(record, chain[0]) if record.usage == DANE_EE else NAMES[0] in names


@given(record=st.sampled_from(RECORDS), chain=st.permutations([MIDDLE.der, ROOT.der]), more=st.lists(certificates))
def test_what_else_the_peer_sends_does_not_matter(record: TLSA, chain: list[bytes], more: list[bytes]) -> None:
    assert verify([record], [LEAF.der, *chain, *more], NAMES, NOW) == record


@given(leaf=damaged(), record=st.sampled_from([record for record in RECORDS if record.usage == DANE_TA]))
def test_a_damaged_certificate_is_never_below_an_authority(leaf: bytes, record: TLSA) -> None:
    """What is signed, that is; around the signature, some bits mean nothing."""
    if outcome([record], [leaf, *CHAIN[1:]], NAMES) == record:
        certificate = certificate_of(leaf)
        assert certificate is not None
        assert certificate.tbs_certificate_bytes == LEAF.certificate.tbs_certificate_bytes
    else:
        assert leaf != LEAF.der


@given(st.lists(records, max_size=60))
def test_usable_is_a_bounded_selection(some: list[TLSA]) -> None:
    chosen = usable(some)
    assert len(chosen) <= MAX_RECORDS
    assert set(chosen) <= set(some)
    assert usable(chosen) == chosen


@given(damaged() | st.binary())
def test_a_key_is_a_part_of_the_certificate(der: bytes) -> None:
    key = public_key_info(der)
    assert key is None or key in der
