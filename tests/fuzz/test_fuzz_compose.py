"""Whatever texts a draft is made of, it is refused with our error, or has no fields and parts but its own."""

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.message import (
    Draft,
    File,
    NamedAddress,
    Received,
    check_lines,
    compose,
    detect_content_type,
    inspect_header,
    read_message,
)

PIECES = [
    *(
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\t",
        " ",
        "\x0b",
        "\x85",
        "\u2028",
        "\ud800",
        "\x1b",
        '"',
        "\\",
        "(",
        ")",
        "<",
        ">",
        ",",
    ),
    *(
        ";",
        ":",
        "@",
        "=?utf-8?q?",
        "?=",
        "=0D=0A",
        "=_a",
        "--",
        "Bcc: x@y.example",
        "a@b.example",
        "text/plain; a=",
        "é",
    ),
    *("漢", "xn--", "a" * 80, "b" * 1000, " ;\r\n x=", "multipart/", "message/", "[", "]", "*0*=utf-8''%0d", "%0A"),
]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join)
FIELD = re.compile(rb"^([!-9;-~]+):", re.MULTILINE)
WRITTEN = {
    *(
        "Received",
        "From",
        "Sender",
        "Reply-To",
        "To",
        "Cc",
        "Subject",
        "Date",
        "Message-Id",
        "References",
        "In-Reply-To",
    ),
    *("MIME-Version", "X-Own", "User-Agent", "Content-Type", "Content-Transfer-Encoding"),
}
OF_FILES = {"Content-Type", "Content-Disposition", "Content-Id", "Content-Transfer-Encoding"}


# Each a text that is as it should be, of which an example has one or two that are not.
SANE = {
    "address": "a@b.example",
    "name": "A B",
    "to": "jörg@b.example",
    "to_name": "Jörg, B.",
    "sender": "s@b.example",
    "subject": "A subject",
    "message_id": "<1@b.example>",
    "reference": "<2@b.example>",
    "header_name": "X-Own",
    "header_value": "a value",
    "user_agent": "agent/1.0",
    "text": "Text.",
    "html": "<p>",
    "file_name": "x.png",
    "content_type": "image/png",
    "content_id": "<3@b.example>",
    "from_host": "a.example",
    "protocol": "ESMTP",
    "id": "4",
    "tls": "TLS1.3",
}


def draft_of(texts: dict[str, str], data: bytes) -> Draft:
    file = File(data=data, name=texts["file_name"], content_type=texts["content_type"], content_id=texts["content_id"])
    return Draft(
        from_=NamedAddress(address=texts["address"], name=texts["name"]),
        sender=texts["sender"],
        to=[NamedAddress(address=texts["to"], name=texts["to_name"])],
        bcc=texts["sender"],
        subject=texts["subject"],
        message_id=texts["message_id"],
        references=[texts["reference"]],
        headers=[(texts["header_name"], texts["header_value"])],
        user_agent=texts["user_agent"],
        text=texts["text"],
        html=texts["html"],
        inline=file,
        attachments=[file, file],
        received=Received(
            from_host=texts["from_host"],
            by_host="b.example",
            date=datetime(2024, 1, 1, tzinfo=UTC),
            protocol=texts["protocol"],
            id=texts["id"],
            tls=texts["tls"],
            for_address=texts["to"],
        ),
    )


@given(
    st.dictionaries(st.sampled_from(sorted(SANE)), texts, max_size=2),
    st.binary(max_size=30),
    st.sampled_from([None, True, False]),
    st.booleans(),
)
def test_a_draft_is_refused_or_says_what_it_says(
    hostile: dict[str, str], data: bytes, smtputf8: bool | None, keep: bool
) -> None:
    try:
        draft = draft_of(SANE | hostile, data)
        message = compose(draft, smtputf8=smtputf8, keep_encoded_words=keep)
    except InputError:
        return
    raw = message.to_bytes()
    assert len(raw) == message.size
    assert check_lines(raw).eight_bit <= message.needs_8bit
    assert inspect_header(raw).size == len(message.header)
    assert max(map(len, message.header.split(b"\r\n"))) <= 998
    root = read_message(raw)
    assert {name.decode() for name in FIELD.findall(root.header)} <= WRITTEN | {name for name, _ in draft.headers}
    leaves = [part for part in root.walk() if not part.is_multipart]
    assert len(leaves) == bool(draft.text) + bool(draft.html) + 3 or (not draft.text and not draft.html)
    for part in leaves[-3:]:
        assert {name.decode() for name in FIELD.findall(part.header)} <= OF_FILES


@given(texts, st.binary(max_size=600))
def test_any_name_and_octets_have_a_type_or_none(name: str, head: bytes) -> None:
    found = detect_content_type(name, head)
    if found:
        File(data=head, content_type=found)
