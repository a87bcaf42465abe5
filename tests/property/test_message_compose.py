"""What is composed reads back as it was given: by our own reader, and by the standard library's parser."""

import re
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import given
from hypothesis import strategies as st

from moxlib.message import Draft, File, NamedAddress, Part, check_lines, compose, inspect_header, read_message

# Any character but controls, line separators and surrogates, of which a header cannot have one.
characters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Zl", "Zp"))
blanks_and_letters = st.sampled_from(' ab"\\=?_<>@,;:().é漢\u00a0')
texts = st.text(characters, max_size=120) | st.text(blanks_and_letters, max_size=200)
words = st.lists(st.text(characters, min_size=1, max_size=20), max_size=20).map(" ".join)
headings = texts | words
lines = st.lists(st.text(characters | st.just("\t"), max_size=100), max_size=5)
bodies = lines.flatmap(lambda found: st.sampled_from(("\n", "\r\n", "\r")).map(lambda end: end.join(found)))
addresses = st.sampled_from(
    ["jane@example.org", '"a b"@example.org', "x@bücher.example", "a.b+c@xn--bcher-kva.example"]
)
names = st.sampled_from(["X-A", "x-b", "List-Id", "X-" + "n" * 60])
KEPT = re.compile(r"[^ \t]")


def parsed(raw: bytes) -> EmailMessage:
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def lines_of(text: str) -> str:
    """Return a text with LF line ends, the last line ended."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return text if text.endswith("\n") else text + "\n"


def single(text: str) -> str:
    """Return a name as readers have it."""
    return " ".join(text.split())


def fields_of(part: Part) -> list[str]:
    return [name.decode() for name in re.findall(rb"^([!-9;-~]+):", part.header, re.MULTILINE)]


@given(headings, st.booleans())
def test_a_subject_is_read_back(subject: str, utf8: bool) -> None:
    raw = compose(Draft(from_="a@example.com", subject=subject), smtputf8=utf8).to_bytes()
    assert read_message(raw).envelope.subject == subject.strip(" ")
    if not utf8 and KEPT.search(subject):
        assert str(parsed(raw)["Subject"]).strip(" ") == subject.strip(" ")


@given(st.lists(st.tuples(headings, addresses), min_size=1, max_size=10), st.booleans())
def test_names_and_addresses_are_read_back(people: list[tuple[str, str]], utf8: bool) -> None:
    to = [NamedAddress(address=address, name=name) for name, address in people]
    raw = compose(Draft(from_=to[0], to=to), smtputf8=utf8).to_bytes()
    found = read_message(raw).envelope
    assert [(one.name, one.address) for one in found.to] == [(single(one.name), str(one.parsed)) for one in to]
    assert found.from_ == found.to[:1]
    if not utf8:
        theirs = parsed(raw)["To"].addresses
        # Blanks between the encoded words of a name are read by some releases, though they are not to be.
        assert ["".join(one.display_name.split()) for one in theirs] == ["".join(one.name.split()) for one in to]
        assert [one.domain for one in theirs] == [one.parsed.domain.ascii for one in to]


@given(st.lists(st.tuples(names, headings), max_size=8), st.booleans())
def test_fields_of_ones_own_are_read_back_and_are_the_only_ones(headers: list[tuple[str, str]], utf8: bool) -> None:
    message = compose(Draft(from_="a@example.com", headers=headers, user_agent=""), smtputf8=utf8)
    read = read_message(message.to_bytes())
    assert fields_of(read) == [
        *("From", "Date", "Message-Id", "MIME-Version"),
        *(name for name, _ in headers),
        *("Content-Type", "Content-Transfer-Encoding"),
    ]
    for name in {name.lower() for name, _ in headers}:
        given_values = [value for own, value in headers if own.lower() == name]
        for value, got in zip(given_values, read.values(name), strict=True):
            if value.isascii() or utf8:
                assert got == value.strip(" ")
    inspect_header(message.to_bytes())


@given(headings, st.binary(max_size=300), st.sampled_from(["attachments", "inline", "alternatives"]))
def test_files_are_read_back(name: str, data: bytes, where: str) -> None:
    message = compose(Draft(from_="a@example.com", text="x", **{where: File(data=data, name=name)}))  # type: ignore[arg-type]
    raw = message.to_bytes()
    assert len(raw) == message.size
    part = read_message(raw).parts[1]
    assert part.disposition_parameters.get("filename", "") == name
    assert part.body(1000) == data
    theirs = list(parsed(raw).iter_parts())[1]
    if not name.startswith(("<", '"')):  # which it takes for quotes about the name, and takes off
        assert (theirs.get_filename() or "").strip() == name.strip()
    assert theirs.get_payload(decode=True) == data


@given(bodies, bodies, st.booleans())
def test_texts_are_read_back(text: str, html: str, eight_bit: bool) -> None:
    raw = compose(Draft(from_="a@example.com", text=text, html=html), eight_bit=eight_bit).to_bytes()
    read, theirs = read_message(raw), parsed(raw)
    expected = [lines_of(one) for one in (text, html) if one] or ["\n"]
    found = list(read.parts) if read.is_multipart else [read]
    assert [part.text(100_000).replace("\r\n", "\n") for part in found] == expected
    leaves = list(theirs.iter_parts()) if theirs.is_multipart() else [theirs]
    assert [leaf.get_payload(decode=True).decode().replace("\r\n", "\n") for leaf in leaves] == expected  # type: ignore[union-attr]
    assert eight_bit or raw.isascii()
    check_lines(raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@given(headings, headings, headings, st.booleans())
def test_lines_are_short_and_ascii_without_smtputf8(subject: str, name: str, file_name: str, utf8: bool) -> None:
    message = compose(
        Draft(
            from_=NamedAddress(address="x@bücher.example", name=name),
            subject=subject,
            text="x",
            attachments=File(data=b"", name=file_name),
        ),
        smtputf8=utf8,
    )
    raw = message.to_bytes()
    check_lines(raw)
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert message.needs_smtputf8 == (not message.header.isascii())
    assert utf8 or raw.isascii()
