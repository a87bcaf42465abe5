r"""JSON of requests and results, to and from the types, on msgspec.

Requests are read strictly: unknown fields, values of another kind, names in another case and data behind the object
are errors; null is as good as absent, and what is absent is empty. Results are read as a newer server may write them:
unknown fields are passed over. Requests are written without what is empty, so that servers with fewer fields take them;
results are written whole, and their lists, maps and texts are never null.

msgspec reads straight into objects that have the wanted fields and no others, so what a hostile request can make of
memory is bounded by its size, and it ends at the first thing that is not wanted. As mox: the last of a name's values
counts, and half of a surrogate pair (`"\ud800"`) is U+FFFD.
"""

import binascii
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import RLock
from typing import TYPE_CHECKING, Annotated, Any, Final, ForwardRef, Optional, TypeVar

from moxlib.errors import InputError, MissingExtra
from moxlib.webapi.errors import Code, WebAPIError, shown
from moxlib.webapi.wire import Field, Kind, ListOf, OneOf, OrNull, Record, Scalar, fields_of
from moxlib.webhook.gotime import read_time, write_time

if TYPE_CHECKING:
    import msgspec

__all__ = ["MAX_DEPTH", "MAX_JSON", "Codec"]

T = TypeVar("T")

MAX_JSON: Final = 64 * 1024 * 1024  # octets; files that are larger than what fits are uploaded, and streamed
MAX_DEPTH: Final = 110  # objects in objects: messages are read to 100 parts in parts
MAX_REASON: Final = 300  # characters of msgspec's error, which may have a field's name, of any length, in it
ZERO_TIME: Final = datetime(1, 1, 1, tzinfo=UTC)  # Go's
INT64: Final = (-(2**63), 2**63 - 1)


class _Wrong(Exception):
    """JSON that is not what it should be."""

    def __init__(self, reason: str, *, code: Code = Code.PROTOCOL) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.path = ""

    def below(self, step: str) -> "_Wrong":
        """Return it, with one more step of the way to it."""
        self.path = step + ("." if self.path[:1] not in ("", "[") else "") + self.path
        return self

    def __str__(self) -> str:
        return f"{self.path} {self.reason}".strip()


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a kind of value is read and written, at some depth of objects."""

    annotation: Any
    """What msgspec has to make of it."""
    read: Callable[[Any, int], Any]
    write: Callable[[Any, int], object]
    zero: Callable[[], Any]
    """Makes what stands for an absent one."""


class Codec:
    """Reads and writes JSON; one object serves any number of calls, from any threads.

    Args:
        max_size: of JSON that is read, in octets.

    Raises:
        MissingExtra: msgspec is not installed (extra: webapi).
    """

    def __init__(self, *, max_size: int = MAX_JSON) -> None:
        try:
            import msgspec  # noqa: PLC0415 - of the extra `webapi`
        except ImportError as error:
            raise MissingExtra("webapi", "the webapi's JSON") from error
        self._max_size = max_size
        self._requests = _Plans(msgspec, strict=True, sparse=True)
        self._results = _Plans(msgspec, strict=False, sparse=False)

    def decode_request(self, type_: type[T], body: bytes | str) -> T:
        """Return the request that the JSON is.

        Raises:
            WebAPIError: it is none: with the code protocol; or user, for a file that is not in base64.
        """
        try:
            return self._requests.decode(type_, body, self._max_size)
        except _Wrong as wrong:
            raise WebAPIError(wrong.code, f"request: {wrong}") from None

    def encode_request(self, request: object) -> bytes:
        """Return a request's JSON, in UTF-8."""
        return self._requests.encode(request)

    def decode_result(self, type_: type[T], body: bytes | str) -> T:
        """Return the result that the JSON is.

        Raises:
            InputError: it is none.
        """
        try:
            return self._results.decode(type_, body, self._max_size)
        except _Wrong as wrong:
            raise InputError(str(wrong)) from None

    def encode_result(self, result: object) -> bytes:
        """Return a result's JSON, in UTF-8.

        Raises:
            InputError: parts in parts deeper than messages are read.
        """
        try:
            return self._results.encode(result)
        except _Wrong as wrong:
            raise InputError(str(wrong)) from None


class _Plans:
    """The plans of all types, made when they are first asked for."""

    def __init__(self, library: Any, *, strict: bool, sparse: bool) -> None:
        self._library: Any = library
        self._strict = strict
        self._sparse = sparse
        self._lock = RLock()  # for making plans and decoders; finished ones are read without it
        self._plans: dict[type, _Plan] = {}
        self._unfinished: dict[type, _Plan] = {}
        self._decoders: dict[type, msgspec.json.Decoder[Any]] = {}
        self._scalars = _scalar_plans(library)

    def decode(self, type_: type[T], body: bytes | str, limit: int) -> T:
        plan = self._of_type(type_)
        decoder = self._decoders.get(type_) or self._make_decoder(type_, plan)
        octets = _mended(_bounded(body, limit))
        try:
            value = decoder.decode(octets)
        except RecursionError:
            raise _Wrong("is nested too deeply") from None
        except (self._library.DecodeError, UnicodeDecodeError) as error:  # a ValidationError is a DecodeError
            raise _Wrong(_reason(error)) from None
        record: T = plan.zero() if value is None else plan.read(value, 1)
        return record

    def _make_decoder(self, type_: type, plan: _Plan) -> "msgspec.json.Decoder[Any]":
        with self._lock:  # msgspec crashes where one thread takes a class that another one is just taking in
            decoder = self._decoders.get(type_)
            if decoder is None:
                decoder = self._decoders[type_] = self._library.json.Decoder(_or_null(plan.annotation))
            return decoder

    def encode(self, record: object) -> bytes:
        value = self._of_type(type(record)).write(record, 1)
        try:
            octets: bytes = self._library.json.encode(value, enc_hook=_plain_text)
        except UnicodeEncodeError:  # lone surrogates
            octets = self._library.json.encode(_well_formed(value), enc_hook=_plain_text)
        return octets

    def _of(self, kind: Kind) -> _Plan:
        match kind:
            case Scalar():
                return self._scalars[kind]
            case ListOf():
                return _list_plan(self._of(kind.item))
            case OrNull():
                return _optional_plan(self._of(kind.kind))
            case Record():
                return self._of_type(kind.type)
            case OneOf():
                return self._one_of(kind)

    def _of_type(self, type_: type) -> _Plan:
        plan = self._plans.get(type_)
        if plan is not None:
            return plan
        with self._lock:
            plan = self._plans.get(type_) or self._unfinished.get(type_)
            if plan is None:
                self._unfinished[type_] = self._forward(type_)  # what parts of it have that are like it
                plan = self._plans[type_] = self._make(type_)
                del self._unfinished[type_]
            return plan

    def _forward(self, type_: type) -> _Plan:
        def plan() -> _Plan:
            return self._plans[type_]

        return _Plan(
            ForwardRef(type_.__name__),
            lambda value, depth: plan().read(value, depth),
            lambda value, depth: plan().write(value, depth),
            lambda: plan().zero(),
        )

    def _make(self, type_: type) -> _Plan:
        table = [(field, self._of(field.kind)) for field in fields_of(type_)]
        struct = self._struct(type_.__name__, {field: plan.annotation for field, plan in table})
        setattr(struct, type_.__name__, struct)  # where msgspec looks the forward reference up
        read = _record_reader(type_, table)
        return _Plan(struct, read, _record_writer(table, sparse=self._sparse), lambda: read(struct(), 1))

    def _struct(self, name: str, annotations: dict[Field, Any]) -> Any:
        return self._library.defstruct(
            name,
            [(field.attribute, _or_null(annotation), None) for field, annotation in annotations.items()],
            rename={field.attribute: field.name for field in annotations},
            forbid_unknown_fields=self._strict,
            kw_only=True,
        )

    def _one_of(self, kind: OneOf) -> _Plan:
        result, error = self._of(kind.result), self._of(kind.error)
        members = (
            Field(name="Result", attribute="result", kind=kind.result, required=False),
            Field(name="Error", attribute="error", kind=kind.error, required=False),
        )
        struct = self._struct("OneOf", dict(zip(members, (result.annotation, error.annotation), strict=True)))

        def read(value: Any, depth: int) -> object:
            if (value.result is None) == (value.error is None):
                raise _Wrong("has to have either a Result or an Error")
            return error.read(value.error, depth + 1) if value.result is None else result.read(value.result, depth + 1)

        def write(value: Any, depth: int) -> object:
            if isinstance(value, kind.result.type):
                return {"Result": result.write(value, depth + 1), "Error": None}
            return {"Result": None, "Error": error.write(value, depth + 1)}

        return _Plan(struct, read, write, lambda: read(struct(), 1))


def _or_null(annotation: Any) -> Any:
    return Optional[annotation]  # noqa: UP045 - a forward reference has no `|`


def _same(value: Any, _depth: int) -> Any:
    return value


def _scalar_plans(library: Any) -> Mapping[Scalar, _Plan]:
    low, high = INT64
    return {
        Scalar.TEXT: _Plan(str, _same, _same, str),
        Scalar.FLAG: _Plan(bool, _same, _same, bool),
        Scalar.NUMBER: _Plan(Annotated[int, library.Meta(ge=low, le=high)], _same, _same, int),
        Scalar.TIME: _Plan(str, _read_time, lambda value, _: write_time(value), lambda: ZERO_TIME),
        Scalar.OCTETS: _Plan(str, _read_octets, _same, bytes),
        Scalar.TEXTS: _Plan(dict[str, str | None], _read_texts, lambda value, _: dict(sorted(value.items())), dict),
        Scalar.PAIR: _Plan(tuple[str | None, str | None], _read_pair, _same, lambda: ("", "")),
    }


def _read_time(value: str, _depth: int) -> datetime:
    try:
        return read_time(value)
    except ValueError:
        raise _Wrong("is no time of RFC 3339") from None


def _read_octets(value: str, _depth: int) -> bytes:
    try:
        return b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise _Wrong("is not base64", code=Code.USER) from None


def _read_texts(value: dict[str, str | None], _depth: int) -> dict[str, str]:
    return {key: text or "" for key, text in value.items()}


def _read_pair(value: tuple[str | None, str | None], _depth: int) -> tuple[str, str]:
    return value[0] or "", value[1] or ""


def _optional_plan(plan: _Plan) -> _Plan:
    def write(value: Any, depth: int) -> object:
        return None if value is None else plan.write(value, depth)

    return _Plan(plan.annotation, plan.read, write, lambda: None)


def _list_plan(item: _Plan) -> _Plan:
    def read(values: list[Any], depth: int) -> tuple[Any, ...]:
        done: list[Any] = []
        try:
            for value in values:
                done.append(item.zero() if value is None else item.read(value, depth))  # noqa: PERF401 - counted below
        except _Wrong as wrong:
            raise wrong.below(f"[{len(done)}]") from None
        return tuple(done)

    def write(values: Any, depth: int) -> object:
        return [item.write(value, depth) for value in values]

    return _Plan(list.__class_getitem__(_or_null(item.annotation)), read, write, tuple)


def _record_reader(type_: type, table: list[tuple[Field, _Plan]]) -> Callable[[Any, int], Any]:
    def read(value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _Wrong(f"is deeper than {MAX_DEPTH} objects in objects")
        given = {}
        for field, plan in table:
            found = getattr(value, field.attribute)
            if found is not None:
                try:
                    given[field.attribute] = plan.read(found, depth + 1)
                except _Wrong as wrong:
                    raise wrong.below(field.name) from None
            elif field.required:
                given[field.attribute] = plan.zero()
        return type_(**given)

    return read


def _record_writer(table: list[tuple[Field, _Plan]], *, sparse: bool) -> Callable[[Any, int], object]:
    def write(record: Any, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise _Wrong(f"the value is deeper than {MAX_DEPTH} objects in objects")
        values = {}
        for field, plan in table:
            value = getattr(record, field.attribute)
            if not sparse or field.required or (value is not None if isinstance(field.kind, OrNull) else value):
                values[field.name] = plan.write(value, depth + 1)
        return values

    return write


def _bounded(body: bytes | str, limit: int) -> bytes:
    if len(body) <= limit:
        try:
            octets = body.encode() if isinstance(body, str) else body
        except UnicodeEncodeError:
            raise _Wrong("is not UTF-8") from None
        if len(octets) <= limit:
            return octets
    raise _Wrong(f"is larger than {limit} octets")


_half: Final = re.compile(rb"\\u[dD][89a-fA-F]").search  # of a surrogate pair
_ESCAPES: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


def _mended(octets: bytes) -> bytes:
    r"""Return JSON with `\ufffd` for each half of a surrogate pair that is alone, which msgspec does not take."""
    return _ESCAPES.sub(_mend, octets) if _half(octets) else octets


def _mend(escape: re.Match[bytes]) -> bytes:
    return rb"\ufffd" if escape["half"] else escape[0]


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8"
    return shown(str(error), MAX_REASON)


def _plain_text(value: Any) -> str:
    """Return a text of a class of its own, such as a template engine's, as a plain one.

    Raises:
        TypeError: it is none.
    """
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError(f"{type(value).__name__} has no JSON")


def _well_formed(value: object) -> Any:
    """Return what JSON can say with U+FFFD for each lone surrogate in it."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {_well_formed(key): _well_formed(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_well_formed(inner) for inner in value]
        case _:
            return value
