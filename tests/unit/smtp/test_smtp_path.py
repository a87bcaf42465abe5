from ipaddress import IPv4Address, IPv6Address

import pytest

from moxlib.dns import IPDomain, parse_domain
from moxlib.smtp import InvalidAddress, Localpart, Path, parse_address, parse_path


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("jane@example.com", "jane@example.com"),
        ("<jane@example.com>", "jane@example.com"),
        ("<>", ""),
        ("jane@[192.0.2.1]", "jane@[192.0.2.1]"),
        ('<"a b"@[IPv6:2001:DB8::1]>', '"a b"@[IPv6:2001:db8::1]'),
        ("jane@zürich.example", "jane@xn--zrich-kva.example"),
    ],
)
def test_parses_and_packs(text: str, packed: str) -> None:
    path = parse_path(text)
    assert str(path) == packed
    assert path.is_null == (packed == "")
    assert parse_path(f"<{path.pack(smtputf8=True)}>") == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "<jane@example.com",
        "jane",
        "<@relay.example:jane@example.com>",
        "jane@192.0.2.1",
        "jane@[1.2.3]",
        "<<>>",
        "a\nb@c",
    ],
)
def test_refuses(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_path(text)


def test_of_an_address_and_back() -> None:
    address = parse_address("jürgen@zürich.example")
    path = Path.of(address)
    assert path.address == address
    assert path.needs_smtputf8
    assert path.ascii_extra(utf8=True) == "jürgen@xn--zrich-kva.example"
    assert path.ascii_extra(utf8=False) == ""
    assert path.dsn(utf8=True) == "jürgen@zürich.example"
    assert path.dsn(utf8=False) == address.dsn(utf8=False)
    assert path.log_string() == address.log_string()


def test_at_an_ip_address() -> None:
    path = Path(localpart=Localpart(value="a+b"), host=IPDomain(host=IPv4Address("192.0.2.1")))
    assert path.address is None
    assert path.pack(smtputf8=True) == "a+b@[192.0.2.1]"
    assert path.text(utf8=True) == "a+b@192.0.2.1"
    assert path.dsn(utf8=False) == "a\\x{2b}b@192.0.2.1"
    assert path.ascii_extra(utf8=True) == ""
    six = Path(localpart=Localpart(value="a"), host=IPDomain(host=IPv6Address("2001:db8::1")))
    assert six.log_string() == "a@2001:db8::1"


def test_without_a_host() -> None:
    null, postmaster = Path(), Path(localpart=Localpart(value="Postmaster"))
    assert (null.is_null, str(null), null.text(utf8=True), null.log_string()) == (True, "", "", "")
    assert (postmaster.is_null, str(postmaster), postmaster.address) == (False, "Postmaster", None)


def test_constructor_checks_the_whole() -> None:
    with pytest.raises(InvalidAddress, match="longer than 256"):
        Path(localpart=Localpart(value="a" * 64), host=IPDomain(host=parse_domain(".".join(["b" * 60] * 4))))
