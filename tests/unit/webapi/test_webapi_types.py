"""The types are valid by construction, their JSON names are mox's, and the table of methods says the truth."""

import inspect
from contextlib import AbstractAsyncContextManager
from dataclasses import MISSING, FrozenInstanceError, fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, get_args, get_origin, get_type_hints

import pytest

from moxlib import webapi
from moxlib.errors import InputError
from moxlib.webapi import (
    METHODS,
    ByteStream,
    Client,
    Code,
    Fault,
    MessageGetRequest,
    MessageMeta,
    MessagePartGetRequest,
    Methods,
    SendRawRequest,
    SendRequest,
    Submission,
    Suppression,
    Upload,
    Uploads,
    WebAPIError,
)
from moxlib.webapi.errors import MAX_TEXT, shown
from moxlib.webapi.methods import BY_NAME
from moxlib.webapi.types import __all__ as TYPES
from moxlib.webapi.wire import OrNull, Scalar, fields_of, wire_name

NAIVE = datetime(2026, 1, 1)
LARGE = 2**63


@pytest.mark.parametrize(
    ("attribute", "name"),
    [
        ("from_", "From"),
        ("to", "To"),
        ("cc", "CC"),
        ("bcc", "BCC"),
        ("reply_to", "ReplyTo"),
        ("message_id", "MessageID"),
        ("html", "HTML"),
        ("require_tls", "RequireTLS"),
        ("content_id", "ContentID"),
        ("queue_msg_id", "QueueMsgID"),
        ("from_id", "FromID"),
        ("id", "ID"),
        ("dsn", "DSN"),
        ("dkim_verified_domains", "DKIMVerifiedDomains"),
        ("remote_ip", "RemoteIP"),
        ("dest_mailbox_name", "DestMailboxName"),
        ("content_type_params", "ContentTypeParams"),
        ("email_address", "EmailAddress"),
    ],
)
def test_names_in_json_follow_from_those_in_python(attribute: str, name: str) -> None:
    assert wire_name(attribute) == name


@pytest.mark.parametrize("name", TYPES)
def test_types_are_frozen_slotted_and_keyword_only(name: str) -> None:
    type_: Any = getattr(webapi, name)
    assert is_dataclass(type_)
    assert all(field.kw_only for field in fields(type_))
    assert "__dict__" not in dir(type_)


def test_what_is_empty_is_what_is_absent() -> None:
    """Requests are written without what is empty, so that has to be what is read where nothing is."""
    for method in METHODS:
        for field in fields(method.request):
            if field.default is not MISSING or field.default_factory is not MISSING:
                made = field.default if field.default_factory is MISSING else field.default_factory()
                assert not made, (method.name, field.name)


def test_a_flag_that_may_be_missing_is_not_one_that_is_false() -> None:
    [field] = [field for field in fields_of(SendRequest) if field.attribute == "require_tls"]
    assert field.kind == OrNull(Scalar.FLAG)


@pytest.mark.parametrize(
    ("type_", "given"),
    [
        (SendRequest, {"date": NAIVE}),
        (SendRequest, {"future_release": NAIVE}),
        (SendRawRequest, {"message": b"", "future_release": NAIVE}),
        (Submission, {"address": "", "queue_msg_id": LARGE}),
        (Suppression, {"id": -LARGE - 1, "created": NAIVE.replace(tzinfo=UTC)}),
        (Suppression, {"id": 1, "created": NAIVE}),
        (MessageGetRequest, {"msg_id": LARGE}),
        (MessagePartGetRequest, {"msg_id": LARGE}),
        (MessagePartGetRequest, {"msg_id": 1, "part_path": (0, LARGE)}),
        (MessageMeta, {"size": LARGE}),
        (Upload, {"content": b"", "name": "a\n"}),
        (Upload, {"content": b"", "content_type": "a/b\r\nX: y"}),
        (Upload, {"content": b"", "content_id": "<\x7f>"}),
    ],
)
def test_what_has_no_json_is_refused(type_: type, given: dict[str, Any]) -> None:
    if type_ is Suppression:
        given = dict.fromkeys(("account", "base_address", "original_address"), "") | given
    with pytest.raises(InputError):
        type_(**given)


def test_extra_is_the_requests_own() -> None:
    extra = {"a": "1"}
    request = SendRequest(extra=extra)
    extra["a"] = "2"
    assert request.extra == {"a": "1"}
    with pytest.raises(TypeError):
        request.extra["a"] = "3"  # type: ignore[index]
    with pytest.raises(FrozenInstanceError):
        request.text = ""  # type: ignore[misc]
    assert hash(request) == hash(SendRequest(extra={"a": "1"}))


def test_there_are_uploads_or_not() -> None:
    upload = Upload(content=b"")
    assert not Uploads()
    assert all([Uploads(alternative=(upload,)), Uploads(inline=(upload,)), Uploads(attached=(upload,))])


# errors


def test_a_fault_is_the_error_of_a_call() -> None:
    fault = Fault(code="badFrom", message="no")
    assert fault.code is Code.BAD_FROM
    error = fault.error()
    assert (type(error), error.code, error.message) == (WebAPIError, Code.BAD_FROM, "no")


def test_a_text_is_shown_escaped_and_bounded() -> None:
    assert shown("a\nü\x00\ud800") == "a\\nü\\x00\\ud800"
    assert len(shown("a" * 10_000)) == MAX_TEXT
    assert len(shown("\x1b" * 10_000)) == MAX_TEXT
    assert shown("a" * MAX_TEXT) == "a" * MAX_TEXT
    assert shown("abcdef", 5) == "ab..."


# methods


def test_the_table_has_what_the_protocol_has() -> None:
    public = {name for name in vars(Methods) if not name.startswith("_")}
    assert {method.attribute for method in METHODS} == public
    assert list(BY_NAME) == [method.name for method in METHODS]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_the_table_says_what_the_protocol_says(method: webapi.Method) -> None:
    function = getattr(Methods, method.attribute)
    hints = get_type_hints(function)
    assert wire_name(method.attribute) == method.name
    assert hints["request"] is method.request
    if method.result is None:
        assert get_origin(hints["return"]) is AbstractAsyncContextManager
        assert get_args(hints["return"])[0] is ByteStream
    else:
        assert hints["return"] is method.result
        assert inspect.iscoroutinefunction(function)
    assert ("uploads" in hints) == method.takes_uploads
    assert ("idempotency_key" in hints) == method.takes_key
    assert len(set(method.codes)) == len(method.codes)


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_client_has_the_methods_of_the_protocol(method: webapi.Method) -> None:
    there, here = (
        inspect.signature(getattr(Methods, method.attribute)),
        inspect.signature(getattr(Client, method.attribute)),
    )
    assert here.parameters == there.parameters
    if method.result is not None:
        assert here.return_annotation == there.return_annotation


def test_a_client_is_methods() -> None:
    methods: Methods = Client("https://mail.example/webapi/v0/")
    assert isinstance(methods, Client)
