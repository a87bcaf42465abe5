"""Xtext and the address forms of the type utf-8: known texts."""

import pickle

import pytest

from moxlib.errors import InputError
from moxlib.smtp import InvalidXtext, decode_xtext, encode_utf8_address, encode_xtext, parse_dsn_address


@pytest.mark.parametrize(
    ("text", "encoded"),
    [("", ""), ("abc", "abc"), ("a+b=c", "a+2Bb+3Dc"), (" ~!", "+20~!"), ("\r\n\0\x7f", "+0D+0A+00+7F")],
)
def test_known(text: str, encoded: str) -> None:
    assert encode_xtext(text) == encoded
    assert decode_xtext(encoded) == text


@pytest.mark.parametrize("text", ["ü", "a\u2028", "\ud800"])
def test_text_without_xtext(text: str) -> None:
    with pytest.raises(InvalidXtext) as caught:
        encode_xtext(text)
    assert caught.value.value == text
    assert pickle.loads(pickle.dumps(caught.value)).value == text


@pytest.mark.parametrize("text", ["+", "+2", "+2b", "+2B+", "a=b", "a b", "ü", "a\n", "+FF", "+80"])
def test_no_xtext(text: str) -> None:
    with pytest.raises(InvalidXtext):
        decode_xtext(text)


def test_the_error_shows_little_and_escapes_it() -> None:
    error = InvalidXtext("ü" * 1000 + "\n")
    assert isinstance(error, InputError)
    assert str(error).isascii()
    assert len(str(error)) < 500


@pytest.mark.parametrize(
    ("address", "smtputf8", "encoded"),
    [
        ("ü@x", True, "ü@x"),
        ("ü@x", False, "\\x{FC}@x"),
        ("a+b\\=@x", True, "a\\x{2B}b\\x{5C}\\x{3D}@x"),
        ("a b\x7f", True, "a\\x{20}b\\x{7F}"),
    ],
)
def test_utf8_addresses(address: str, smtputf8: bool, encoded: str) -> None:
    assert encode_utf8_address(address, smtputf8=smtputf8) == encoded


def test_the_7_bit_form_is_read_back() -> None:
    assert parse_dsn_address(encode_utf8_address("jü+x@example.org", smtputf8=False)).localpart.value == "jü+x"
