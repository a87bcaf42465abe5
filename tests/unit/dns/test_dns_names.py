import pickle
from ipaddress import IPv4Address, IPv6Address

import pytest

from moxlib.dns import Domain, InvalidDomain, IPDomain, parse_domain, parse_domain_lax, parse_ip_domain
from moxlib.errors import InputError

LABEL63 = "a" * 63
NAME253 = ".".join([LABEL63, LABEL63, LABEL63, "b" * 61])


@pytest.mark.parametrize(
    ("text", "ascii_form", "unicode_form"),
    [
        ("example.com", "example.com", ""),
        ("Mail.EXAMPLE.com", "mail.example.com", ""),
        ("localhost", "localhost", ""),
        ("123.example", "123.example", ""),
        ("x--y.example", "x--y.example", ""),
        ("zürich.example", "xn--zrich-kva.example", "zürich.example"),
        ("ZÜRICH.example", "xn--zrich-kva.example", "zürich.example"),
        ("xn--zrich-kva.example", "xn--zrich-kva.example", "zürich.example"),
        ("XN--Zrich-KVA.example", "xn--zrich-kva.example", "zürich.example"),
        ("fuß.example", "xn--fu-hia.example", "fuß.example"),
        ("FUẞ.example", "fuss.example", ""),
        ("例子。example", "xn--fsqu00a.example", "例子.example"),
        ("\uff57\uff57\uff57.example", "www.example", ""),
        ("♥.example", "xn--g6h.example", "♥.example"),
        ("شبكة.example", "xn--ngbc5azd.example", "شبكة.example"),
        (NAME253, NAME253, ""),
        (LABEL63.upper(), LABEL63, ""),
    ],
)
def test_parses_to_both_forms(text: str, ascii_form: str, unicode_form: str) -> None:
    domain = parse_domain(text)
    assert (domain.ascii, domain.unicode) == (ascii_form, unicode_form)
    assert domain == Domain(ascii=ascii_form)
    assert parse_domain(domain.name) == domain


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (".", "ends in a dot"),
        ("example.com.", "ends in a dot"),
        ("example..com", "an empty label"),
        (".example", "an empty label"),
        ("example.com。", "an empty label"),
        ("xn--.example", "an xn-- label that decodes to nothing valid"),
        ("xn--abc-.example", "an xn-- label that decodes to nothing valid"),
        ("xn--99999.example", "an xn-- label that decodes to nothing"),
        ("xn--zürich.example", "an xn-- label that decodes to nothing"),
        (LABEL63 + "a.example", "a label is longer than 63 octets"),
        ("A" * 64, "a label is longer than 63 octets"),
        ("ü" * 60 + ".example", "a label is longer than 63 octets"),
        (NAME253 + "c", "longer than 253 octets"),
        ("ü." * 2000, "ends in a dot"),
        ("ü." * 2000 + "a", "longer than 253 octets"),
        ("1", "numeric, like an IP address"),
        ("192.0.2.1", "numeric, like an IP address"),
        ("192.0.2", "numeric, like an IP address"),
        ("host.123", "numeric, like an IP address"),
        ("\uff11.\uff12", "numeric, like an IP address"),
    ],
)
def test_refuses_and_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidDomain) as caught:
        parse_domain(text)
    assert caught.value.reason == reason
    assert caught.value.value == text
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    "text",
    [
        "exa mple.com",
        "exa_mple.com",
        "-a.example",
        "a-.example",
        "ab--cd.example",
        "*.example",
        "::1",
        "[192.0.2.1]",
        "a\x00b.example",
        "a\nb.example",
        "\u0301a.example",
        "a\u200db.example",
        "1א.example",
        "א.1a.example",
        "\u202eexample.com",
        b"\xff.example".decode("utf-8", "surrogateescape"),
    ],
)
def test_refuses_what_uts_46_refuses(text: str) -> None:
    with pytest.raises(InvalidDomain):
        parse_domain(text)


def test_numeric_top_level_label_on_request_only_below_something_else() -> None:
    assert parse_domain("host.123", numeric_tld=True).ascii == "host.123"
    for text in ("123", "1.2.3.4", "0.1"):
        with pytest.raises(InvalidDomain, match="numeric"):
            parse_domain(text, numeric_tld=True)


def test_lax_takes_underscores_in_ascii_names_only() -> None:
    assert parse_domain_lax("_DMARC.example.com").ascii == "_dmarc.example.com"
    assert parse_domain_lax("example.com") == parse_domain("example.com")
    for text in ("_a.zürich.example", "_a.xn--zrich-kva.example", "_a..example", "_-.example", "a_" + "b" * 63 + ".c"):
        with pytest.raises(InvalidDomain) as caught:
            parse_domain_lax(text)
        assert caught.value.value == text


def test_forms_for_people_mail_and_logs() -> None:
    domain = parse_domain("Zürich.example")
    assert (domain.name, domain.xname(utf8=True), domain.xname(utf8=False)) == (
        "zürich.example",
        "zürich.example",
        "xn--zrich-kva.example",
    )
    assert (domain.ascii_extra(utf8=True), domain.ascii_extra(utf8=False)) == ("xn--zrich-kva.example", "")
    assert domain.log_string() == "zürich.example/xn--zrich-kva.example"
    assert str(domain) == "xn--zrich-kva.example"
    plain = parse_domain("example.com")
    assert (plain.name, plain.ascii_extra(utf8=True), plain.log_string()) == ("example.com", "", "example.com")


@pytest.mark.parametrize("text", ["", "Example.com", "a..b", "a.", "-a", "a b", "a" * 64, NAME253 + "c", "zürich"])
def test_constructor_refuses_what_is_not_canonical(text: str) -> None:
    with pytest.raises(InvalidDomain):
        Domain(ascii=text)


def test_error_text_is_bounded_and_escaped_and_survives_pickling() -> None:
    error = InvalidDomain("why", "\r\n\u202e" + "x" * 1000)
    assert "\\r\\n\\u202e" in str(error)
    assert len(str(error)) < 200
    again = pickle.loads(pickle.dumps(error))
    assert (again.reason, again.value, str(again)) == (error.reason, error.value, str(error))
    assert pickle.loads(pickle.dumps(parse_domain("zürich.example"))).unicode == "zürich.example"


@pytest.mark.parametrize(
    ("text", "host", "literal", "bare"),
    [
        ("example.com", parse_domain("example.com"), "example.com", "example.com"),
        ("[192.0.2.1]", IPv4Address("192.0.2.1"), "[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:DB8::1]", IPv6Address("2001:db8::1"), "[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:::ffff:192.0.2.1]", IPv4Address("192.0.2.1"), "[192.0.2.1]", "192.0.2.1"),
    ],
)
def test_host_is_a_name_or_an_address_literal(text: str, host: object, literal: str, bare: str) -> None:
    parsed = parse_ip_domain(text)
    assert parsed.host == host
    assert (parsed.literal(utf8=True), parsed.text(utf8=True), str(parsed)) == (literal, bare, literal)
    assert parsed.log_string() == bare
    assert (parsed.domain is None) != (parsed.ip is None)


@pytest.mark.parametrize(
    "text",
    ["192.0.2.1", "2001:db8::1", "[192.0.2.1", "[192.0.2.256]", "[IPv6:x]", "[::1]", "[]", "[IPv6:fe80::1%eth0]"],
)
def test_host_refuses_bare_and_bad_addresses(text: str) -> None:
    with pytest.raises(InvalidDomain):
        parse_ip_domain(text)


def test_empty_host() -> None:
    empty = IPDomain()
    assert (empty.domain, empty.ip, empty.text(utf8=True), str(empty), empty.log_string()) == (None, None, "", "", "")
    assert IPDomain(host=parse_domain("zürich.example")).log_string() == "zürich.example/xn--zrich-kva.example"
