"""What JSON is a request, what a result is as JSON, and what is wrong with the rest."""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier, Event, Lock
from typing import Any

import msgspec
import pytest

from moxlib.errors import InputError
from moxlib.webapi import (
    Code,
    Codec,
    Fault,
    File,
    Message,
    MessageFlagsAddRequest,
    MessageGetRequest,
    MessageGetResult,
    MessageMeta,
    MessagePartGetRequest,
    NameAddress,
    SendBatchRequest,
    SendBatchResult,
    SendRawRequest,
    SendRequest,
    SendResult,
    Structure,
    Submission,
    Suppression,
    SuppressionListRequest,
    SuppressionListResult,
    SuppressionPresentRequest,
    WebAPIError,
)
from moxlib.webapi.codec import MAX_DEPTH

ADDRESS = NameAddress(name="Mjl", address="mjl@mox.example")
WHEN = datetime(2024, 1, 2, 3, 4, 5, 250_000, tzinfo=timezone(timedelta(hours=1)))


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec()


def refused(codec: Codec, body: str | bytes, type_: type = SendRequest) -> WebAPIError:
    with pytest.raises(WebAPIError) as caught:
        codec.decode_request(type_, body)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    return caught.value


def test_a_request_in_full(codec: Codec) -> None:
    request = SendRequest(
        from_=(ADDRESS,),
        to=(ADDRESS, NameAddress(address="ü@b.example")),
        cc=(ADDRESS,),
        bcc=(ADDRESS,),
        reply_to=(ADDRESS,),
        message_id="<1@mox.example>",
        references=("<a@b>", "<c@d>"),
        date=WHEN,
        subject="¡hello!",
        text="hi\n",
        html="<p>hi",
        extra={"b": "2", "a": "1"},
        headers=(("X-A", "b"), ("X-A", "")),
        alternative_files=(File(data=b"ics"),),
        inline_files=(File(name="i.png", content_type="image/png", content_id="<i>", data=b"\x89PNG"),),
        attached_files=(File(name="", data=b""),),
        require_tls=False,
        future_release=WHEN.astimezone(UTC),
        save_sent=True,
    )
    value = json.loads(codec.encode_request(request))
    name = {"Name": "Mjl", "Address": "mjl@mox.example"}
    assert value == {
        "From": [name],
        "To": [name, {"Address": "ü@b.example"}],
        "CC": [name],
        "BCC": [name],
        "ReplyTo": [name],
        "MessageID": "<1@mox.example>",
        "References": ["<a@b>", "<c@d>"],
        "Date": "2024-01-02T03:04:05.25+01:00",
        "Subject": "¡hello!",
        "Text": "hi\n",
        "HTML": "<p>hi",
        "Extra": {"a": "1", "b": "2"},
        "Headers": [["X-A", "b"], ["X-A", ""]],
        "AlternativeFiles": [{"Data": "aWNz"}],
        "InlineFiles": [{"Name": "i.png", "ContentType": "image/png", "ContentID": "<i>", "Data": "iVBORw=="}],
        "AttachedFiles": [{"Data": ""}],
        "RequireTLS": False,
        "FutureRelease": "2024-01-02T02:04:05.25Z",
        "SaveSent": True,
    }
    assert list(value) == list(dict.fromkeys(value)), "mox's order"
    assert list(value["Extra"]) == ["a", "b"]
    assert codec.decode_request(SendRequest, codec.encode_request(request)) == request


def test_what_is_empty_is_not_sent(codec: Codec) -> None:
    assert codec.encode_request(SendRequest()) == b"{}"
    assert codec.encode_request(SendRawRequest(message=b"")) == b'{"Message":""}'
    assert codec.encode_request(MessageGetRequest(msg_id=0)) == b'{"MsgID":0}'
    assert codec.encode_request(SuppressionPresentRequest(email_address="")) == b'{"EmailAddress":""}'
    assert codec.encode_request(SendBatchRequest(requests=(SendRequest(),))) == b'{"Requests":[{}]}'


def test_a_result_is_whole_and_never_null(codec: Codec) -> None:
    result = MessageGetResult(message=Message(), structure=Structure(parts=(Structure(),)), meta=MessageMeta())
    value = json.loads(codec.encode_result(result))
    assert value["Message"] == {
        "From": [], "To": [], "CC": [], "BCC": [], "ReplyTo": [], "MessageID": "", "References": [], "Date": None,
        "Subject": "", "Text": "", "HTML": "",
    }  # fmt: skip
    assert value["Structure"]["Parts"][0]["ContentTypeParams"] == {}
    assert value["Structure"]["Parts"][0]["Parts"] == []
    assert value["Meta"]["Flags"] == []
    assert value["Meta"]["DKIMVerifiedDomains"] == []
    assert codec.decode_result(MessageGetResult, codec.encode_result(result)) == result


def test_results_of_a_batch_are_results_or_errors(codec: Codec) -> None:
    sent = SendResult(message_id="<1@a>", submissions=(Submission(address="a@b", queue_msg_id=1),))
    result = SendBatchResult(results=(sent, Fault(code=Code.BAD_FROM, message="no"), Fault(code="new", message="")))
    value = json.loads(codec.encode_result(result))
    assert value["Results"][0] == {
        "Result": {"MessageID": "<1@a>", "Submissions": [{"Address": "a@b", "QueueMsgID": 1, "FromID": ""}]},
        "Error": None,
    }
    assert value["Results"][1] == {"Result": None, "Error": {"Code": "badFrom", "Message": "no"}}
    assert codec.decode_result(SendBatchResult, json.dumps(value)) == result


@pytest.mark.parametrize("outcome", ["{}", "null", '{"Result":null}', '{"Result":{},"Error":{}}'])
def test_an_outcome_that_is_neither_or_both_is_refused(codec: Codec, outcome: str) -> None:
    with pytest.raises(InputError, match=r"Results\[1\] has to have either"):
        codec.decode_result(SendBatchResult, f'{{"Results":[{{"Result":{{}}}},{outcome}]}}')


# what is absent


@pytest.mark.parametrize("body", ["null", "{}", " {} \n", '{"Text":null,"To":null,"Date":null,"Extra":null}'])
def test_null_is_as_good_as_absent(codec: Codec, body: str) -> None:
    assert codec.decode_request(SendRequest, body) == SendRequest()


def test_what_a_request_has_to_have_is_empty_where_it_is_absent(codec: Codec) -> None:
    assert codec.decode_request(MessageGetRequest, "{}") == MessageGetRequest(msg_id=0)
    assert codec.decode_request(SuppressionPresentRequest, "null").email_address == ""
    assert codec.decode_request(SendRawRequest, "{}").message == b""
    assert codec.decode_request(SendRequest, '{"To":[{},null],"AttachedFiles":[null]}') == SendRequest(
        to=(NameAddress(address=""),) * 2, attached_files=(File(data=b""),)
    )


def test_null_within_collections_is_empty(codec: Codec) -> None:
    body = '{"References":[null,"<a>"],"Extra":{"a":null},"Headers":[["a",null],null],"RequireTLS":null}'
    assert codec.decode_request(SendRequest, body) == SendRequest(
        references=("", "<a>"), extra={"a": ""}, headers=(("a", ""), ("", ""))
    )


def test_a_result_of_mox_may_say_null(codec: Codec) -> None:
    got = codec.decode_result(SuppressionListResult, '{"Suppressions":[{"ID":1,"Account":null}]}')
    zero = datetime(1, 1, 1, tzinfo=UTC)
    assert got.suppressions == (Suppression(id=1, created=zero, account="", base_address="", original_address=""),)


# what is refused


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ('{"text":"x"}', "unknown field `text`"),  # names are compared exactly
        ('{"Bogus":1}', "unknown field `Bogus`"),
        ('{"To":[{"Address":"a@b","Bogus":1}]}', r"unknown field `Bogus` - at `\$.To\[0\]`"),
        ('{"Message":{}}', "unknown field `Message`"),
        ("{} {}", "trailing"),
        ("{}x", "trailing"),
        ("", "truncated"),
        ('{"Text":"x"', "truncated"),
        ("[]", "object"),
        ("1", "object"),
        ('"x"', "object"),
        ('{"Text":1}', "str"),
        ('{"Text":["x"]}', "str"),
        ('{"SaveSent":1}', "bool"),
        ('{"SaveSent":"true"}', "bool"),
        ('{"Headers":{"A":"b"}}', "array"),
        ('{"Headers":[["A"]]}', "length 2"),
        ('{"Headers":[["A","b","c"]]}', "length 2"),
        ('{"Extra":["a"]}', "object"),
        ('{"Extra":{"a":1}}', "str"),
        ('{"To":{"Address":"a@b"}}', "array"),
        ('{"Date":"yesterday"}', "^protocol: request: Date is no time"),
        ('{"Date":"2024-01-02T03:04:05"}', "Date is no time"),
        ('{"Date":"2024-01-02t03:04:05z"}', "Date is no time"),
        ('{"Date":"0000-01-02T03:04:05Z"}', "Date is no time"),
        ('{"Date":"2024-02-30T03:04:05Z"}', "Date is no time"),
        ('{"Date":1704164645}', "str"),
        ('{"Text":"\x01"}', "malformed"),
        ('{"Text":"\\x"}', "malformed"),
        ('{"Text":"\\ud8zz"}', "malformed|truncated"),
        ("{'Text':'x'}", "malformed"),
        ('{"Text":NaN}', "malformed"),
        ('{"SaveSent":tru}', "malformed|truncated"),
        ("\ufeff{}", "malformed"),
        (b'{"Text":"\xff"}', "not UTF-8"),
        (b'{"\xff":"a"}', "not UTF-8|unknown"),
        ('{"Text":"\udc80"}', "not UTF-8"),
    ],
)  # fmt: skip
def test_what_is_no_request(codec: Codec, body: str | bytes, where: str) -> None:
    error = refused(codec, body)
    assert error.code is Code.PROTOCOL
    assert re.search(where, str(error)), str(error)


@pytest.mark.parametrize("number", ["1.5", "1.0", "1e2", '"1"', "true", str(2**63), str(-(2**63) - 1), "9" * 5000])
def test_what_is_no_number(codec: Codec, number: str) -> None:
    assert refused(codec, f'{{"MsgID":{number}}}', MessageGetRequest).code is Code.PROTOCOL
    assert refused(codec, f'{{"PartPath":[0,{number}]}}', MessagePartGetRequest).code is Code.PROTOCOL


@pytest.mark.parametrize("number", [2**63 - 1, -(2**63), 0, -1])
def test_numbers_have_64_bits(codec: Codec, number: int) -> None:
    request = MessagePartGetRequest(msg_id=number, part_path=(number,))
    assert codec.decode_request(MessagePartGetRequest, codec.encode_request(request)) == request


@pytest.mark.parametrize("data", ["YQ", "YQ=", "!", "YQ==YQ==", "ä", "Y Q=="])
def test_a_file_that_is_not_base64_is_the_users_mistake(codec: Codec, data: str) -> None:
    error = refused(codec, json.dumps({"AttachedFiles": [{"Data": "YQ=="}, {"Name": "x", "Data": data}]}))
    assert (error.code, error.message) == (Code.USER, "request: AttachedFiles[1].Data is not base64")
    assert refused(codec, json.dumps({"Message": data}), SendRawRequest).code is Code.USER


def test_base64_may_have_lines(codec: Codec) -> None:
    request = codec.decode_request(SendRawRequest, '{"Message":"aGVs\\r\\nbG8=\\n"}')
    assert request.message == b"hello"


def test_the_last_of_a_names_values_counts(codec: Codec) -> None:
    assert codec.decode_request(SendRequest, '{"Text":"first","Text":"second"}').text == "second"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (r"a\ud800b", "a\ufffdb"),
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\ud800\ud83d\ude00\udc00", "\ufffd\U0001f600\ufffd"),
        (r"\\ud800", r"\ud800"),
        (r"\\\ud800", "\\\ufffd"),
        (r"\uDFFF\n", "\ufffd\n"),
        (r"\u0000", "\0"),
    ],
)
def test_half_of_a_surrogate_pair_is_a_replacement_character(codec: Codec, written: str, read: str) -> None:
    assert codec.decode_request(SendRequest, f'{{"Text":"{written}"}}').text == read


def test_what_utf_8_has_not_is_written_as_a_replacement_character(codec: Codec) -> None:
    request = SendRequest(text="a\ud800", extra={"\udc80": "\ud83d\ude00"}, references=("\udfff",), save_sent=True)
    value = json.loads(codec.encode_request(request))
    assert value == {"References": ["\ufffd"], "Text": "a\ufffd", "Extra": {"\ufffd": "\U0001f600"}, "SaveSent": True}


def test_texts_of_a_class_of_their_own_are_texts(codec: Codec) -> None:
    class Safe(str):
        __slots__ = ()

        def __str__(self) -> str:
            return self

    assert codec.encode_request(SendRequest(html=Safe("<p>"))) == b'{"HTML":"<p>"}'


# limits


@pytest.mark.parametrize("open_", ["[", '{"To":[', '{"Parts":[', '{"a":'])
@pytest.mark.parametrize("type_", [SendRequest, SendBatchRequest, SuppressionListRequest])
def test_deep_json_is_refused(codec: Codec, open_: str, type_: type) -> None:
    assert refused(codec, open_ * 200_000, type_).code is Code.PROTOCOL
    with pytest.raises(InputError):
        codec.decode_result(MessageGetResult, f'{{"Structure":{open_ * 200_000}')
    with pytest.raises(InputError):  # where it is passed over
        codec.decode_result(MessageGetResult, f'{{"New":{open_ * 200_000}')


def test_parts_in_parts_have_a_limit(codec: Codec) -> None:
    def nested(depth: int) -> MessageGetResult:
        structure = Structure()
        for _ in range(depth):
            structure = Structure(parts=(structure,))
        return MessageGetResult(message=Message(), structure=structure, meta=MessageMeta())

    fits = nested(100)
    assert codec.decode_result(MessageGetResult, codec.encode_result(fits)) == fits
    with pytest.raises(InputError, match="deeper"):
        codec.encode_result(nested(MAX_DEPTH))
    body = '{"Structure":' + '{"Parts":[' * MAX_DEPTH + "]}" * MAX_DEPTH + "}"
    with pytest.raises(InputError, match=r"^Structure\.Parts\[0\]\.Parts.* is deeper"):
        codec.decode_result(MessageGetResult, body)


def test_what_is_too_large_is_refused() -> None:
    codec = Codec(max_size=20)
    assert codec.decode_request(SendRequest, '{"Text":"12345678"}').text == "12345678"
    assert codec.decode_request(SendRequest, '{"Text":"123456789"}').text == "123456789"
    for body in ('{"Text":"1234567890"}', '{"Text":"12345678ü"}', b'{"Text":"1234567890"}'):
        with pytest.raises(WebAPIError, match="larger than 20 octets"):
            codec.decode_request(SendRequest, body)


def test_an_error_shows_little_of_a_hostile_name(codec: Codec) -> None:
    error = refused(codec, json.dumps({"\n\x1b" * 100_000: 1}))
    assert "unknown field" in error.message
    assert "\x1b" not in error.message


def test_several_threads_may_begin_at_once() -> None:
    result = MessageGetResult(message=Message(), structure=Structure(parts=(Structure(),)), meta=MessageMeta())
    for _ in range(20):
        codec, barrier = Codec(), Barrier(4)

        def work(codec: Codec = codec, barrier: Barrier = barrier) -> MessageGetResult:
            barrier.wait()
            return codec.decode_result(MessageGetResult, codec.encode_result(result))

        with ThreadPoolExecutor(4) as pool:
            assert [done.result() for done in [pool.submit(work) for _ in range(4)]] == [result] * 4


def test_no_two_threads_make_decoders_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    make, making, two_at_once = msgspec.json.Decoder, Lock(), Event()

    def decoder(type_: Any) -> Any:
        if making.acquire(blocking=False):
            two_at_once.wait(0.2)  # time for another thread to come in, if it may
            making.release()
        else:
            two_at_once.set()
        return make(type_)

    monkeypatch.setattr(msgspec.json, "Decoder", decoder)
    codec = Codec()
    codec.encode_result(MessageGetResult(message=Message(), structure=Structure(), meta=MessageMeta()))
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(codec.decode_result, MessageGetResult, "null") for _ in range(4)]:
            done.result()
    assert not two_at_once.is_set()


def test_flags_have_backslashes(codec: Codec) -> None:
    request = MessageFlagsAddRequest(msg_id=1, flags=(r"\seen", "$Junk"))
    assert codec.encode_request(request) == rb'{"MsgID":1,"Flags":["\\seen","$Junk"]}'


def test_a_missing_extra_is_told_when_it_is_needed() -> None:
    program = """
import sys
sys.modules["msgspec"] = sys.modules["aiohttp"] = None
import moxlib.webapi
from moxlib.errors import MissingExtra
for make, extra in ((moxlib.webapi.Codec, "webapi"), (lambda: moxlib.webapi.Client("https://a.example/"), "http")):
    try:
        make()
    except MissingExtra as error:
        assert error.extra == extra
    else:
        raise SystemExit("no error")
print("told")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "told\n"


def test_nothing_is_loaded_with_the_package_but_what_is_installed_with_moxlib() -> None:
    program = "import sys, moxlib.webapi; print(*({'msgspec', 'aiohttp', 'starlette'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
