"""Examples of requests and results, as mox has them: every field is there, lists have one value, and all is empty."""

import json
from typing import Final

from moxlib.webapi.wire import Kind, ListOf, OneOf, OrNull, Record, Scalar, fields_of

__all__ = ["example_json", "example_of"]

_EMPTY: Final = {
    Scalar.TEXT: "",
    Scalar.FLAG: False,
    Scalar.NUMBER: 0,
    Scalar.TIME: "0001-01-01T00:00:00Z",  # Go's zero time
    Scalar.OCTETS: "",
}


def example_of(type_: type) -> dict[str, object]:
    """Return an example of a type, as the values that JSON has."""
    return _record(type_, ())


def example_json(type_: type) -> str:
    """Return an example of a type as JSON for people to read and change, with tabs, and a line end at its end."""
    return json.dumps(example_of(type_), indent="\t") + "\n"


def _record(type_: type, above: tuple[type, ...]) -> dict[str, object]:
    inside = type_ in above  # in one like it: a part in a part, where the example ends
    return {field.name: _value(field.kind, (*above, type_), end=inside) for field in fields_of(type_)}


def _value(kind: Kind, above: tuple[type, ...], *, end: bool = False) -> object:
    match kind:
        case Scalar.TEXTS:
            return None if end else {"example": ""}
        case Scalar.PAIR:
            return ["", ""]
        case Scalar():
            return _EMPTY[kind]
        case ListOf():
            return None if end else [_value(kind.item, above)]
        case OrNull():
            return _value(kind.kind, above)
        case Record():
            return _record(kind.type, above)
        case OneOf():
            return {"Result": _record(kind.result.type, above), "Error": None}
