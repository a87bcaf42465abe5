"""Where the demo's messages come from."""

from email import message_from_bytes, policy
from pathlib import Path

import pytest

from moxlib.cli.demo.load import load, shipped
from moxlib.errors import InputError
from moxlib.message import check_lines, inspect_header

FIRST = b"From: a@a.example\nSubject: one\n\nfirst\n"
SECOND = b"From: b@b.example\nSubject: two\n\nsecond\n"


def test_the_messages_that_ship_are_sound_and_of_invented_people() -> None:
    samples = shipped()
    assert len(samples) == 6
    assert len({sample.name for sample in samples}) == 6
    for sample in samples:
        assert check_lines(sample.content).ends_in_crlf
        sender, recipients = inspect_header(sample.content).envelope()
        assert all(address.endswith(".example") for address in (sender, *recipients)), sample.name
        for part in message_from_bytes(sample.content, policy=policy.default).walk():
            assert part.defects == [], sample.name
            if not part.is_multipart():
                assert part.get_content()


def test_they_are_of_many_kinds() -> None:
    contents = [sample.content for sample in shipped()]
    assert any(not content.isascii() for content in contents)
    assert any(b"\r\n." in content for content in contents)  # dots at the start of a line
    assert any(not inspect_header(content).message_id for content in contents)
    assert any(b"multipart/mixed" in content for content in contents)


def test_a_directory_gives_its_eml_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.eml").write_bytes(SECOND)
    (tmp_path / "a.EML").write_bytes(FIRST)
    (tmp_path / "notes.txt").write_bytes(b"no message")
    (tmp_path / "c.eml").mkdir()
    samples = load(tmp_path)
    assert [(s.name, s.content) for s in samples] == [
        ("a.EML", FIRST.replace(b"\n", b"\r\n")),
        ("b.eml", SECOND.replace(b"\n", b"\r\n")),
    ]


def test_a_file_is_one_message_and_its_last_line_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"From: a@a.example\r\n\r\nno line end")
    [sample] = load(path)
    assert sample.content == b"From: a@a.example\r\n\r\nno line end\r\n"


def test_an_mbox_gives_its_messages(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_bytes(b"".join(b"From x@x.example Thu Jan  1 00:00:00 2026\n" + m + b"\n" for m in (FIRST, SECOND)))
    assert [(s.name, s.content) for s in load(path)] == [
        ("archive:1", FIRST.replace(b"\n", b"\r\n")),
        ("archive:2", SECOND.replace(b"\n", b"\r\n")),
    ]
    assert path.read_bytes().count(b"From x@") == 2  # it is only read


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_nothing_to_send_is_an_error(tmp_path: Path, make: object) -> None:
    path = tmp_path / "empty"
    assert callable(make)
    make(path)
    with pytest.raises(InputError, match="no messages"):
        load(path)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.eml: cannot be read: No such file"):
        load(tmp_path / "gone.eml")
