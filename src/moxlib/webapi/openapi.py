"""The OpenAPI 3.1 document of the webapi, as plain data, made from the methods and their types."""

import ast
import inspect
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from moxlib import __version__
from moxlib.webapi.examples import example_of
from moxlib.webapi.form import URLENCODED
from moxlib.webapi.methods import METHODS, Method
from moxlib.webapi.types import Fault
from moxlib.webapi.wire import Field, Kind, ListOf, OneOf, OrNull, Record, Scalar, fields_of

__all__ = ["openapi_document"]

Schema = dict[str, Any]

_SCALARS: Final[Mapping[Scalar, Schema]] = MappingProxyType(
    {
        Scalar.TEXT: {"type": "string"},
        Scalar.FLAG: {"type": "boolean"},
        Scalar.NUMBER: {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
        Scalar.TIME: {"type": "string", "format": "date-time"},
        Scalar.OCTETS: {"type": "string", "contentEncoding": "base64"},
        Scalar.TEXTS: {"type": "object", "additionalProperties": {"type": "string"}},
        Scalar.PAIR: {"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2},
    }
)
_UPLOADS: Final = (
    ("alternativefile", "AlternativeFiles"),
    ("inlinefile", "InlineFiles"),
    ("attachedfile", "AttachedFiles"),
)


def openapi_document(
    *, server_url: str, title: str = "webapi", version: str = __version__, methods: Sequence[Method] | None = None
) -> dict[str, Any]:
    """Return the document, equal for equal arguments: dicts, lists, texts, numbers and booleans, for JSON.

    Args:
        server_url: where the methods are, such as `https://mail.example/webapi/v0`; it may be relative.
        title: of the API.
        version: of the API as it is served.
        methods: those that are served; None: all.
    """
    schemas = _Schemas()
    served = METHODS if methods is None else methods
    paths = {f"/{method.name}": {"post": _operation(method, schemas)} for method in served}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": "To send and manage mail. Each call posts a form, whose field `request` is JSON.",
        },
        "servers": [{"url": server_url.rstrip("/") or "/"}],
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "basic": {"type": "http", "scheme": "basic", "description": "An email address and its password."}
            },
            "schemas": schemas.made(),
        },
    }


def _operation(method: Method, schemas: "_Schemas") -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": method.name,
        "summary": method.summary,
        "requestBody": {"required": True, "content": _contents(method, schemas)},
        "responses": _responses(method, schemas),
    }
    if method.takes_key:
        operation["parameters"] = [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "What comes again under the same key is done once, and gets the first one's result.",
                "schema": {"type": "string", "minLength": 1, "maxLength": 255},
            }
        ]
    return operation


def _contents(method: Method, schemas: "_Schemas") -> dict[str, Any]:
    request = {"request": schemas.reference(method.request, given=True)}
    plain = {"type": "object", "properties": request, "required": ["request"], "additionalProperties": False}
    files = {
        name: {
            "type": "array",
            "items": {"type": "string", "contentMediaType": "application/octet-stream"},
            "description": f"Files that come behind those of {like}.",
        }
        for name, like in _UPLOADS
        if method.takes_uploads
    }
    rest = {
        "encoding": {"request": {"contentType": "application/json"}},
        "example": {"request": example_of(method.request)},
    }
    return {
        URLENCODED: {"schema": plain, **rest},
        "multipart/form-data": {"schema": plain | {"properties": request | files}, **rest},
    }


def _responses(method: Method, schemas: "_Schemas") -> dict[str, Any]:
    codes = ", ".join([*method.codes, "user", "server", "protocol"])
    text = {"text/plain": {"schema": {"type": "string"}}}
    if method.result is None:
        done: dict[str, Any] = {"description": "The octets.", "content": {"*/*": {}}}
    else:
        result = {"application/json": {"schema": schemas.reference(method.result, given=False)}}
        done = {"description": _summary(method.result), "content": result}
    error = {"application/json": {"schema": schemas.reference(Fault, given=False)}}
    return {
        "200": done,
        "400": {"description": f"An error, with one of these codes: {codes}.", "content": error},
        "401": {"description": "The login is missing or wrong.", "content": text},
        "403": {"description": "A browser sent it for a page of another site.", "content": text},
        "413": {"description": "The request is too large for a proxy in front.", "content": text},
        "429": {"description": "Too many logins from this network failed.", "content": text},
        "503": {"description": "Too many logins at once.", "content": text},
    }


class _Schemas:
    """The schemas of types, made when they are first referred to.

    A type in a request has other required fields than in a result, which has them all. Where one is in both, that in
    requests has a name of its own.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[type, bool], Schema] = {}

    def reference(self, type_: type, *, given: bool) -> Schema:
        """Return a reference to the schema of a type, as it is given in requests, or else as it is in results."""
        if (type_, given) not in self._made:
            schema: Schema = {}
            self._made[type_, given] = schema
            schema.update(self._record(type_, given=given))
        return {"$ref": f"#/components/schemas/{_name(type_, given=given)}"}

    def made(self) -> dict[str, Schema]:
        """Return them all, by name."""
        named = {_name(type_, given=given): schema for (type_, given), schema in self._made.items()}
        return dict(sorted(named.items()))

    def _record(self, type_: type, *, given: bool) -> Schema:
        docs = _field_docs(type_)
        fields = fields_of(type_)
        return {
            "type": "object",
            "description": _summary(type_),
            "properties": {field.name: self._field(field, docs, given=given) for field in fields},
            "required": [field.name for field in fields if field.required or not given],
            "additionalProperties": False,
        }

    def _field(self, field: Field, docs: Mapping[str, str], *, given: bool) -> Schema:
        schema = self._kind(field.kind, given=given)
        if given and not field.required and not isinstance(field.kind, OrNull):
            schema = _or_null(schema)  # which is as good as absent
        description = docs.get(field.attribute)
        return schema | {"description": description} if description else schema

    def _kind(self, kind: Kind, *, given: bool) -> Schema:
        match kind:
            case Scalar():
                return dict(_SCALARS[kind])
            case ListOf():
                return {"type": "array", "items": self._kind(kind.item, given=given)}
            case OrNull():
                return _or_null(self._kind(kind.kind, given=given))
            case Record():
                return self.reference(kind.type, given=given)
            case OneOf():
                members = {"Result": kind.result, "Error": kind.error}
                return {
                    "type": "object",
                    "properties": {name: _or_null(self._kind(one, given=given)) for name, one in members.items()},
                    "required": list(members),
                    "additionalProperties": False,
                }


def _name(type_: type, *, given: bool) -> str:
    return f"{type_.__name__}Input" if given and not type_.__name__.endswith("Request") else type_.__name__


def _or_null(schema: Schema) -> Schema:
    if "type" in schema:
        return schema | {"type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def _summary(type_: type) -> str:
    return (type_.__doc__ or "").partition("\n")[0]


@cache
def _field_docs(type_: type) -> Mapping[str, str]:
    """Return what the source says of each field, right below it; nothing where there is no source."""
    docs: dict[str, str] = {}
    for class_ in reversed(type_.__mro__[:-1]):
        try:
            [tree] = ast.parse(textwrap.dedent(inspect.getsource(class_))).body
        except (OSError, TypeError):
            continue
        assert isinstance(tree, ast.ClassDef)
        for field, below in zip(tree.body, tree.body[1:], strict=False):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    docs[name] = " ".join(text.split())
                case _:
                    pass
    return MappingProxyType(docs)
