"""Every value of every type is written as JSON and read back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.property.webapi_values import REQUESTS, RESULTS, any_of

from moxlib.webapi import Codec
from moxlib.webapi.form import MAX_PLAIN, plain_form

CODEC = Codec()


@pytest.mark.parametrize("type_", REQUESTS, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_a_request_comes_back(type_: type, data: Any) -> None:
    request = data.draw(any_of(type_))
    octets = CODEC.encode_request(request)
    assert CODEC.decode_request(type_, octets) == request
    assert CODEC.encode_request(CODEC.decode_request(type_, octets)) == octets
    assert nulls(json.loads(octets)) == 0


@pytest.mark.parametrize("type_", RESULTS, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_a_result_comes_back(type_: type, data: Any) -> None:
    result = data.draw(any_of(type_))
    octets = CODEC.encode_result(result)
    assert CODEC.decode_result(type_, octets) == result


@given(st.text(st.characters(codec=None)))
def test_any_text_is_sent_as_what_utf_8_has(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    [type_] = [type_ for type_ in REQUESTS if type_.__name__ == "SuppressionPresentRequest"]
    request: Any = CODEC.decode_request(type_, CODEC.encode_request(type_(email_address=text)))
    assert request.email_address == text
    escaped = json.dumps({"EmailAddress": text})  # in ASCII, with surrogate pairs
    assert CODEC.decode_request(type_, escaped) == request


@given(st.binary(max_size=MAX_PLAIN))
def test_a_plain_form_has_one_field(octets: bytes) -> None:
    from urllib.parse import parse_qsl  # noqa: PLC0415

    form = plain_form(octets)
    assert form is not None
    read = parse_qsl(form.decode("ascii"), keep_blank_values=True, encoding="latin-1")
    assert read == [("request", octets.decode("latin-1"))]


def nulls(value: Any) -> int:
    match value:
        case None:
            return 1
        case dict():
            return sum(map(nulls, value.values()))
        case list():
            return sum(map(nulls, value))
        case _:
            return 0
