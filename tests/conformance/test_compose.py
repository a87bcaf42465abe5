"""Requests of `webapi_send.json` that mox queued, composed: fields, parts and bodies are those that mox composed."""

import base64
import binascii
import importlib.util
import json
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from moxlib.message import Draft, File, InvalidDraft, NamedAddress, compose, detect_content_type, read_message
from moxlib.testing import FakeClock

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parents[2] / "shared" / "vectors" / "webapi_send.json"


def loaded(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def cases() -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text("utf-8"))
    return {case["name"]: case for case in found if case.get("queued")}


def draft_of(case: dict[str, Any]) -> Draft:
    """Return the draft that a `Send` request is."""
    request = json.loads(case["request"].encode("utf-8", "surrogatepass").decode("utf-8", "replace"))
    files = {
        field: [_file(file) for file in request.get(key) or ()]
        + [_upload(upload) for upload in case["files"] if upload["field"] == field]
        for key, field in (
            ("AlternativeFiles", "alternativefile"),
            ("InlineFiles", "inlinefile"),
            ("AttachedFiles", "attachedfile"),
        )
    }
    login = case["login"]
    full_name = "Mjl Full Näme" if login.startswith("mjl") else ""
    [author] = request.get("From") or [{"Name": full_name, "Address": login}]
    return Draft(
        from_=_address(author),
        reply_to=[_address(one) for one in request.get("ReplyTo") or ()],
        to=[_address(one) for one in request.get("To") or ()],
        cc=[_address(one) for one in request.get("CC") or ()],
        bcc=[_address(one) for one in request.get("BCC") or ()],
        subject=request.get("Subject") or "",
        date=datetime.fromisoformat(request["Date"]) if request.get("Date") else None,
        message_id=request.get("MessageID") or "",
        references=request.get("References") or (),
        headers=[(name, value) for name, value, *_ in request.get("Headers") or ()],
        user_agent="mox/VERSION",
        text=_no_surrogates(request.get("Text") or ""),
        html=request.get("HTML") or "",
        alternatives=files["alternativefile"],
        inline=files["inlinefile"],
        attachments=files["attachedfile"],
    )


def _no_surrogates(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _address(given: dict[str, str]) -> NamedAddress:
    return NamedAddress(name=given.get("Name") or "", address=given["Address"])


def _file(given: dict[str, str]) -> File:
    data = binascii.a2b_base64(given["Data"])
    return File(
        data=data,
        name=given.get("Name") or "",
        content_type=given.get("ContentType") or detect_content_type(given.get("Name") or "", data),
        content_id=given.get("ContentID") or "",
    )


def _upload(given: dict[str, Any]) -> File:
    data = base64.b64decode(given["data"])
    given_type = given["headers"].get("Content-Type") or detect_content_type(given["filename"], data)
    return File(data=data, name=given["filename"], content_type=given_type)


if VECTORS.is_file():  # else there is nothing to collect, which is no skipped test
    CASES = cases()
    composed = loaded("composed")

    @pytest.mark.parametrize("eight_bit", [True, False])
    @pytest.mark.parametrize("name", [name for name, case in CASES.items() if "mox_quirk" not in case])
    def test_a_request_becomes_the_message_that_mox_makes_of_it(name: str, eight_bit: bool) -> None:
        case = CASES[name]
        ours = compose(
            draft_of(case), eight_bit=eight_bit, keep_encoded_words=True, hostname="mox.example", clock=FakeClock()
        )
        theirs = base64.b64decode(case["queued"][0]["raw"])
        assert composed.content(ours.to_bytes()) == composed.content(theirs)
        assert ours.needs_smtputf8 == case["queued"][0]["smtputf8"]
        if not eight_bit:  # mox counts 8-bit text as 7-bit
            assert ours.needs_8bit == case["queued"][0]["has8bit"]
        assert ours.size == len(ours.to_bytes())

    # What we do where the vectors mark mox's behaviour as a mistake.

    @pytest.mark.parametrize(
        ("name", "field"),
        [
            ("attach-ct-invalid", "content_type"),
            ("msgid-empty-brackets", "message_id"),
            ("msgid-weird", "message_id"),
            ("headers-badname-nodkim", "headers[0].name"),
            ("headers-emptyname-nodkim", "headers[0].name"),
            ("headers-utf8-name-nodkim", "headers[0].name"),
        ],
    )
    def test_what_mox_writes_unchecked_is_refused(name: str, field: str) -> None:
        with pytest.raises(InvalidDraft) as caught:
            draft_of(CASES[name])
        assert caught.value.field == field

    @pytest.mark.parametrize("name", ["headers-long", "references-nobrackets", "text-nul", "attach-base64-newlines"])
    def test_what_mox_writes_badly_is_written_well(name: str) -> None:
        case = CASES[name]
        raw = compose(draft_of(case)).to_bytes()
        message = read_message(raw)
        assert max(map(len, raw.split(b"\r\n"))) <= 78
        match name:
            case "headers-long":
                assert message.get("x-long") == json.loads(case["request"])["Headers"][0][1].strip()
            case "references-nobrackets":
                assert message.references == ("<r1@x.example>", "<r2@x.example>")
            case "text-nul":
                assert message.transfer_encoding == "quoted-printable"
                assert message.body(100) == b"a\0b\r\n"
            case _:
                lines = message.parts[1].raw_body().split(b"\r\n")
                assert [len(line) for line in lines] == [76, 76, 76, 28, 0]

    def test_crlf_in_texts_is_one_line_end() -> None:
        raw = compose(draft_of(CASES["html-crlf-nodkim"])).to_bytes()
        assert raw.endswith(b"\r\n\r\n<p>\r\n</p>\r\n")

    def test_what_is_of_no_known_type_has_no_empty_content_type() -> None:
        raw = compose(draft_of(CASES["attach-unknown-bin"])).to_bytes()
        assert b"Content-Type: \r\n" not in raw
        assert b"Content-Type:\r\n" not in raw
