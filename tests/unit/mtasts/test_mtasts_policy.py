"""Policies: what is one, and which hosts they let through. The vectors have many more cases."""

import pickle

import pytest

from moxlib.dns import parse_domain
from moxlib.errors import InputError
from moxlib.mtasts import MAX_POLICY, InvalidPolicy, Mode, MXPattern, Policy, parse_policy

TEXT = "version: STSv1\nmode: enforce\nmx: mail.example.com\nmx: *.example.net\nmax_age: 604800\n"
POLICY = Policy(
    mode=Mode.ENFORCE,
    max_age_seconds=604800,
    mx=(
        MXPattern(domain=parse_domain("mail.example.com")),
        MXPattern(domain=parse_domain("example.net"), wildcard=True),
    ),
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_policy(end: str) -> None:
    text = TEXT.replace("\n", end)
    assert parse_policy(text) == parse_policy(text.encode()) == parse_policy(text.rstrip()) == POLICY


def test_a_policy_as_text() -> None:
    expected = "version: STSv1\nmode: enforce\nmax_age: 604800\nmx: mail.example.com\nmx: *.example.net\n"
    assert str(POLICY) == expected
    assert parse_policy(expected) == POLICY


def test_international_hosts_are_published_in_ascii() -> None:
    pattern = MXPattern(domain=parse_domain("münchen.example"), wildcard=True)
    assert str(pattern) == "*.xn--mnchen-3ya.example"
    assert pattern.log_string() == "*.münchen.example/*.xn--mnchen-3ya.example"
    policy = Policy(mode=Mode.TESTING, max_age_seconds=1, mx=(pattern,))
    assert parse_policy(str(policy)) == policy


def test_a_policy_of_mode_none_needs_no_hosts() -> None:
    assert parse_policy("version: STSv1\nmode: none\nmax_age: 1") == Policy(mode=Mode.NONE, max_age_seconds=1)


def test_extensions() -> None:
    policy = parse_policy(TEXT + "a.b: c d \t\nlast-one:grüße")
    assert policy.extensions == (("a.b", "c d"), ("last-one", "grüße"))


def test_bytes_that_are_no_utf8_can_stand_in_extensions_only() -> None:
    assert parse_policy(TEXT.encode() + b"x: \xff\xfe").extensions == (("x", "\ufffd\ufffd"),)
    with pytest.raises(InvalidPolicy):
        parse_policy(TEXT.encode().replace(b"mail", b"m\xff"))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "line 1: a field was expected"),
        (TEXT.replace("version", "Version"), "without version"),
        (TEXT.replace("mode: enforce", "mode: Enforce"), "line 2: testing, enforce or none was expected"),
        (TEXT.replace("max_age: 604800\n", ""), "without max_age"),
        (TEXT.replace("mode: enforce\n", ""), "without mode"),
        (TEXT.replace("604800", "-1"), "line 5: a number of seconds was expected"),
        (TEXT.replace("604800", "2147483648"), "a policy cannot have a max_age of 2147483648 seconds"),
        (TEXT.replace("604800", "60480000000"), "line 5: the end of the line was expected"),
        (TEXT.replace("mx: ", "mx-host: "), "a policy of mode enforce has to list hosts"),
        (TEXT.replace("mail", "münchen"), "line 3: the end of the line was expected"),
        (TEXT.replace("*.example", "*.*.example"), "line 4: a host in ASCII, or *. and a domain was expected"),
        (TEXT + "x:\n", "line 6: a value was expected"),
        (TEXT + "x: \x00\n", "line 6: a value was expected"),
        (TEXT + "x: \ud800\n", "line 6: a value was expected"),
        (TEXT + "x: y" + "z" * MAX_POLICY, "longer than 65536 bytes"),
    ],
)
def test_what_is_no_policy(text: str, reason: str) -> None:
    with pytest.raises(InvalidPolicy) as caught:
        parse_policy(text)
    assert caught.value.reason == reason
    assert pickle.loads(pickle.dumps(caught.value)).reason == reason


def test_a_host_that_is_no_name_is_no_policy() -> None:
    with pytest.raises(InvalidPolicy, match="line 3: invalid domain name: numeric"):
        parse_policy(TEXT.replace("mail.example.com", "192.0.2.1"))


@pytest.mark.parametrize(
    ("host", "matches"),
    [
        ("mail.example.com", True),
        ("example.com", False),
        ("other.example.com", False),
        ("a.example.net", True),
        ("example.net", False),
        ("a.b.example.net", False),
        ("net", False),
        ("aexample.net", False),
    ],
)
def test_which_hosts_match(host: str, matches: bool) -> None:
    assert POLICY.matches(parse_domain(host)) is matches


@pytest.mark.parametrize("seconds", [-1, 2**31])
def test_an_age_that_cannot_be(seconds: int) -> None:
    with pytest.raises(InputError):
        Policy(mode=Mode.NONE, max_age_seconds=seconds)


def test_a_policy_without_hosts_would_let_nobody_through() -> None:
    with pytest.raises(InputError):
        Policy(mode=Mode.TESTING, max_age_seconds=1)
