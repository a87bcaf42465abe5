"""Whatever is given, a domain is parsed or refused; what is parsed is canonical."""

import string

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.dns import Domain, InvalidDomain, parse_domain, parse_domain_lax, parse_ip_domain

labels = st.text(alphabet=string.ascii_letters + string.digits + "-_üßéא日☺\u200d\u0301。\uff0e", max_size=12)
names = st.lists(st.one_of(labels, labels.map("xn--".__add__)), max_size=5).map(".".join)
anything = st.one_of(
    names, st.text(max_size=300), st.binary(max_size=40).map(lambda b: b.decode("utf-8", "surrogateescape"))
)


@given(anything)
@example("xn--ẞ")
def test_parsed_or_refused_and_parsing_is_idempotent(text: str) -> None:
    for parse in (parse_domain, parse_domain_lax):
        try:
            domain = parse(text)
        except InvalidDomain:
            continue
        assert len(domain.ascii) <= 253
        assert max(map(len, domain.ascii.split("."))) <= 63
        assert domain.unicode != domain.ascii
        for form in (domain.ascii, domain.name, domain.ascii.upper()):
            again = parse(form)
            assert (again.ascii, again.unicode) == (domain.ascii, domain.unicode)
        assert Domain(ascii=domain.ascii, unicode=domain.unicode) == domain


@given(st.text(alphabet=string.ascii_lowercase + string.digits + "-.", max_size=80))
def test_the_fast_path_agrees_with_the_tables(text: str) -> None:
    # One character that maps to itself in lower case sends a name the long way.
    slow = "\uff21." + text
    try:
        expected = parse_domain("a." + text).ascii
    except InvalidDomain:
        expected = None
    try:
        got = parse_domain(slow).ascii
    except InvalidDomain:
        got = None
    assert got == expected


@given(st.one_of(anything, anything.map(lambda text: f"[{text}]")), st.booleans())
def test_hosts_are_parsed_or_refused(text: str, numeric_tld: bool) -> None:
    try:
        host = parse_ip_domain(text, numeric_tld=numeric_tld)
    except InvalidDomain:
        return
    assert parse_ip_domain(str(host), numeric_tld=numeric_tld) == host
