"""Requests and results that mox took and gave are read, and written again with the same values."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.webapi import METHODS, Code, Codec, Fault, SendRequest, WebAPIError
from moxlib.webapi.methods import BY_NAME

VECTORS = Path(__file__).resolve().parents[3] / "shared" / "vectors"
OURS = {
    "json-headers-triple": Code.PROTOCOL,  # mox passes over what is behind a header's name and value
    "attach-nopad": Code.USER,  # found when it is read, and not when it is sent
}
STAYS = {"Address", "Data", "RequireTLS"}  # also where it is empty, or false
MICROSECONDS = {"date-nano": ("987654321", "987654")}  # which Python's times have


def cases(area: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{area}.json").read_text("utf-8"))
    return [case for case in found if "name" in case]


def sends() -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases("webapi_send")]


def calls() -> list[Any]:
    return [
        pytest.param(case, id=case["name"])
        for case in cases("webapi_json")
        if case.get("http_method") == "POST"
        and "response_body" in case
        and case["path"].removeprefix("/v0/") in BY_NAME
    ]


def examples() -> list[Any]:
    return [pytest.param(case, id=case["name"]) for case in cases("webapi_json") if "example_request" in case]


def dense(value: Any, name: str = "") -> Any:
    """Return a value without what is empty, whose base64 has no lines, and whose texts UTF-8 can say."""
    match value:
        case dict():
            kept = {key: dense(inner, key) for key, inner in value.items()}
            return {key: inner for key, inner in kept.items() if inner or (key in STAYS and inner is not None)}
        case list():
            return [dense(inner) for inner in value]
        case str() if name == "Data":
            return "".join(value.split())
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case _:
            return value


if VECTORS.is_dir():  # else there is nothing to collect, which is no skipped test

    @pytest.mark.parametrize("case", sends())
    def test_a_request_of_send(case: dict[str, Any]) -> None:
        codec = Codec()
        body = re.sub(r"@NOW\+\d+@", "2030-01-02T03:04:05Z", case["request"])
        response = json.loads(case["response"])
        code = OURS.get(case["name"], response.get("Code") if case["status"] == 400 else None)
        if code == Code.PROTOCOL or case["name"] in OURS:
            with pytest.raises(WebAPIError) as caught:
                codec.decode_request(SendRequest, body)
            assert caught.value.code == code
            return
        request = codec.decode_request(SendRequest, body)
        body = body.replace(*MICROSECONDS.get(case["name"], ("", "")))
        assert json.loads(codec.encode_request(request)) == dense(json.loads(body))
        assert codec.decode_request(SendRequest, codec.encode_request(request)) == request

    @pytest.mark.parametrize("case", calls())
    def test_an_answer_of_mox(case: dict[str, Any]) -> None:
        codec = Codec()
        method = BY_NAME[case["path"].removeprefix("/v0/")]
        body = case["response_body"]
        if case["status"] == 200 and method.result is not None:
            result: object = codec.decode_result(method.result, body)
            assert json.loads(codec.encode_result(result)) == json.loads(body)
        elif case["status"] == 400:
            fault = codec.decode_result(Fault, body)
            assert codec.encode_result(fault) + b"\n" == body.encode()
        elif case["status"] != 200:
            with pytest.raises(InputError):
                codec.decode_result(Fault, body)

    @pytest.mark.parametrize("case", examples())
    def test_an_example_of_moxs_pages(case: dict[str, Any]) -> None:
        method = BY_NAME[case["path"].removeprefix("/v0/")]
        assert method.example_request == case["example_request"]
        assert method.example_result == case.get("example_response")
        assert (method.result is None) == case["returns_bytes"]

    def test_each_of_moxs_methods_is_there() -> None:
        shown = {case["path"].removeprefix("/v0/") for case in cases("webapi_json") if "example_request" in case}
        assert {method.name for method in METHODS if not method.addition} == shown
