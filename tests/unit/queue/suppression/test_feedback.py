"""Codes as diagnostics have them, beyond what mox reads."""

import pytest

from moxlib.queue.suppression import Failure, Origin, diagnostic_codes


@pytest.mark.parametrize(
    ("text", "code", "enhanced"),
    [
        ("550 5.1.1 no such user", 550, "5.1.1"),
        ("550-5.1.1 first 550 5.1.1 second", 550, "5.1.1"),  # mox sees nothing in a reply of several lines
        ("450 5.1.1 mismatch", 450, "5.1.1"),  # mox makes 4.1.1 of it
        ("550 5.x.y text", 550, ""),
        ("550 4. x", 550, ""),
        ("550 5.1.1\ttab", 550, "5.1.1"),
        ("550 5.1.1", 550, "5.1.1"),
        ("550 5.1.1.1 x", 550, ""),
        ("000 5.0.0 x", 0, ""),
        ("099 4.0.0 x", 0, ""),
        ("600 5.1.1 x", 0, ""),
        ("999 5.9.9 x", 0, ""),
        ("550", 0, ""),
        ("", 0, ""),
        ("smtp; 550 5.1.1 x", 0, ""),
        ("\uff1550 5.1.1 x", 0, ""),
    ],
)
def test_codes_at_the_beginning_of_a_reply(text: str, code: int, enhanced: str) -> None:
    assert diagnostic_codes(text) == (code, enhanced)


@pytest.mark.parametrize(
    ("enhanced", "detail"),
    [("5.1.1", "1.1"), ("4.7.26", "7.26"), ("5.0.0", "0.0"), ("3.1.1", ""), ("5.01.1", ""), ("5.1.1000", ""), ("", "")],
)
def test_the_detail_of_an_enhanced_code(enhanced: str, detail: str) -> None:
    seen = Failure(origin=Origin.DSN, enhanced=enhanced)
    assert seen.detail == detail
    assert seen.subject == detail.partition(".")[0]
