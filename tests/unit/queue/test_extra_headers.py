"""X-Mox-Extra- headers: what becomes of them, of the block around them, and what is refused."""

import pickle

import pytest

from moxlib.errors import InputError, LimitExceeded
from moxlib.queue.extra_headers import DuplicateExtraKey, InvalidExtraHeader, canonical_key, take_extra_headers

BODY = b"X-Mox-Extra-Body: not a header\r\n"


def extra(*lines: str) -> dict[str, str]:
    """Return what is found of fields in a message, and see that nothing else of it changes."""
    before, after = b"From: a@example.org\r\nSubject: a\r\n b\r\n", b"To: b@example.org\r\n\r\n"
    fields = "".join(f"{line}\r\n" for line in lines).encode()
    found = take_extra_headers(before + fields + after + BODY)
    assert found.block == before + after
    assert found.size == len(before + fields + after)
    return dict(found.extra)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("X-Mox-Extra-Test: testvalue", {"Test": "testvalue"}),
        ("x-mox-extra-x-cANONICAL-z: ok", {"X-Canonical-Z": "ok"}),
        ("X-Mox-Extra-☺: ☹", {"☺": "☹"}),
        ("x-mox-extra-É-x: a", {"É-x": "a"}),
        ("X-Mox-Extra-a/b: x", {"a/b": "x"}),
        ("X-Mox-Extra-Spaces:    value with  spaces   ", {"Spaces": "value with  spaces"}),
        ("X-Mox-Extra-Folded: a\r\n b  \r\n\t c", {"Folded": "a b c"}),
        ("X-Mox-Extra-Folded:\r\n a", {"Folded": "a"}),
        ("X-Mox-Extra-Empty:", {"Empty": ""}),
        ("X-Mox-Extra-Colon: a: b", {"Colon": "a: b"}),
        ("X-Mox-Extra-Enc: =?utf-8?q?=C3=BC?=", {"Enc": "=?utf-8?q?=C3=BC?="}),
        ("X-Mox-Extra-Tab: a\tb", {"Tab": "a\tb"}),
        ("X-Mox-Extra-Trail : a", {"Trail": "a"}),  # RFC 5322 4.5.8; mox has the blank in the key
    ],
)
def test_a_field_becomes_extra_data(line: str, expected: dict[str, str]) -> None:
    assert extra(line) == expected


def test_other_fields_stay() -> None:
    before = b"X-Mox-Extra: x\r\nX-Mox: y\r\nSubject: X-Mox-Extra-A: b\r\n X-Mox-Extra-B: c\r\n\r\n"
    found = take_extra_headers(before + BODY)
    assert (found.extra, found.block, found.size) == ({}, before, len(before))


def test_several_fields_come_out_in_order_wherever_they_stand() -> None:
    head = b"X-Mox-Extra-B: 1\r\nSubject: s\r\nX-Mox-Extra-A: 2\r\n"
    for end, body in ((b"\r\n", BODY), (b"", b"")):
        found = take_extra_headers(head + end + body)
        assert list(found.extra.items()) == [("B", "1"), ("A", "2")]
        assert found.block == b"Subject: s\r\n" + end


@pytest.mark.parametrize("head", [b"", b"\r\n" + BODY, b"X-Mox-Extra-A: b"])
def test_a_message_without_more_of_a_header(head: bytes) -> None:
    found = take_extra_headers(head)
    assert found.size == (2 if head.startswith(b"\r\n") else len(head))
    assert found.block + b"X-Mox-Extra-A: b"[: 16 * len(found.extra)] == head[: found.size]


@pytest.mark.parametrize("second", ["X-Mox-Extra-Test", "x-mox-extra-TEST", "X-Mox-Extra-Test "])
def test_a_duplicate_key_is_refused(second: str) -> None:
    with pytest.raises(DuplicateExtraKey) as caught:
        extra("X-Mox-Extra-Test: a", f"{second}: a")
    assert (caught.value.key, caught.value.code, caught.value.enhanced) == ("Test", 554, "5.6.0")
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (DuplicateExtraKey, str(caught.value))


def test_keys_beyond_ascii_are_duplicates_only_when_they_are_the_same() -> None:
    assert extra("X-Mox-Extra-É: 1", "X-Mox-Extra-é: 2") == {"É": "1", "é": "2"}


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"X-Mox-Extra-: a", "no key"),  # mox takes it
        (b"X-Mox-Extra- : a", "no key"),
        (b"X-Mox-Extra-A", "no colon"),
        (b"X-Mox-Extra-Sp ace: a", "a blank or control character in the key"),  # mox takes it
        (b"X-Mox-Extra-A\0: a", "a blank or control character in the key"),
        (b"X-Mox-Extra-\xff: a", "a key that is not UTF-8"),
        (b"X-Mox-Extra-A: \xff", "a value that is not UTF-8"),
        (b"X-Mox-Extra-A: a\0", "a control character in the value"),
        (b"X-Mox-Extra-A: a\rb", "a line that does not end in CRLF"),
        (b"X-Mox-Extra-A: a\nb", "a line that does not end in CRLF"),
    ],
)
def test_what_cannot_be_data_is_refused(field: bytes, reason: str) -> None:
    with pytest.raises(InvalidExtraHeader, match=reason):
        take_extra_headers(b"From: a@example.org\r\n" + field + b"\r\n\r\n")


def test_there_are_limits() -> None:
    def many(number: int, size: int) -> bytes:
        return b"".join(b"X-Mox-Extra-%d: %s\r\n" % (n, b"x" * size) for n in range(number))

    assert len(take_extra_headers(many(1000, 1)).extra) == 1000
    for head in (many(1001, 1), many(1, 65536), many(20, 4000), b"X: " + b"y" * (1024 * 1024)):
        with pytest.raises(LimitExceeded):
            take_extra_headers(head)
    assert issubclass(LimitExceeded, InputError)


def test_a_header_of_blanks_takes_no_longer_than_one_of_letters() -> None:
    value = b" " * 60_000
    assert take_extra_headers(b"X-Mox-Extra-A: " + value + b"x\r\n" + b" \t" * 100_000 + b"\r\n\r\n").extra == {
        "A": "x"
    }


@pytest.mark.parametrize(
    ("key", "canonical"),
    [("a--b", "A--B"), ("-x", "-X"), ("UNDER_score", "Under_score"), ("1num", "1num"), ("a b", "a b")],
)
def test_canonical_keys(key: str, canonical: str) -> None:
    assert canonical_key(key) == canonical
