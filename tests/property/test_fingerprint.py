"""`message_digest`: the same for the same message, whenever it is built, and for no other one."""

from dataclasses import dataclass
from email.message import EmailMessage
from email.message import Message as LegacyMessage
from email.mime.multipart import MIMEMultipart
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from moxlib.queue.fingerprint import message_digest

# Few and short, and such as the digest itself uses: what could be taken for something else then often comes.
WORDS = ["a", "b", "1 parts", "2 parts", "None"]
headers = st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(WORDS)), max_size=2)


@dataclass(frozen=True)
class Part:
    """A message or a part of one, as data."""

    headers: tuple[tuple[str, str], ...]
    inner: "str | tuple[Part, ...]"


leaves = st.builds(Part, headers.map(tuple), st.sampled_from(["", *WORDS]))
messages = st.recursive(
    leaves,
    lambda inner: st.builds(Part, headers.map(tuple), st.lists(inner, min_size=1, max_size=3).map(tuple)),
    max_leaves=6,
)


def build(part: Part, class_: type[LegacyMessage]) -> LegacyMessage:
    """Return the message, with headers that come anew each time."""
    message = class_()
    for name, value in part.headers:
        message[name] = value
    if isinstance(part.inner, str):
        message.set_payload(part.inner)
        return message
    container = MIMEMultipart()
    message["Content-Type"] = container["Content-Type"]
    for inner in part.inner:
        message.attach(build(inner, class_))
    return message


A, C, D = Part((), "a"), Part((), "c"), Part((), "d")


@given(messages, messages, st.sampled_from([EmailMessage, LegacyMessage]))
@example(Part((), (Part((("a", "b"),), "c"), D)), Part((), (A, Part((("b", "c"),), "d"))), EmailMessage)
@example(Part((), (Part((), "1 parts"), C)), Part((), (Part((), (C,)),)), EmailMessage)
@example(Part((), (Part((), (C,)), D)), Part((), (Part((), (C, D)),)), EmailMessage)
def test_two_messages_look_the_same_just_when_they_are(one: Part, other: Part, class_: type[LegacyMessage]) -> None:
    assert message_digest(build(one, class_)) == message_digest(build(one, class_))
    assert (message_digest(build(one, class_)) == message_digest(build(other, class_))) is (one == other)


text = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
attachments = st.lists(st.one_of(st.binary(max_size=40), text), max_size=3)


def compose(number: int, subject: str, body: str, html: str | None, files: list[Any]) -> EmailMessage:
    """Compose a message, as the `number`th try to send it does."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "shop@here.example", "a@one.example", subject
    message["Message-ID"] = f"<{number}@here.example>"
    message["Date"] = f"Thu, {number} Jan 2026 12:00:00 +0000"
    message.set_content(body)
    if html is not None:
        message.add_alternative(html, subtype="html")
    for n, file in enumerate(files):
        if isinstance(file, bytes):
            message.add_attachment(file, maintype="application", subtype="octet-stream", filename=f"{n}.bin")
        else:
            message.add_attachment(file, filename=f"{n}.txt")
    return message


contents = st.tuples(text, text, st.one_of(st.none(), text), attachments)


@given(contents, contents)
def test_a_message_composed_anew_is_the_same_and_another_is_not(one: Any, other: Any) -> None:
    first, again, second = compose(1, *one), compose(2, *one), compose(1, *other)
    digest = message_digest(first)
    first.as_bytes()  # which gives it its boundaries
    assert message_digest(first) == message_digest(again) == digest
    assert (message_digest(second) == digest) is (one == other or first.as_string() == second.as_string())
