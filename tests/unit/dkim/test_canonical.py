"""The canonical forms, by RFC 6376 3.4 and its examples, however a body is cut."""

import hashlib
import itertools

import pytest

from moxlib.dkim.canonical import BodyHash, Canonicalization, canonical_field, canonical_fields

SIMPLE, RELAXED = Canonicalization.SIMPLE, Canonicalization.RELAXED


def digest(body: bytes, form: Canonicalization, length: int | None = None, cut: int = 0) -> tuple[bytes, int]:
    hashed = BodyHash(form, length)
    for start in range(0, len(body), cut or max(1, len(body))):
        hashed.feed(body[start : start + (cut or len(body))])
    return hashed.digest(), hashed.size


def test_fields_of_the_example_in_section_3_4_5() -> None:
    header = b"A: X\r\nB : Y\t\r\n\tZ  \r\n"
    assert canonical_fields(header, RELAXED) == {b"a": [b"a:X"], b"b": [b"b:Y Z"]}
    assert canonical_fields(header, SIMPLE) == {b"a": [b"A: X"], b"b": [b"B : Y\t\r\n\tZ  "]}
    assert canonical_field(b"B \t: Y\t\r\n\tZ  ", RELAXED) == b"b:Y Z"


BODIES = [
    # body, simple, relaxed
    (b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n", b" C\r\nD E\r\n"),  # RFC 6376 3.4.5
    (b"", b"\r\n", b""),
    (b"\r\n\r\n", b"\r\n", b""),
    (b" \t\r\n", b" \t\r\n", b""),
    (b"   ", b"   \r\n", b""),
    (b"\r\n\r\nx", b"\r\n\r\nx\r\n", b"\r\n\r\nx\r\n"),
    (b"no line end", b"no line end\r\n", b"no line end\r\n"),
    (b"x \t", b"x \t\r\n", b"x\r\n"),
    (b"x\r\n \r\ny \r\n \t \r\n", b"x\r\n \r\ny \r\n \t \r\n", b"x\r\n\r\ny\r\n"),
    (b"x\r", b"x\r\r\n", b"x\r\r\n"),
    (b"x \r", b"x \r\r\n", b"x \r\r\n"),
    (b"x\r\r\n\r\n", b"x\r\r\n", b"x\r\r\n"),
    (b"x\n\r\n\r\n", b"x\n\r\n", b"x\n\r\n"),
    (b"\n\n\r\r\n\r\n", b"\n\n\r\r\n", b"\n\n\r\r\n"),
    (b"x\n", b"x\n\r\n", b"x\n\r\n"),
    (b"x\x0b \x0c\r\n", b"x\x0b \x0c\r\n", b"x\x0b \x0c\r\n"),  # blanks are spaces and tabs alone
]


@pytest.mark.parametrize(("body", "simple", "relaxed"), BODIES)
def test_bodies_in_both_forms(body: bytes, simple: bytes, relaxed: bytes) -> None:
    for cut in range(len(body) + 1):
        assert digest(body, SIMPLE, cut=cut) == (hashlib.sha256(simple).digest(), len(simple)), cut
        assert digest(body, RELAXED, cut=cut) == (hashlib.sha256(relaxed).digest(), len(relaxed)), cut


def test_a_length_cuts_the_canonical_body() -> None:
    body = b"a  b\r\n\r\nc\r\n"  # canonical: a b, an empty line, c
    canonical = b"a b\r\n\r\nc\r\n"
    for length, cut in itertools.product(range(12), range(3)):
        assert digest(body, RELAXED, length, cut) == (hashlib.sha256(canonical[:length]).digest(), len(canonical))


def test_many_empty_lines_count_if_something_follows() -> None:
    lines = b"\r\n" * 40_000
    assert digest(b"x" + lines + b"y", SIMPLE, cut=1000) == (
        hashlib.sha256(b"x" + lines + b"y\r\n").digest(),
        len(lines) + 4,
    )
    assert digest(b"x" + lines, SIMPLE, cut=1000) == (hashlib.sha256(b"x\r\n").digest(), 3)


def test_a_body_of_blanks_takes_no_memory() -> None:
    hashed = BodyHash(RELAXED)
    for _ in range(100):
        hashed.feed(b" " * 65536)
        assert hashed._held == b" "
    hashed.feed(b"x")
    assert hashed.digest() == hashlib.sha256(b" x\r\n").digest()
