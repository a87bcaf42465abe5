import pickle

import pytest

from moxlib.errors import InputError
from moxlib.message import MAX_HEADER, InvalidMessage, check_header_value, inspect_header

HEAD = (
    b"Received: from a.example\r\n\tby b.example; Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"From: Jane <jane@example.com>\r\n"
    b'To: "Doe, John" <john@example.org>, jane@example.com\r\n'
    b"cc: list@example.net,\r\n\tjohn@example.org\r\n"
    b"Bcc: hidden@example.org,\r\n other@example.org\r\n"
    b"BCC :third@example.org\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from Jane\r\n"
    b"Date: Mon, 23 Nov 2026 12:00:00 +0000\r\n"
    b"message-ID:\r\n <one@example.com>\r\n"
    b"\r\n"
)


def test_facts_of_a_header() -> None:
    facts = inspect_header(HEAD + b"body\r\n")
    assert facts.size == len(HEAD)
    assert facts.has_blank_line
    assert facts.block == HEAD
    assert facts.message_id == "<one@example.com>"
    assert facts.subject == "Grüße from Jane"
    assert facts.from_addresses == ("jane@example.com",)
    assert facts.sender == "jane@example.com"
    assert facts.recipients == (
        "john@example.org",
        "jane@example.com",
        "list@example.net",
        "hidden@example.org",
        "other@example.org",
        "third@example.org",
    )
    assert facts.envelope() == (facts.sender, facts.recipients)
    assert (facts.has_date, facts.has_message_id) == (True, True)
    assert (facts.tls_required_no, facts.needs_smtputf8) == (False, False)


def test_bcc_is_taken_out_whole() -> None:
    facts = inspect_header(HEAD)
    assert [HEAD[start:end] for start, end in facts.bcc_spans] == [
        b"Bcc: hidden@example.org,\r\n other@example.org\r\n",
        b"BCC :third@example.org\r\n",
    ]
    stripped = facts.without_bcc()
    assert b"cc: list@example.net" in stripped
    assert b"hidden" not in stripped
    assert b"third" not in stripped
    assert inspect_header(stripped).bcc_spans == ()
    assert inspect_header(b"Resent-Bcc: x@example.com\r\n\r\n").without_bcc() == b"\r\n"


def test_a_header_alone_is_a_message() -> None:
    facts = inspect_header(b"From: jane@example.com\r\n")
    assert (facts.size, facts.has_blank_line) == (24, False)
    assert (facts.message_id, facts.subject, facts.has_date) == ("", "", False)
    assert inspect_header(b"X: \r\n\r\nFrom: in the body\r\n").from_addresses == ()


def test_resent_fields_are_the_envelope_of_a_resent_message() -> None:
    resent = (
        b"Resent-Date: x\r\nResent-From: r@example.com\r\nResent-To: t@example.com\r\nResent-Bcc: b@example.com\r\n"
    )
    facts = inspect_header(resent + HEAD)
    assert facts.envelope() == ("r@example.com", ("t@example.com", "b@example.com"))
    assert facts.sender == "jane@example.com"
    with pytest.raises(InvalidMessage, match="resent more than once"):
        inspect_header(resent + resent + HEAD).envelope()


def test_sender_goes_before_from() -> None:
    facts = inspect_header(b"From: a@example.com, b@example.com\r\nSender: s@example.com\r\n\r\n")
    assert facts.sender == "s@example.com"
    assert facts.from_addresses == ("a@example.com", "b@example.com")
    assert inspect_header(b"X: y\r\n\r\n").envelope() == ("", ())


@pytest.mark.parametrize(
    ("fields", "no"),
    [
        (b"TLS-Required: No\r\n", True),
        (b"tls-required:\r\n NO\r\nTLS-Required: no\r\n", True),
        (b"TLS-Required: yes\r\n", False),
        (b"TLS-Required: no\r\nTLS-Required: maybe\r\n", False),
        (b"TLS-Required:\r\n", False),
        (b"X-TLS-Required: no\r\n", False),
        (b"X: y\r\n", False),
    ],
)
def test_tls_required_no_must_be_unanimous(fields: bytes, no: bool) -> None:
    assert inspect_header(fields + b"\r\n").tls_required_no is no


def test_eight_bit_headers_need_smtputf8() -> None:
    facts = inspect_header("From: jürgen@example.com\r\nSubject: grüße\r\n\r\n".encode())
    assert facts.needs_smtputf8
    assert facts.sender == "jürgen@example.com"
    assert facts.subject == "grüße"
    assert not inspect_header(b"From: a@example.com\r\n\r\n\xff\r\n").needs_smtputf8


def test_invalid_utf8_does_not_pass_for_an_address() -> None:
    facts = inspect_header(b"From: \xff@example.com\r\nSubject: \xff\r\n\r\n")
    assert facts.sender == "\udcff@example.com"
    assert facts.subject == "\ufffd"


@pytest.mark.parametrize(
    ("raw", "subject"),
    [
        (b"=?utf-8?q?a=0D=0ABcc=3A_x?=", "a Bcc: x"),
        (b"=?no-such-charset?q?a?=", "=?no-such-charset?q?a?="),
        (b"=?utf-8?b?w?=", ""),
        (b"=?utf-8?q?=C3?= =?utf-8?q?=A9?= x", "é x"),
        (b"=?utf-7?q?+2AA-?=", "=?utf-7?q?+2AA-?="),
        (b"=?utf-16?b?ANg=?=", "\ufffd"),
        (b"x" * 2000, "x" * 998),
        (b"\ta\tb ", "a b"),
        (b"", ""),
    ],
)
def test_subjects_are_fit_to_show(raw: bytes, subject: str) -> None:
    assert inspect_header(b"Subject:" + raw + b"\r\n\r\n").subject == subject


def test_time_of_a_subject_grows_with_its_length_alone() -> None:
    """A megabyte; what takes the square of that does not end."""
    for piece in (b"=?utf-8?q?", b"=?utf-8?q?a?= ", b"=?a?b?"):
        inspect_header(b"Subject: " + piece * (1_000_000 // len(piece)) + b"\r\n\r\n").subject.encode()


@pytest.mark.parametrize(
    ("head", "reason", "line", "offset"),
    [
        (b"", "no header", 1, 0),
        (b"\r\n", "no header", 1, 0),
        (b"\r\nFrom: x\r\n\r\n", "no header", 1, 0),
        (b"Hello,\r\n\r\nbody\r\n", "a line that is no header field", 1, 0),
        (b"From jane Mon Nov 23 12:00:00 2026\r\nA: b\r\n\r\n", "a line that is no header field", 1, 0),
        (b" folded: x\r\n\r\n", "a line that is no header field", 1, 0),
        (b"A: b\r\nB\r\n\r\n", "a line that is no header field", 2, 6),
        (b"A: b\r\n: c\r\n\r\n", "a line that is no header field", 2, 6),
        (b"A: b\r\nB c: d\r\n\r\n", "a line that is no header field", 2, 6),
        ("A: b\r\nÜ: d\r\n\r\n".encode(), "a line that is no header field", 2, 6),
        (b"A: b\nB: c\r\n\r\n", "a bare LF", 1, 4),
        (b"A: b\r\n c\r\n d\re\r\n\r\n", "a bare CR", 3, 12),
        (b"A: b\r\nB: c\0\r\n\r\n", "a NUL in the header", 2, 10),
        (b"A: b\n\nbody\n", "a bare LF", 1, 4),
        (b"A: b\r\nB: c", "a header line without its end", 2, 6),
        (b"A: b\r", "a bare CR", 1, 4),
    ],
)
def test_refuses_and_says_where(head: bytes, reason: str, line: int, offset: int) -> None:
    with pytest.raises(InvalidMessage) as caught:
        inspect_header(head)
    assert (caught.value.reason, caught.value.line, caught.value.offset) == (reason, line, offset)
    assert isinstance(caught.value, InputError)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.reason, again.line, again.offset, str(again)) == (reason, line, offset, str(caught.value))


def test_header_has_a_limit() -> None:
    line = b"A: " + b"b" * 997 + b"\r\n"
    largest = line * (MAX_HEADER // len(line))
    largest += b"C: " + b"d" * (MAX_HEADER - len(largest) - 5) + b"\r\n"
    assert inspect_header(largest + b"\r\n").size == MAX_HEADER + 2
    with pytest.raises(InvalidMessage, match="a header of more than 1048576 octets"):
        inspect_header(b"A: b\r\n" + largest + b"\r\n")
    with pytest.raises(InvalidMessage, match="a header of more than 1048576 octets"):
        inspect_header(largest + line)


@pytest.mark.parametrize("name", ["", "A b", "A:", "Ü", "A\r\n", "A\x00"])
def test_header_names_one_writes_are_checked(name: str) -> None:
    with pytest.raises(InvalidMessage, match="name"):
        check_header_value(name, "x")


@pytest.mark.parametrize("value", ["a\r\nBcc: b", "a\n b", "a\r", "a\0", "a\x0bb", "a\x85b", "a\u2028b", "\x7f"])
def test_header_values_one_writes_are_checked(value: str) -> None:
    with pytest.raises(InvalidMessage, match="value"):
        check_header_value("X-Test", value)


def test_sound_header_fields_pass() -> None:
    check_header_value("X-Mox-Extra-Key", "some\tvalue, grüße")
