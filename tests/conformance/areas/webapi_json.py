"""The webapi over HTTP: status, content type, JSON; pages by their example call. See `webapi_host.py` beside `areas`.

The `seq-` cases are answers to a sequence of requests, which is made once, in order, on a host of its own; `@MSGID@` is
the message that its `Send` keeps in Sent. Compared are:

- of an error, its code, and that there is a message; of text (401, 404, 405, 429, 500), its type alone;
- of a page with an example, the request and the result in it;
- of a message and its parts, what they say (`tests/conformance/composed.py`), as they are composed here; and so not the
  size of the whole. The content type of a part is its own: mox looks at the data for it.

Ids and times of suppressions are only looked at for being there. `ratelimit-sequence` tells of addresses that fail to
log in, one after the other, and how often until they have to wait. That a message 0 is the server's trouble to mox is
marked as a mistake where a request says so, and is one where it says null.
"""

import asyncio
import html
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

from tests.conformance.composed import content
from tests.conformance.webapi_host import Answer, Host, authorization, hosting

VECTORS = Path(__file__).resolve().parents[4] / "shared" / "vectors" / "webapi_json.json"
FORM = ("Content-Type", "application/x-www-form-urlencoded")
RAW = 22  # the number of a request that is not listed
FAILURES = 10  # until an address has to wait


_example = re.compile(r"(?s)<(?:textarea|pre)[^>]*>(.*?)</").findall


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    if "kind" in case:  # the requests, which are no case
        return None, None
    answer = sequence()[case["seq"]] if "seq" in case else asyncio.run(_answer(case))
    return _expected(case), _got(case, answer)


async def _answer(case: dict[str, Any]) -> Answer:
    async with hosting() as host:
        bad = ("Authorization", "Basic bWpsQG1veC5leGFtcGxlOmJhZA==")
        if case["name"].startswith("ratelimit"):
            for _ in range(FAILURES):
                await host.call("POST", "/v0/Send", headers=[FORM, bad], body=b"request=%7B%7D")
        if case["name"] == "forwarded-missing-xff":
            return await host.call("POST", "/v0/Send", headers=[FORM, authorization("mjl@mox.example")], ip="")
        headers = case["request_headers"] or ()
        body = case["request_body"].encode("utf-8", "surrogateescape")
        return await host.call(case["http_method"], case["path"], headers=headers, body=body)


@cache
def sequence() -> dict[int, Answer]:
    """Make the sequence of requests; return the answers by number."""
    [requests] = [case for case in json.loads(VECTORS.read_text("utf-8")) if case.get("kind") == "sequence_requests"]
    return asyncio.run(_sequence(requests["requests"]))


async def _sequence(requests: list[dict[str, Any]]) -> dict[int, Answer]:
    async with hosting() as host:
        raw = {"seq": RAW, "path": "/v0/MessageRawGet", "request_json": '{"MsgID":@MSGID@}'}  # not among them
        made = sorted([*requests, raw], key=lambda each: each["seq"])
        return {each["seq"]: await _one(host, each) for each in made}


async def _one(host: Host, each: dict[str, Any]) -> Answer:
    text = each["request_json"].replace("@MSGID@", "1").encode()
    body = b"request=" + b"".join([b"%%%02X" % octet for octet in text])
    return await host.call("POST", each["path"], headers=[FORM, authorization("mjl@mox.example")], body=body)


def _expected(case: dict[str, Any]) -> object:
    type_ = case["response_headers"]["Content-Type"][0]
    body = case.get("response_body", "").encode()
    if "example_request" in case:
        answer = case.get("example_response")
        return [case["status"], type_, json.loads(case["example_request"]), answer and json.loads(answer)]
    if "sniffed" in case.get("mox_quirk_minor", ""):
        return [case["status"], "", _octets(body)]
    if case["name"] in ("null-MessageGet", "null-MessagePartGet", "null-MessageRawGet"):
        body = body.replace(b'"server"', b'"messageNotFound"')
    return [case["status"], type_, _read(case, type_, body)]


def _got(case: dict[str, Any], answer: Answer) -> object:
    type_ = answer.headers["content-type"]
    if "example_request" in case:
        found = [html.unescape(text) for text in _example(answer.body.decode())]
        result = json.loads(found[1]) if case.get("example_response") else None
        return [answer.status, type_, json.loads(found[0]), result]
    if "sniffed" in case.get("mox_quirk_minor", "") and answer.status == case["status"]:
        return [answer.status, "", _octets(answer.body)]
    return [answer.status, type_, _read(case, type_, answer.body)]


def _read(case: dict[str, Any], type_: str, body: bytes) -> object:
    if "response_len" in case or not type_.startswith("application/json"):
        return None
    read = json.loads(body)
    if "Code" in read:
        return {"Code": read["Code"], "Message": bool(read["Message"])}
    for each in read.get("Suppressions", ()):
        each |= {"ID": bool(each["ID"]), "Created": bool(each["Created"])}
    if "Structure" in read:
        read["Meta"]["Size"] = bool(read["Meta"]["Size"])
        _forget_boundaries(read["Structure"])
    return read


def _forget_boundaries(structure: dict[str, Any]) -> None:
    structure["ContentTypeParams"].pop("boundary", None)
    for part in structure["Parts"]:
        _forget_boundaries(part)


def _octets(body: bytes) -> object:
    """Return what a decoded body says: that of a multipart as a message would."""
    delimiter = re.match(rb"--([^\r\n]+)\r\n", body)
    if delimiter is None:
        return body
    return content(b'Content-Type: multipart/mixed; boundary="' + delimiter[1] + b'"\r\n\r\n' + body)
