"""What the email package composes is read back equal; how a source or a body is cut does not matter."""

import base64
import binascii
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import TYPE_CHECKING, Any, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from moxlib.message import Part, decode_words, read_message, readable, structure
from moxlib.message.transfer import decode_chunks

if TYPE_CHECKING:
    from email.policy import EmailPolicy

    AnyPolicy: TypeAlias = EmailPolicy[Any]  # generic to type checkers only, before Python 3.13

words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=12)
texts = st.lists(words, min_size=1, max_size=8).map(" ".join)
bodies = st.lists(texts | st.just(""), max_size=5).map(lambda lines: "".join(line + "\n" for line in lines))
filenames = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="/=?"), min_size=2)
names = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=10)
policies: "list[AnyPolicy]" = [policy.SMTP, policy.SMTPUTF8, policy.default]


@st.composite
def leaves(draw: st.DrawFn) -> EmailMessage:
    message = EmailMessage()
    kind = draw(st.sampled_from(["plain", "html", "octets", "message"]))
    if kind == "octets":
        message.set_content(
            draw(st.binary(max_size=200)),
            maintype="application",
            subtype="x-any",
            cte="base64",
            disposition="attachment",
            filename=draw(filenames),
        )
    elif kind == "message":
        inner = EmailMessage()
        inner["Subject"] = "inner"
        inner.set_content(draw(bodies))
        message.set_content(inner)
    else:
        cte = draw(st.sampled_from(["8bit", "base64", "quoted-printable"]))
        message.set_content(draw(bodies), subtype=kind, charset="utf-8", cte=cte)
    return message


@st.composite
def multiparts(draw: st.DrawFn, children: st.SearchStrategy[EmailMessage]) -> EmailMessage:
    message = EmailMessage()
    message["Content-Type"] = f"multipart/{draw(st.sampled_from(['mixed', 'alternative', 'related']))}"
    for child in draw(st.lists(children, min_size=1, max_size=3)):
        message.attach(child)
    return message


trees = st.recursive(leaves(), multiparts, max_leaves=6)


def composed(message: Any) -> object:
    """Return what was put into a message: types, names and decoded contents."""
    if message.is_multipart() and message.get_content_maintype() == "multipart":
        return message.get_content_type(), [composed(child) for child in message.iter_parts()]
    if message.get_content_type() == "message/rfc822":
        inner = message.get_content()
        return "message/rfc822", inner["subject"], inner.get_content()
    content = message.get_content()
    return message.get_content_type(), message.get_filename() or "", content


def as_read(part: Part) -> object:
    if part.is_multipart:
        return part.media_type, [as_read(child) for child in part.parts]
    if part.message is not None:
        inner = part.message
        return part.media_type, inner.envelope.subject, inner.text(100_000).replace("\r\n", "\n")
    if part.media_type.startswith("text/"):
        return part.media_type, part.filename, part.text(100_000).replace("\r\n", "\n")
    return part.media_type, part.filename, part.body(100_000)


@given(tree=trees, policy_=st.sampled_from(policies))
def test_a_composed_tree_is_read_back(tree: EmailMessage, policy_: "AnyPolicy") -> None:
    written = tree.as_bytes(policy=policy_)
    expected = composed(tree)
    assert _without_last_newline(as_read(read_message(written))) == _without_last_newline(expected)


def _without_last_newline(shape: object) -> object:
    """The package writes the line end before a delimiter only if the body does not end in one."""
    match shape:
        case str():
            return shape.rstrip("\n")
        case tuple() | list():
            return [_without_last_newline(one) for one in shape]
        case _:
            return shape


@given(
    subject=texts,
    name=texts,
    user=names,
    others=st.lists(st.tuples(texts, names), max_size=4),
    policy_=st.sampled_from(policies[:2]),
)
def test_composed_headers_are_read_back(
    subject: str, name: str, user: str, others: list[tuple[str, str]], policy_: "AnyPolicy"
) -> None:
    message = EmailMessage(policy=policy_.clone(max_line_length=0))
    message["Subject"] = subject
    message["From"] = Address(name, user, "example.com")
    message["To"] = [Address(other, localpart, "example.org") for other, localpart in others]
    message["Date"] = "Mon, 01 Jan 2024 10:00:00 +0100"
    envelope = read_message(message.as_bytes()).envelope
    assert envelope.from_ == ((name, user, "example.com"),)
    assert [(one.name, one.user) for one in envelope.to] == others
    assert envelope.subject == subject
    assert envelope.date == message["Date"].datetime


@given(st.lists(words, min_size=1, max_size=5), st.sampled_from("bq"), st.integers(1, 5))
def test_words_are_decoded_wherever_they_are_cut(pieces: list[str], encoding: str, cut: int) -> None:
    data = "".join(pieces).encode()
    parts = [data[start : start + cut] for start in range(0, len(data), cut)]
    if encoding == "b":
        encoded = [base64.b64encode(part).decode() for part in parts]
    else:
        encoded = ["".join(f"={octet:02X}" for octet in part) for part in parts]
    assert decode_words("\t ".join(f"=?utf-8?{encoding}?{text}?=" for text in encoded)) == data.decode()


@given(st.binary(max_size=300), st.sampled_from(["base64", "quoted-printable"]), st.integers(1, 80))
def test_any_octets_are_decoded_alike_however_they_are_cut(data: bytes, encoding: str, cut: int) -> None:
    chunks = [data[start : start + cut] for start in range(0, len(data), cut)]
    assert b"".join(decode_chunks(encoding, chunks)) == b"".join(decode_chunks(encoding, [data]))


@given(st.binary(max_size=300), st.integers(1, 80))
def test_what_was_encoded_is_decoded(data: bytes, cut: int) -> None:
    for encoding, encoded in (
        ("base64", base64.encodebytes(data)),
        ("base64", binascii.b2a_base64(data, newline=False).rstrip(b"=")),
        ("quoted-printable", "".join(f"={octet:02x}" for octet in data).encode()),
    ):
        chunks = [encoded[start : start + cut] for start in range(0, len(encoded), cut)]
        assert b"".join(decode_chunks(encoding, chunks)) == data


class Shredded:
    """A positional file that gives few octets at a time."""

    def __init__(self, data: bytes, at_most: int) -> None:
        self.data = data
        self.at_most = at_most

    def read_at(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + min(size, self.at_most)]


@given(tree=trees, at_most=st.integers(1, 50))
def test_a_file_is_read_as_its_octets_are(tree: EmailMessage, at_most: int) -> None:
    written = tree.as_bytes(policy=policy.SMTP)
    memory, file = read_message(written), read_message(Shredded(written, at_most))
    assert structure(memory) == structure(file)
    assert readable(memory) == readable(file)
    offsets = [(part.header_start, part.body_start, part.end) for part in memory.walk()]
    assert offsets == [(part.header_start, part.body_start, part.end) for part in file.walk()]
