import re

import pytest

from moxlib.message import addresses, split_addresses


@pytest.mark.parametrize(
    ("value", "specs"),
    [
        ("", []),
        ("  ", []),
        ("jane@example.com", ["jane@example.com"]),
        (" jane@example.com\r\n", ["jane@example.com"]),
        ("<jane@example.com>", ["jane@example.com"]),
        ("Jane Doe <jane@example.com>", ["jane@example.com"]),
        ('"Doe, Jane" <jane@example.com>, john@example.org', ["jane@example.com", "john@example.org"]),
        ('"a \\" <x@y>" <jane@example.com>', ["jane@example.com"]),
        ("a@example.com,\r\n\tb@example.com,,c@example.com,", ["a@example.com", "b@example.com", "c@example.com"]),
        ("jane@example.com (Jane (the first), x@y.example)", ["jane@example.com"]),
        ("(a \\) b) jane@example.com", ["jane@example.com"]),
        ('"a b"@example.com', ['"a b"@example.com']),
        ('<"a> b"@example.com>', ['"a> b"@example.com']),
        (
            "Friends: a@example.com, B <b@example.com>;, c@example.com",
            ["a@example.com", "b@example.com", "c@example.com"],
        ),
        ("undisclosed-recipients:;", []),
        ("jane @ example . com", ["jane@example.com"]),
        ("< jane@example.com >", ["jane@example.com"]),
        ("<@relay.example,@other.example:jane@example.com>", ["jane@example.com"]),
        ("jane@[192.0.2.1]", ["jane@[192.0.2.1]"]),
        ("jane@[IPv6:2001:db8::1], b@example.com", ["jane@[IPv6:2001:db8::1]", "b@example.com"]),
        ("=?utf-8?q?J=C3=BCrgen?= <j@example.com>", ["j@example.com"]),
        ("jürgen@zürich.example", ["jürgen@zürich.example"]),
        ("a@example.com; b@example.com", ["a@example.com", "b@example.com"]),
        # No addresses, and not passed over in silence:
        ("Jane Doe", ["Jane Doe"]),
        ("a@example.com b@example.com", ["a@example.com b@example.com"]),
        ("<>", [""]),
        ('"Jane', ['"Jane']),
        ("Jane <jane@example.com", ["Jane <jane@example.com"]),
        ("Jane <jane@example.com, b@example.com", ["Jane <jane@example.com", "b@example.com"]),
        ('< ["] <a@b> "<c@d>', ["a@b"]),
    ],
)
def test_splits(value: str, specs: list[str]) -> None:
    assert split_addresses(value) == specs


def test_an_unclosed_comment_goes_to_the_end() -> None:
    assert split_addresses("a@example.com (b, c@example.com") == ["a@example.com"]


def test_encoded_words_hold_no_addresses() -> None:
    assert split_addresses("=?utf-8?q?Doe,_x@y?= <j@example.com>, k@example.com") == ["j@example.com", "k@example.com"]


# Each opens what looks closed, or not, from where another way of reading it has begun.
PIECES = [
    '\\"',
    '<\\"',
    '<"',
    "()",
    "<",
    '"',
    ' "',
    '<"a"',
    "=?a?b?",
    "( ",
    '<[\\"]',
    '<=?a?q?\\"?=',
    '<(\\")',
    ":=?",
    "[",
]


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["a", '"', "<", '<"'])
@pytest.mark.parametrize("end", [" a", '"<'])
def test_no_character_is_looked_at_more_than_a_few_times(
    monkeypatch: pytest.MonkeyPatch, start: str, piece: str, end: str
) -> None:
    """What the tokens of a list reach, together, grows with its length alone: also those looked for in vain."""
    reached = 0

    def counted(pattern: re.Pattern[str]) -> object:
        def match(value: str, position: int) -> re.Match[str] | None:
            nonlocal reached
            found = pattern.match(value, position)
            if found is not None:
                reached += max(found.end(), found.end("reach") if "reach" in pattern.groupindex else 0) - position
            return found

        return match

    for name in ("_token", "_token_but_angle"):
        monkeypatch.setattr(addresses, name, counted(getattr(addresses, name).__self__))
    value = start + piece * 400 + end
    split_addresses(value)
    assert 0 < reached <= 2 * len(value)


@pytest.mark.parametrize("piece", PIECES)
@pytest.mark.parametrize("start", ["a", '"', "<", '<"'])
@pytest.mark.parametrize("end", [" a", '"<'])
def test_time_grows_with_length_alone(start: str, piece: str, end: str) -> None:
    """Some hundred thousand characters; what takes the square of that does not end."""
    split_addresses(start + piece * (200_000 // len(piece)) + end)


def test_blanks_in_a_literal_are_looked_at_once() -> None:
    """Half a million; what takes the square of that does not end."""
    blanks = " " * 500_000
    assert split_addresses(f"a@[{blanks}]") == [f"a@[{blanks}]"]
    assert split_addresses(f"a@[{blanks}.{blanks}]") == ["a@[.]"]
