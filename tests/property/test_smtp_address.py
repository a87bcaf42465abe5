"""Whatever is given, an address is parsed or refused; what is parsed packs to something that parses to the same."""

import string

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dns import parse_domain
from moxlib.smtp import (
    Address,
    InvalidAddress,
    Localpart,
    parse_address,
    parse_dsn_address,
    parse_localpart,
    parse_path,
    parse_unquoted_address,
)

characters = st.sampled_from(string.ascii_letters + string.printable + "üé\u0301日☺\u200d\u00a0\u202e\x85\ud800")
texts = st.text(alphabet=characters, max_size=80)
hosts = st.sampled_from(["example.com", "zürich.example", "a.123", "1.2.3.4", "", "[192.0.2.1]", "x..y", "EXAMPLE"])
addresses = st.one_of(
    st.text(max_size=100),
    st.builds("{}@{}".format, texts, hosts),
    st.builds('"{}"@{}'.format, texts, hosts),
)


@given(addresses)
def test_parsed_or_refused(text: str) -> None:
    try:
        address = parse_address(text)
    except InvalidAddress:
        return
    for smtputf8 in (True, False):
        packed = address.pack(smtputf8)
        assert parse_address(packed) == address
        assert str(parse_path(f"<{packed}>")) == str(address)
        assert not set(packed) & set("\r\n\0")
        assert len(packed.split("@")[0].encode()) <= 2 * 64 + 2
    assert len(str(address).encode()) <= 256
    assert parse_dsn_address(address.dsn(utf8=False)) == address
    assert parse_unquoted_address(f"{address.localpart.value}@{address.domain.name}") == address


@given(texts)
def test_any_valid_localpart_packs_and_parses(value: str) -> None:
    try:
        localpart = Localpart(value=value)
    except InvalidAddress:
        return
    if len(value.encode()) <= 64:
        assert parse_localpart(str(localpart)) == localpart
    assert localpart.log_string().isascii()


@given(addresses)
def test_paths_are_parsed_or_refused(text: str) -> None:
    try:
        path = parse_path(text)
    except InvalidAddress:
        return
    assert parse_path(f"<{path}>") == path


@given(st.text(alphabet=string.ascii_letters + string.digits + '.+-=@ "', max_size=70))
def test_the_fast_path_agrees_with_the_long_one(value: str) -> None:
    domain = parse_domain("example.com")
    text = f"{value}@example.com"
    try:
        fast = parse_address(text)
    except InvalidAddress:
        return
    assert fast == Address(localpart=parse_localpart(text.rpartition("@")[0]), domain=domain)
