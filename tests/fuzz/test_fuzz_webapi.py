"""Any JSON, and what is none, is a request or an error of the protocol; what is read is written and read back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.webapi import METHODS, Code, Codec, WebAPIError
from moxlib.webapi.wire import Kind, ListOf, OneOf, OrNull, Record, fields_of

CODEC = Codec(max_size=100_000)
TYPES = [method.request for method in METHODS]
RESULTS = [method.result for method in METHODS if method.result is not None]


def names_in(type_: type, seen: set[str]) -> set[str]:
    def within(kind: Kind) -> None:
        match kind:
            case ListOf():
                within(kind.item)
            case OrNull():
                within(kind.kind)
            case OneOf():
                within(kind.result)
                within(kind.error)
            case Record() if kind.type is not type_:
                names_in(kind.type, seen)
            case _:
                pass

    for field in fields_of(type_):
        seen.add(field.name)
        within(field.kind)
    return seen


NAMES = sorted(set().union(*[names_in(type_, set()) for type_ in (*TYPES, *RESULTS)]))
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**64), 2**64),
    st.floats(),
    st.text(st.characters(codec=None)),
    st.sampled_from(
        ["2026-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999-23:59", "0001-01-01T00:00:00+23:59", "YQ=="]
    ),
)
names = st.sampled_from(NAMES) | st.text(st.characters(codec=None), max_size=3)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=30,
)


def written(value: object) -> bytes:
    return json.dumps(value).encode()


# Objects whose names are often written twice, and whose texts have escapes that stand for themselves.
pieces = st.lists(
    st.sampled_from(
        ["{", "}", "[", "]", ",", ":", "null", "true", "1", "-0", "1e400", "1.0", "9" * 400, '"', '"To"', '"Text"',
         '"Address"', '"Extra"', '"\\ud800"', "\\", "\\u", "d8", "\x00", "\ud800", " ", "\t", "//", "NaN"]
    ),
    max_size=25,
).map(lambda found: "".join(found).encode(errors="surrogatepass"))  # fmt: skip
deep = st.tuples(st.sampled_from(["[", '{"To":[', '{"Parts":[', '{"Requests":[', '{"x":']), st.integers(0, 10_000)).map(
    lambda pair: (pair[0] * pair[1]).encode()
)
bodies = st.binary() | values.map(written) | pieces | deep


def near(type_: type) -> st.SearchStrategy[bytes]:
    fields = fields_of(type_)
    return st.fixed_dictionaries({}, optional={field.name: values for field in fields}).map(written)


def shows_little(error: Exception) -> None:
    assert len(str(error)) < 1000
    assert str(error).isprintable()


@pytest.mark.parametrize("type_", TYPES, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_any_request(type_: type, data: Any) -> None:
    body = data.draw(bodies | near(type_))
    try:
        request: object = CODEC.decode_request(type_, body)
    except WebAPIError as error:
        refusal = error
    else:
        assert CODEC.decode_request(type_, CODEC.encode_request(request)) == request
        return
    shows_little(refusal)
    assert refusal.code is (Code.USER if "is not base64" in refusal.message else Code.PROTOCOL)


@pytest.mark.parametrize("type_", RESULTS, ids=lambda type_: type_.__name__)
@given(data=st.data())
def test_any_result(type_: type, data: Any) -> None:
    body = data.draw(bodies | near(type_))
    try:
        result: object = CODEC.decode_result(type_, body)
    except InputError as error:
        shows_little(error)
        return
    assert CODEC.decode_result(type_, CODEC.encode_result(result)) == result
