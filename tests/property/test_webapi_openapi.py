"""What the codec writes is what the OpenAPI document says; what the document says is what the codec reads."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.webapi_values import REQUESTS, RESULTS, any_of

from moxlib.webapi import Codec
from moxlib.webapi.openapi import openapi_document

CODEC = Codec()
SCHEMAS = openapi_document(server_url="/")["components"]["schemas"]


def validator(name: str) -> Any:
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    return jsonschema_rs.validator_for(schema, validate_formats=True)


@pytest.mark.parametrize("type_", REQUESTS, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_a_request_is_as_the_document_says(type_: type, data: Any) -> None:
    written = json.loads(CODEC.encode_request(data.draw(any_of(type_))))
    validator(type_.__name__).validate(written)


@pytest.mark.parametrize("type_", RESULTS, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_a_result_is_as_the_document_says(type_: type, data: Any) -> None:
    written = json.loads(CODEC.encode_result(data.draw(any_of(type_))))
    check = validator(type_.__name__)
    check.validate(written)
    assert not check.is_valid(written | {"New": 1})
    for name in written:
        assert not check.is_valid({key: value for key, value in written.items() if key != name})
        assert name == "Date" or not check.is_valid(written | {name: None})
