"""Any value of the webapi's types, made from what they look like in JSON."""

from datetime import datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from moxlib.webapi import METHODS
from moxlib.webapi.wire import Kind, ListOf, OneOf, OrNull, Record, Scalar, fields_of

__all__ = ["REQUESTS", "RESULTS", "any_of"]

REQUESTS = [method.request for method in METHODS]
RESULTS = [method.result for method in METHODS if method.result is not None]

zones = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
texts = st.text(st.characters(codec="utf-8"), max_size=20)
SCALARS: dict[Scalar, st.SearchStrategy[Any]] = {
    Scalar.TEXT: texts,
    Scalar.FLAG: st.booleans(),
    Scalar.NUMBER: st.integers(-(2**63), 2**63 - 1),
    Scalar.TIME: st.datetimes(
        min_value=datetime(1, 1, 3), max_value=datetime(9999, 12, 29), timezones=zones, allow_imaginary=False
    ),
    Scalar.OCTETS: st.binary(max_size=20),
    Scalar.TEXTS: st.dictionaries(texts, texts, max_size=3),
    Scalar.PAIR: st.tuples(texts, texts),
}


def _of(kind: Kind, depth: int) -> st.SearchStrategy[Any]:
    match kind:
        case Scalar():
            return SCALARS[kind]
        case ListOf():
            return st.lists(_of(kind.item, depth), max_size=2).map(tuple) if depth else st.just(())
        case OrNull():
            return st.none() | _of(kind.kind, depth)
        case Record():
            return any_of(kind.type, depth - 1)
        case OneOf():
            return any_of(kind.result.type, depth - 1) | any_of(kind.error.type, depth - 1)


def any_of(type_: type, depth: int = 3) -> st.SearchStrategy[Any]:
    """Return what makes any value of a type; what is required always, the rest sometimes."""
    kinds = [(field, _of(field.kind, depth)) for field in fields_of(type_)]
    required = {field.attribute: values for field, values in kinds if field.required}
    optional = {field.attribute: values for field, values in kinds if not field.required}
    return st.fixed_dictionaries(required, optional=optional).map(lambda given: type_(**given))
