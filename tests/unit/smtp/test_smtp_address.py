import pickle

import pytest

from moxlib.dns import InvalidDomain, parse_domain
from moxlib.errors import InputError
from moxlib.smtp import (
    Address,
    InvalidAddress,
    Localpart,
    parse_address,
    parse_dsn_address,
    parse_localpart,
    parse_unquoted_address,
)


@pytest.mark.parametrize(
    ("text", "localpart", "domain", "packed"),
    [
        ("jane@example.com", "jane", "example.com", "jane@example.com"),
        ("Jane.Doe+x@EXAMPLE.com", "Jane.Doe+x", "example.com", "Jane.Doe+x@example.com"),
        ("!#$%&'*+-/=?^_`{|}~@example.com", "!#$%&'*+-/=?^_`{|}~", "example.com", "!#$%&'*+-/=?^_`{|}~@example.com"),
        ('"jane"@example.com', "jane", "example.com", "jane@example.com"),
        ('"j d"@example.com', "j d", "example.com", '"j d"@example.com'),
        ('"a@b"@example.com', "a@b", "example.com", '"a@b"@example.com'),
        ('"\\"\\\\\\x"@example.com', '"\\x', "example.com", '"\\"\\\\x"@example.com'),
        ('""@example.com', "", "example.com", '""@example.com'),
        ("jürgen@example.com", "jürgen", "example.com", "jürgen@example.com"),
        ("ju\u0308rgen@example.com", "jürgen", "example.com", "jürgen@example.com"),
        ('"jürgen k"@zürich.example', "jürgen k", "xn--zrich-kva.example", '"jürgen k"@xn--zrich-kva.example'),
        ("👩\u200d🔧@example.com", "👩\u200d🔧", "example.com", "👩\u200d🔧@example.com"),
        ("jane@host.123", "jane", "host.123", "jane@host.123"),
        ("a" * 64 + "@example.com", "a" * 64, "example.com", "a" * 64 + "@example.com"),
    ],
)
def test_parses_and_packs(text: str, localpart: str, domain: str, packed: str) -> None:
    address = parse_address(text)
    assert (address.localpart.value, address.domain.ascii, str(address)) == (localpart, domain, packed)
    assert address == Address(localpart=Localpart(value=localpart), domain=parse_domain(domain, numeric_tld=True))
    assert parse_address(address.pack(smtputf8=True)) == address


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("jane", "no @"),
        ("@example.com", "empty localpart"),
        ("jane@", "domain: empty"),
        ("a" * 65 + "@example.com", "localpart longer than 64 octets"),
        ("ü" * 33 + "@example.com", "localpart longer than 64 octets"),
        ("\u0308" * 100 + "@example.com", "localpart longer than 64 octets"),
        ("a" * 64 + "@" + ".".join(["b" * 60] * 4), "longer than 256 octets"),
        ("a" * 2000, "longer than 256 octets"),
        ("jane\r\nRCPT TO:<x@example.com>@example.com", "a control character"),
        ("jane\n@example.com", "a control character"),
        ("jane\x00@example.com", "a control character"),
        ('"jane\r\n"@example.com', "a control character"),
        ('"jane\x7f"@example.com', "a control character"),
        ("jane\x85@example.com", "a control character"),
        ("\u202ejane@example.com", "a control character"),
        ("ja\u200bne@example.com", "a control character"),
        ("ja\u2028ne@example.com", "a control character"),
        (b"\xff@example.com".decode("utf-8", "surrogateescape"), "a control character"),
        ("ja\u00a0ne@example.com", "an invisible space"),
        ("jane doe@example.com", "localpart needs quoting"),
        ("jane..doe@example.com", "localpart needs quoting"),
        ('"jane".doe@example.com', "badly quoted localpart"),
        (".jane@example.com", "localpart needs quoting"),
        ("Jane <jane@example.com>", "localpart needs quoting"),
        ("jane(x)@example.com", "localpart needs quoting"),
        ('"jane@example.com', "badly quoted localpart"),
        ('"\\ü"@example.com', "badly quoted localpart"),
        ("jane@1.2.3.4", "domain: numeric, like an IP address"),
        ("jane@example.com.", "domain: ends in a dot"),
        ("jane@example..com", "domain: an empty label"),
        ("jane@example.com\r\n", "domain: a character or label that international names do not allow"),
        ("jane@[192.0.2.1]", "domain: a character or label that international names do not allow"),
    ],
)
def test_refuses_and_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidAddress) as caught:
        parse_address(text)
    assert (caught.value.reason, caught.value.value) == (reason, text)
    assert isinstance(caught.value, InputError)
    assert isinstance(caught.value.__cause__, InvalidDomain) == reason.startswith("domain: ")


def test_forms_of_an_international_address() -> None:
    address = parse_address("jürgen+x@zürich.example")
    assert address.needs_smtputf8
    assert address.pack(smtputf8=True) == "jürgen+x@zürich.example"
    assert address.pack(smtputf8=False) == "jürgen+x@xn--zrich-kva.example"
    assert address.dsn(utf8=True) == "jürgen+x@zürich.example"
    assert address.dsn(utf8=False) == "j\\x{fc}rgen\\x{2b}x@xn--zrich-kva.example"
    assert address.log_string() == 'jürgen+x@zürich.example/"j\\u00fcrgen+x"@xn--zrich-kva.example'
    assert not parse_address("jane@zürich.example").needs_smtputf8
    assert parse_address("jane@zürich.example").log_string() == "jane@zürich.example/jane@xn--zrich-kva.example"


def test_localparts() -> None:
    assert parse_localpart('"a b"') == Localpart(value="a b")
    assert parse_localpart("a").log_string() == "a"
    assert Localpart(value="a b").log_string() == '/"\\"a b\\""'
    assert Localpart(value="\U0001f44d").log_string() == '/"\\U0001f44d"'
    assert Localpart().dsn(utf8=True) == '""'
    for text in ("", "a b", "a@b", "a" * 65, "a\tb"):
        with pytest.raises(InvalidAddress):
            parse_localpart(text)


@pytest.mark.parametrize("value", ["a" * 129, "ü" * 65, "a\nb", "u\u0308", "\ud800"])
def test_localpart_constructor_refuses_what_is_not_canonical(value: str) -> None:
    with pytest.raises(InvalidAddress):
        Localpart(value=value)


def test_address_constructor_checks_the_whole() -> None:
    with pytest.raises(InvalidAddress, match="longer than 256"):
        Address(localpart=Localpart(value="a" * 64), domain=parse_domain(".".join(["b" * 60] * 4)))
    with pytest.raises(InvalidAddress, match="invisible space"):
        Address(localpart=Localpart(value="a\u00a0b"), domain=parse_domain("example.com"))


def test_addresses_with_their_quoting_taken_off() -> None:
    parsed = parse_unquoted_address("a b@example.com")
    assert parsed == parse_address('"a b"@example.com')
    parsed = parse_unquoted_address('"q"@x@example.com')
    assert parsed is not None
    assert parsed.localpart.value == '"q"@x'
    parsed = parse_unquoted_address("b" * 128 + "@example.com")  # headers have longer ones than SMTP takes
    assert parsed is not None
    assert parse_unquoted_address("@") is None
    for text in ("jane", "b" * 129 + "@example.com", "a\r\nb@example.com", "jane@", "Jane <jane@example.com>"):
        with pytest.raises(InvalidAddress):
            parse_unquoted_address(text)


@pytest.mark.parametrize("localpart", ["jane", 'a " b@c', "jürgen\\", "\\x{41}", "a+b=c", "\U0001f44d"])
def test_dsn_form_reads_back(localpart: str) -> None:
    address = Address(localpart=Localpart(value=localpart), domain=parse_domain("zürich.example"))
    assert address.dsn(utf8=False).isascii()
    assert parse_dsn_address(address.dsn(utf8=False)) == address


@pytest.mark.parametrize(
    "text", ["jane", "\\x{110000}@example.com", "\\x{d800}@example.com", "\\x{d}@example.com", "a@"]
)
def test_dsn_form_refuses(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_dsn_address(text)


def test_error_text_is_bounded_and_escaped_and_survives_pickling() -> None:
    error = InvalidAddress("why", "\r\n\x1b" + "x" * 1000)
    assert "\\r\\n\\x1b" in str(error)
    assert len(str(error)) < 200
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.value, str(again)) == (error.reason, error.value, str(error))
    address = parse_address("jürgen@zürich.example")
    assert pickle.loads(pickle.dumps(address)) == address
