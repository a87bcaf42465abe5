"""The webapi does what its OpenAPI document says, for requests that schemathesis makes up: right ones and wrong ones.

schemathesis knows that a field of a multipart form can be JSON, but not so of a percent-encoded one: those are tried by
what is in the field, which it takes for the body.
"""

from __future__ import annotations

import json
from base64 import b64encode
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_from_bytes, urljoin

import jsonschema_rs
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.conformance.webapi_host import BASE, PASSWORD, accounts, hosting
from tests.unit.webapi.conftest import MAIL

from moxlib.queue import Queue, QueueConfig
from moxlib.testing import FakeClock, MemoryStorage
from moxlib.webapi.asgi import asgi_app
from moxlib.webapi.openapi import openapi_document
from moxlib.webapi.service import Service
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    Case = schemathesis.Case[Any]

LOGIN = {"username": "mjl@mox.example", "password": PASSWORD}
MULTIPART = "multipart/form-data"
FIELDS = {"request", "alternativefile", "inlinefile", "attachedfile"}
URLENCODED = "application/x-www-form-urlencoded"
DOCUMENT = openapi_document(server_url=BASE)


clock = FakeClock()


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Run the webapi of somebody who has a message. schemathesis has one for each test, in an event loop of its own."""
    with TemporaryDirectory() as directory:
        async with (
            Queue(MemoryStorage(), config=QueueConfig(hostname="mox.example"), clock=clock) as queue,
            SQLiteMailbox(Path(directory) / "mailbox.db", clock=clock) as mailbox,
        ):
            await mailbox.add("mjl", MAIL)
            service = Service(queue, accounts(clock), mailbox=mailbox, clock=clock)
            app.router.routes[:] = [Mount(BASE, asgi_app(service))]
            yield


server = Starlette(lifespan=lifespan)


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The server, an hour after the last request, so that no limit on logins or messages is reached."""
    await clock.advance(3600)
    await server({**scope, "client": ("127.0.0.1", 1)}, receive, send)


async def app_of_fields(scope: Any, receive: Any, send: Any) -> None:
    """The same for the JSON that is in the forms."""

    async def form() -> Any:
        event = await receive()
        body = b"request=" + quote_from_bytes(event.get("body", b"")).encode()
        return event | {"body": body, "more_body": False}

    headers = [(name, value) for name, value in scope.get("headers", []) if name != b"content-type"]
    await app({**scope, "headers": [*headers, (b"content-type", URLENCODED.encode())]}, form, send)


def only(media_type: str, new: str) -> Any:
    """Return the document with forms of one type; those that are percent-encoded as what is in them."""
    document = deepcopy(DOCUMENT)
    for path in document["paths"].values():
        form = path["post"]["requestBody"]["content"][media_type]
        if new != media_type:
            form = {"schema": form["schema"]["properties"]["request"], "example": form["example"]["request"]}
        path["post"]["requestBody"]["content"] = {new: form}
    return document


def loaded(document: Any, app: Any) -> Any:
    config = {
        "base-url": f"http://testserver{BASE}/v0",
        "auth": {"basic": LOGIN},
        "generation": {"deterministic": True, "database": "none"},
        # The document leaves out what is there to GET: pages, for people.
        "phases": {"coverage": {"unexpected-methods": ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]}},
        "checks": {
            "allow_header_conformance": {"enabled": False},
            # Those two are too strict: see `understood` and `refused`.
            "positive_data_acceptance": {"enabled": False},
            "negative_data_rejection": {"enabled": False},
        },
    }
    schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig.from_dict(config))
    schema.app = app
    schema.hook(map_body)
    return schema


def map_body(_context: Any, body: Any) -> Any:
    return likely(body)


def likely(body: Any, name: str = "") -> Any:
    """Return a body of which more can be done than of any: half of its values are some that there are.

    And it has 1 for 1.0: JSON Schema takes them for the same, but Go does not, and so not mox.
    """
    match body:
        case float() if body.is_integer():
            return likely(int(body), name)
        case str() if name in LIKELY and len(body) % 2 == 0:
            return LIKELY[name]
        case int() if name == "MsgID" and not isinstance(body, bool) and body in range(0, 2**63, 2):
            return 1
        case {"Address": str(address)} if name == "From" and len(address) % 2 == 0:
            return {"Address": LOGIN["username"]}
        case {"To": _} | {"CC": _} | {"BCC": _} if "Text" not in body:
            return likely({**body, "Text": ""}, name)
        case dict():
            return {key: likely(value, key) for key, value in body.items()}
        case list():
            return [likely(value, name) for value in body]
        case _:
            return body


LIKELY = {
    "Address": "rcpt@remote.example",
    "EmailAddress": "rcpt@remote.example",
    "Recipients": "rcpt@remote.example",
    "MailFrom": LOGIN["username"],
    "Message": b64encode(MAIL).decode(),
    "Text": "Hello.",
    "DestMailboxName": "Inbox",
}


def understood(_context: Any, response: Any, case: Case) -> None:
    """Fail where the document allows a request, and it is refused for its form; or where it is the server's fault.

    It may be refused for other reasons, such as that there is no message of that number.
    """
    if response.status_code == 200 and case.path == "/SendBatch":
        results = response.json()["Results"]
        assert [one for one in results if one["Error"] and one["Error"]["Code"] == "server"] == []
    if response.status_code == 400:
        fault = response.json()
        assert fault["Code"] != "server", fault
        assert fault["Code"] != "protocol" or case.meta is None or not case.meta.generation.mode.is_positive, fault


def refused(context: Any, response: Any, case: Case) -> None:
    """Fail where the document forbids a request, and it is accepted.

    As in mox, null and what is absent are as good as empty, and nobody looks at another field of a form. The document
    does not promise it.
    """
    if response.status_code != 200:
        return
    body: Any = case.body
    if case.media_type == MULTIPART:
        if not body.keys() <= FIELDS:
            return
        body = body["request"]
    strict, lenient = validators(f"{case.path.removeprefix('/')}Request")
    if strict.is_valid(body) or not lenient.is_valid(body):
        negative_data_rejection(context, response, case)


@cache
def validators(name: str) -> tuple[Any, Any]:
    """Return what validates a type, and what does when null may stand for each value, and nothing is required."""
    schemas = DOCUMENT["components"]["schemas"]
    reference = {"$ref": f"#/components/schemas/{name}"}
    strict = jsonschema_rs.validator_for({**reference, "components": {"schemas": schemas}})
    lenient = jsonschema_rs.validator_for({**with_nulls(reference), "components": {"schemas": with_nulls(schemas)}})
    return strict, lenient


def with_nulls(schema: Any) -> Any:
    match schema:
        case {"$ref": _}:
            return {"anyOf": [schema, {"type": "null"}]}
        case {"type": str(type_) | [str(type_), *_]}:
            rest = {name: with_nulls(value) for name, value in schema.items() if name != "required"}
            return rest | {"type": [type_, "null"]}
        case dict():
            return {name: with_nulls(value) for name, value in schema.items()}
        case _:
            return schema


CHECKS: Any = [understood, refused]
of_forms = loaded(only(MULTIPART, MULTIPART), app)
of_fields = loaded(only(URLENCODED, "application/json"), app_of_fields)


@of_forms.parametrize()  # type: ignore[untyped-decorator]
def test_forms(case: Case) -> None:
    case.call_and_validate(additional_checks=CHECKS)


@of_fields.parametrize()  # type: ignore[untyped-decorator]
def test_fields(case: Case) -> None:
    case.call_and_validate(additional_checks=CHECKS)


async def test_the_server_of_the_document_is_where_it_is() -> None:
    async with hosting() as host:
        answer = await host.call("GET", "/v0/openapi.json")
    [server] = json.loads(answer.body)["servers"]
    for base in ("", BASE):
        url = urljoin(f"https://mail.example{base}/v0/openapi.json", server["url"])
        assert f"{url}/Send" == f"https://mail.example{base}/v0/Send"
