import pytest

from moxlib.message import split_addresses


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
    ],
)
def test_splits(value: str, specs: list[str]) -> None:
    assert split_addresses(value) == specs


def test_an_unclosed_comment_goes_to_the_end() -> None:
    assert split_addresses("a@example.com (b, c@example.com") == ["a@example.com"]


def test_encoded_words_hold_no_addresses() -> None:
    assert split_addresses("=?utf-8?q?Doe,_x@y?= <j@example.com>, k@example.com") == ["j@example.com", "k@example.com"]


@pytest.mark.parametrize("piece", ['\\"', '<\\"', '<"', "()", "<", '"', ' "', '<"a"', "=?a?b?", "( "])
@pytest.mark.parametrize("start", ["a", '"', "<", '<"'])
def test_time_grows_with_length_alone(start: str, piece: str) -> None:
    """Half a million characters; what takes the square of that does not end."""
    split_addresses(start + piece * (500_000 // len(piece)) + "a")
