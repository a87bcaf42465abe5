"""Passwords as OpaqueString has them (RFC 8265 4.2)."""

import subprocess
import sys

import pytest

from moxlib.sasl import prepared_password


@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("", ""),
        ("correct horse battery staple", "correct horse battery staple"),
        ("a\u00a0b\u2003c\u3000d", "a b c d"),  # any space is SPACE
        ("A\u030angstro\u0308m", "\u00c5ngstr\u00f6m"),  # NFC
        ("\u212bngstrom", "\u00c5ngstrom"),
        ("\u03c3\u00df\u03c2", "\u03c3\u00df\u03c2"),
        ("Jack of \u2666s", "Jack of \u2666s"),
        ("\u2163\u00bd\u00b2", "\u2163\u00bd\u00b2"),  # compatibility characters stay
        ("l\u00b7l", "l\u00b7l"),  # middle dot between two l
        ("\u0661\u0662\u00a0", "\u0661\u0662 "),
        ("\u0915\u094d\u200d\u00a0", "\u0915\u094d\u200d "),  # a joiner behind a virama
    ],
)
def test_allowed(password: str, prepared: str) -> None:
    assert prepared_password(password) == prepared
    assert prepared_password(prepared) == prepared


@pytest.mark.parametrize(
    "password",
    [
        "\u00a0\x00",  # a control
        "\u00a0\u0085",
        "\u00a0\u00ad",  # ignorable
        "\u00a0\u200b",
        "\u00a0\ufeff",
        "\u00a0\U000e0020",
        "\u00a0\u0640",  # an exception
        "\u00a0\u1100",  # old Hangul
        "\u00a0\ue000",  # private use
        "\u00a0\u0378",  # unassigned
        "\u00a0a\u00b7l",  # out of its context
        "\u00a0a\u200db",
        "\u00a0\u0661\u06f1",  # two kinds of digits
        "\u00a0\u0375",
    ],
)
def test_what_is_forbidden_stays_as_it_is(password: str) -> None:
    assert prepared_password(password) == password


def test_idna_is_not_loaded_for_it() -> None:
    code = "import sys, moxlib.sasl; print(sorted({'idna', 'asyncio', 'ssl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout.strip() == b"[]"
