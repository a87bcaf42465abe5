"""How the types look in JSON: the names of their fields, and what kind of value each holds.

It is derived from the types themselves. A name is made of the attribute's words, each with a capital, and those that
are abbreviations in capitals: `queue_msg_id` is `QueueMsgID`. The kinds follow from the annotations. Codec, OpenAPI
document and example pages are all driven by this.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import datetime
from enum import Enum
from functools import cache
from typing import Any, Final

__all__ = ["Field", "Kind", "ListOf", "OneOf", "OrNull", "Record", "Scalar", "fields_of", "wire_name"]

ABBREVIATIONS: Final = frozenset({"id", "cc", "bcc", "html", "tls", "dsn", "dkim", "ip"})


class Scalar(Enum):
    """A value that has no others in it; and the two small collections that are always of texts."""

    TEXT = "text"
    FLAG = "flag"
    NUMBER = "number"
    """An integer of 64 bits."""
    TIME = "time"
    """A text, as RFC 3339 has it."""
    OCTETS = "octets"
    """A text: base64."""
    TEXTS = "texts"
    """An object whose values are texts."""
    PAIR = "pair"
    """A list of two texts."""


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values of one kind."""

    item: "Kind"


@dataclass(frozen=True, slots=True)
class OrNull:
    """A value that may be missing."""

    kind: "Kind"


@dataclass(frozen=True, slots=True)
class Record:
    """An object with the fields of a type, see `fields_of()`."""

    type: type


@dataclass(frozen=True, slots=True)
class OneOf:
    """An object with two fields, Result and Error, of which one is null."""

    result: Record
    error: Record


Kind = Scalar | ListOf | OrNull | Record | OneOf
"""What a field holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A field of a type."""

    name: str
    """In JSON."""
    attribute: str
    """In Python."""
    kind: Kind
    required: bool
    """Whether Python has no default for it."""


def wire_name(attribute: str) -> str:
    """Return what an attribute is called in JSON."""
    words = attribute.strip("_").split("_")
    return "".join([word.upper() if word in ABBREVIATIONS else word.capitalize() for word in words])


@cache
def fields_of(type_: type) -> tuple[Field, ...]:
    """Return the fields of a type, in the order they have in JSON."""
    hints = typing.get_type_hints(type_)
    return tuple(
        [
            Field(
                name=wire_name(each.name),
                attribute=each.name,
                kind=_kind(hints[each.name]),
                required=each.default is MISSING and each.default_factory is MISSING,
            )
            for each in fields(type_)
        ]
    )


_SCALARS: Final[Mapping[Any, Scalar]] = types.MappingProxyType(
    {
        str: Scalar.TEXT,
        bool: Scalar.FLAG,
        int: Scalar.NUMBER,
        datetime: Scalar.TIME,
        bytes: Scalar.OCTETS,
        Mapping[str, str]: Scalar.TEXTS,
        tuple[str, str]: Scalar.PAIR,
    }
)


def _kind(hint: Any) -> Kind:
    if hint in _SCALARS:
        return _SCALARS[hint]
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        item, _ = arguments  # tuple[item, ...]
        return ListOf(_kind(item))
    if typing.get_origin(hint) is types.UnionType:
        return _union(arguments)
    return Record(hint)


def _union(members: tuple[Any, ...]) -> Kind:
    if type(None) in members:
        [present] = [member for member in members if member is not type(None)]
        return OrNull(_kind(present))
    if str in members:
        return Scalar.TEXT  # of an enumeration, or another one
    result, error = members
    return OneOf(Record(result), Record(error))
