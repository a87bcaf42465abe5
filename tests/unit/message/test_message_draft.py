"""What cannot be written is refused when a draft is made, and the error says where it is."""

import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.message import Draft, File, InvalidDraft, NamedAddress, Received, compose, read_message

AUTHOR = "a@example.com"
NOW = datetime(2024, 1, 1, tzinfo=UTC)
BAD = ("a\rb", "a\nb", "a\r\nBcc: x@example.com", "a\0b", "a\x7fb", "a\x85b", "a\u2028b", "a\ud800b", "\x1b[0m")

HEADER_TEXTS: dict[str, Callable[[str], object]] = {
    "name": lambda bad: NamedAddress(address=AUTHOR, name=bad),
    "address": lambda bad: NamedAddress(address=f"{bad}@example.com"),
    "from_": lambda bad: Draft(from_=bad),
    "sender": lambda bad: Draft(from_=AUTHOR, sender=bad),
    "reply_to[0]": lambda bad: Draft(from_=AUTHOR, reply_to=bad),
    "to[1]": lambda bad: Draft(from_=AUTHOR, to=[AUTHOR, bad]),
    "cc[0]": lambda bad: Draft(from_=AUTHOR, cc=[bad]),
    "bcc[0]": lambda bad: Draft(from_=AUTHOR, bcc=[f'"{bad}"@example.com']),
    "subject": lambda bad: Draft(from_=AUTHOR, subject=bad),
    "message_id": lambda bad: Draft(from_=AUTHOR, message_id=f"<{bad}@example.com>"),
    "references[1]": lambda bad: Draft(from_=AUTHOR, references=["<a@b>", bad]),
    "in_reply_to[0]": lambda bad: Draft(from_=AUTHOR, in_reply_to=bad),
    "headers[0].name": lambda bad: Draft(from_=AUTHOR, headers=[(bad, "x")]),
    "headers[0].value": lambda bad: Draft(from_=AUTHOR, headers=[("X-A", bad)]),
    "user_agent": lambda bad: Draft(from_=AUTHOR, user_agent=bad),
    "received.from_host": lambda bad: Received(from_host=bad, by_host="b.example", date=NOW),
    "received.by_host": lambda bad: Received(from_host="a.example", by_host=bad, date=NOW),
    "received.protocol": lambda bad: Received(from_host="a.example", by_host="b.example", date=NOW, protocol=bad),
    "received.id": lambda bad: Received(from_host="a.example", by_host="b.example", date=NOW, id=bad),
    "received.tls": lambda bad: Received(from_host="a.example", by_host="b.example", date=NOW, tls=bad),
    "received.for_address": lambda bad: Received(
        from_host="a.example", by_host="b.example", date=NOW, for_address=f'"{bad}"@example.com'
    ),
}
FILE_TEXTS: dict[str, Callable[[str], object]] = {
    "name": lambda bad: File(data=b"", name=bad),
    "content_type": lambda bad: File(data=b"", content_type=f'text/plain; x="{bad}"'),
    "content_id": lambda bad: File(data=b"", content_id=f"<{bad}@x>"),
}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", HEADER_TEXTS)
def test_no_text_of_a_header_can_end_a_line_or_hide_something(where: str, bad: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        HEADER_TEXTS[where](bad)
    assert caught.value.field == where


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("where", FILE_TEXTS)
def test_nor_can_one_of_a_file(where: str, bad: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        FILE_TEXTS[where](bad)
    assert caught.value.field == where


@pytest.mark.parametrize("where", ["text", "html"])
def test_texts_are_characters(where: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        Draft(from_=AUTHOR, **{where: "a\ud800"})  # type: ignore[arg-type]
    assert caught.value.field == where


@pytest.mark.parametrize("name", ["", " ", "a b", "a:b", "X-Ü", "n" * 77, "X\t"])
def test_names_of_fields_are_names(name: str) -> None:
    with pytest.raises(InvalidDraft, match="not a name") as caught:
        Draft(from_=AUTHOR, headers=[("X-A", "b"), (name, "x")])
    assert (caught.value.field, caught.value.value) == ("headers[1].name", name)


@pytest.mark.parametrize(
    "name",
    [
        *("From", "to", "CC", "Bcc", "Subject", "Date", "Message-ID", "MIME-Version"),
        *("Content-Type", "content-transfer-encoding", "Content-ID", "Content-anything"),
    ],
)
def test_what_the_composer_writes_is_no_field_of_ones_own(name: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        Draft(from_=AUTHOR, headers=[(name, "x")])
    assert caught.value.field == "headers[0].name"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("Sender", {"sender": AUTHOR}),
        ("Reply-To", {"reply_to": AUTHOR}),
        ("References", {"references": "<a@b>"}),
        ("In-Reply-To", {"in_reply_to": "<a@b>"}),
    ],
)
def test_some_fields_can_be_ones_own_if_the_draft_has_them_not(name: str, given: dict[str, str]) -> None:
    raw = compose(Draft(from_=AUTHOR, headers=[(name, "<x@y>")])).to_bytes()
    assert read_message(raw).values(name) == ("<x@y>",)
    with pytest.raises(InvalidDraft, match="once"):
        Draft(from_=AUTHOR, headers=[(name, "<x@y>")], **given)  # type: ignore[arg-type]
    with pytest.raises(InvalidDraft, match="once") as caught:
        Draft(from_=AUTHOR, headers=[(name, "<x@y>"), (name.lower(), "<z@y>")])
    assert caught.value.field == "headers[1].name"


def test_references_written_by_oneself_are_not_written_again() -> None:
    with pytest.raises(InvalidDraft, match="once"):
        Draft(from_=AUTHOR, references="<a@b>", headers=[("In-Reply-To", "<x@y>")])
    with pytest.raises(InvalidDraft, match="once"):
        Draft(from_=AUTHOR, in_reply_to="<a@b>", headers=[("References", "<x@y>")])


def test_a_word_of_ones_own_field_fits_on_a_line() -> None:
    compose(Draft(from_=AUTHOR, headers=[("List-Unsubscribe", "<https://x.example/" + "u" * 800 + ">")]))
    too_long: tuple[dict[str, Any], ...] = ({"headers": [("X-A", "b " + "c" * 901)]}, {"user_agent": "c" * 901})
    for changes in too_long:
        with pytest.raises(InvalidDraft, match="too long for a line"):
            Draft(from_=AUTHOR, **changes)


@pytest.mark.parametrize(
    "identifier", ["a@b", "<>", "<a>", "<a b@c>", "<a@b", "a@b>", "<<a@b>>", "<a@b><c@d>", "<@" + "x" * 256 + ">"]
)
def test_a_message_identifier_has_its_form(identifier: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        Draft(from_=AUTHOR, message_id=identifier)
    assert (caught.value.field, caught.value.value) == ("message_id", identifier)


def test_identifiers_of_others_may_be_odd_and_lack_their_brackets() -> None:
    draft = Draft(from_=AUTHOR, references=["1", "<2@x@y>"], in_reply_to="3@z")
    assert (draft.references, draft.in_reply_to) == (("<1>", "<2@x@y>"), ("<3@z>",))
    for identifier in ("", "<a@b", "a b", "<a> <b>", "r" * 255):
        with pytest.raises(InvalidDraft):
            Draft(from_=AUTHOR, references=[identifier])


@pytest.mark.parametrize("when", [datetime(2024, 1, 1), datetime(1899, 12, 31, tzinfo=UTC)])
def test_dates_have_a_zone_and_are_of_these_times(when: datetime) -> None:
    with pytest.raises(InvalidDraft) as caught:
        Draft(from_=AUTHOR, date=when)
    assert caught.value.field == "date"
    with pytest.raises(InvalidDraft) as caught:
        Received(from_host="a.example", by_host="b.example", date=when)
    assert caught.value.field == "received.date"


@pytest.mark.parametrize(
    "content_type",
    [
        *("text", "/", "text/", "not a type", "text/plain;charset", "text/plain; a=b; A=c", "text/plain a=b"),
        *("text/plain; =b", 'text/plain; a="b', "text/plain; a*=utf-8''b", "text/plain; ü=b", "te(xt)/plain"),
        *("text/plain; a=b c", "t" * 128 + "/plain", "multipart/mixed", "text/plain; " + "n" * 41 + "=x"),
    ],
)
def test_content_types_are_parsed(content_type: str) -> None:
    with pytest.raises(InvalidDraft) as caught:
        File(data=b"", content_type=content_type)
    assert caught.value.field == "content_type"


@pytest.mark.parametrize(
    ("content_type", "written"),
    [
        ("Text/Plain", b"text/plain"),
        ("text/calendar;METHOD=REQUEST ; charset=utf-8;", b"text/calendar; method=REQUEST; charset=utf-8"),
        ('text/x; a="b\\"c;d"', b'text/x; a="b\\"c;d"'),
        ("text/x; a=b/c", b'text/x; a="b/c"'),
        ('text/x; a="ü"', b"text/x; a*=utf-8''%C3%BC"),
    ],
)
def test_content_types_are_written_anew(content_type: str, written: bytes) -> None:
    raw = compose(Draft(from_=AUTHOR, attachments=File(data=b"x", content_type=content_type))).to_bytes()
    assert b"Content-Type: " + written + b"\r\n" in raw


def test_what_is_told_of_tls_is_short() -> None:
    with pytest.raises(InvalidDraft, match="more than 128") as caught:
        Received(from_host="a.example", by_host="b.example", date=NOW, tls="x" * 129)
    assert caught.value.field == "received.tls"


def test_one_alone_stands_for_a_sequence() -> None:
    file = File(data=b"x")
    draft = Draft(from_=AUTHOR, to=AUTHOR, references="<a@b>", attachments=file)
    assert draft == Draft(
        from_=NamedAddress(address=AUTHOR),
        to=[NamedAddress(address=AUTHOR)],
        references=["<a@b>"],
        attachments=[file],
    )
    assert draft.to == (NamedAddress(address=AUTHOR),)


def test_a_files_text_is_no_data() -> None:
    with pytest.raises(InvalidDraft) as caught:
        File(data="report.pdf")  # type: ignore[arg-type]
    assert caught.value.field == "data"


def test_a_path_has_a_name(tmp_path: Path) -> None:
    assert File(data=tmp_path / "report.pdf").file_name == "report.pdf"
    assert File(data=tmp_path / "report.pdf", name="").file_name == ""
    assert File(data=b"").file_name == ""


def test_the_error_keeps_its_fields() -> None:
    error = InvalidDraft("a reason", "to[1]", value="x" * 100 + "\n")
    assert isinstance(error, InputError)
    assert str(error) == f"cannot compose the message: to[1] '{'x' * 80}': a reason"
    assert str(InvalidDraft("a reason", "date")) == "cannot compose the message: date: a reason"
    copied = pickle.loads(pickle.dumps(error))
    assert (copied.reason, copied.field, copied.value) == (error.reason, error.field, error.value)
