"""The OpenAPI document is valid, complete and always the same."""

import inspect
import json
import os
import subprocess
import sys
from typing import Any

import pytest
import schemathesis

from moxlib.webapi import METHODS, Method
from moxlib.webapi import openapi as module
from moxlib.webapi.openapi import openapi_document
from moxlib.webapi.wire import fields_of

DOCUMENT = openapi_document(server_url="https://mail.example/webapi/v0/", version="1")


def test_it_is_valid() -> None:
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.validate()
    found: Any = schema.get_all_operations()
    assert {operation.ok().label for operation in found} == {f"POST /{method.name}" for method in METHODS}


@pytest.mark.parametrize("wrong", [{"responses": {"200": {}}}, {"requestBody": {}}, {"parameters": [{"in": "header"}]}])
def test_what_is_not_valid_is_found(wrong: Any) -> None:
    document = openapi_document(server_url="/")
    document["paths"]["/Send"]["post"] |= wrong
    with pytest.raises(Exception, match=r"is not valid|is a required property"):
        schemathesis.openapi.from_dict(document).validate()


def test_it_is_plain_data_and_always_the_same() -> None:
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    again = openapi_document(server_url="https://mail.example/webapi/v0", version="1")
    assert json.dumps(again) == json.dumps(DOCUMENT)
    program = (
        "import json; from moxlib.webapi.openapi import openapi_document as d;"
        "print(json.dumps(d(server_url='https://mail.example/webapi/v0/', version='1')))"
    )
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=environment, check=True)
        assert json.loads(done.stdout) == DOCUMENT
        assert done.stdout.decode().strip() == json.dumps(DOCUMENT)


def test_what_is_handed_out_is_the_callers() -> None:
    document = openapi_document(server_url="/")
    document["components"]["schemas"]["Submission"]["properties"]["QueueMsgID"].clear()
    document["components"]["schemas"]["SendResult"]["required"].clear()
    assert openapi_document(server_url="/") != document
    assert openapi_document(server_url="/")["servers"] == [{"url": "/"}]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_an_operation(method: Method) -> None:
    operation = DOCUMENT["paths"][f"/{method.name}"]["post"]
    assert operation["operationId"] == method.name
    forms = operation["requestBody"]["content"]
    request = {"$ref": f"#/components/schemas/{method.request.__name__}"}
    assert {name: form["schema"]["properties"]["request"] for name, form in forms.items()} == {
        "application/x-www-form-urlencoded": request,
        "multipart/form-data": request,
    }
    files = set(forms["multipart/form-data"]["schema"]["properties"]) - {"request"}
    assert files == ({"alternativefile", "inlinefile", "attachedfile"} if method.takes_uploads else set())
    assert [parameter["name"] for parameter in operation.get("parameters", [])] == (
        ["Idempotency-Key"] if method.takes_key else []
    )
    content = operation["responses"]["200"]["content"]
    if method.result is None:
        assert content == {"*/*": {}}
    else:
        result = {"$ref": f"#/components/schemas/{method.result.__name__}"}
        assert content == {"application/json": {"schema": result}}
    assert list(operation["responses"]) == ["200", "400", "401", "403", "413", "429", "503"]
    assert all(code in operation["responses"]["400"]["description"] for code in method.codes)


def test_schemas_of_requests_and_results() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert list(schemas) == sorted(schemas)
    send = schemas["SendRequest"]
    assert list(send["properties"]) == [field.name for field in fields_of(METHODS[0].request)]
    assert send["required"] == []
    assert send["additionalProperties"] is False
    assert send["properties"]["Text"]["type"] == ["string", "null"]
    assert send["properties"]["Date"]["format"] == "date-time"
    assert schemas["SendRawRequest"]["required"] == ["Message"]
    assert schemas["SendRawRequest"]["properties"]["Message"] == {
        "type": "string",
        "contentEncoding": "base64",
        "description": "Header and body, with CRLF line ends; base64 in JSON.",
    }
    assert schemas["NameAddressInput"]["required"] == ["Address"]
    assert schemas["NameAddress"]["required"] == ["Name", "Address"]
    assert schemas["Submission"]["properties"]["QueueMsgID"]["type"] == "integer"
    assert schemas["Message"]["properties"]["Date"]["type"] == ["string", "null"]
    assert schemas["Message"]["properties"]["Text"]["type"] == "string"
    assert schemas["Structure"]["properties"]["Parts"]["items"] == {"$ref": "#/components/schemas/Structure"}


def test_fields_are_described_where_there_is_source(monkeypatch: pytest.MonkeyPatch) -> None:
    described = DOCUMENT["components"]["schemas"]["MessageFlagsAddRequest"]["properties"]
    assert described["MsgID"]["description"].startswith("The message's id"), "of the class above"
    assert described["Flags"]["description"].startswith(r"Such as `\seen`")

    def missing(_class: Any) -> str:
        raise OSError

    module._field_docs.cache_clear()
    monkeypatch.setattr(inspect, "getsource", missing)
    try:
        bare = openapi_document(server_url="/")["components"]["schemas"]["MessageFlagsAddRequest"]["properties"]
    finally:
        module._field_docs.cache_clear()
    assert bare["Flags"] == {"type": ["array", "null"], "items": {"type": "string"}}
