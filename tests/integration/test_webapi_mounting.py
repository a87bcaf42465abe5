"""The application under a path of others: Starlette, FastAPI, Litestar, beside Django, and by itself on uvicorn."""

import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import django
import httpx
import pytest
from django.conf import settings
from django.core.asgi import get_asgi_application
from fastapi import FastAPI
from litestar import Litestar, asgi
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route
from tests.integration.webapi_world import LOGIN, PASSWORD, World, serving, world

from moxlib.webapi import METHODS, Client, NameAddress, SendRequest

if TYPE_CHECKING:
    from starlette.types import ASGIApp


def alone(app: "ASGIApp") -> "ASGIApp":
    return app


def in_starlette(app: "ASGIApp") -> "ASGIApp":
    return Starlette(routes=[Mount("/mail/api", app)])


def in_starlette_twice(app: "ASGIApp") -> "ASGIApp":
    return Starlette(routes=[Mount("/mail", routes=[Mount("/{name}", app)])])


def in_fastapi(app: "ASGIApp") -> "ASGIApp":
    fastapi = FastAPI()
    fastapi.mount("/mail/api", app)
    return fastapi


def in_litestar(app: "ASGIApp") -> "ASGIApp":
    @asgi("/mail/api", is_mount=True, copy_scope=True)
    async def mail(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)

    return Litestar([mail], openapi_config=None)  # type: ignore[return-value]


def beside_django(app: "ASGIApp") -> "ASGIApp":
    if not settings.configured:
        settings.configure(ROOT_URLCONF=(), SECRET_KEY="x", ALLOWED_HOSTS=["*"])
        django.setup()

    async def with_slash(_request: Request) -> RedirectResponse:  # all other paths are Django's
        return RedirectResponse("/mail/api/")

    rest: Any = get_asgi_application()
    return Starlette(routes=[Route("/mail/api", with_slash), Mount("/mail/api", app), Mount("/", rest)])


HOSTS = (alone, in_starlette, in_starlette_twice, in_fastapi, in_litestar, beside_django)


@pytest.fixture(params=HOSTS, ids=lambda host: host.__name__)
def host(request: pytest.FixtureRequest) -> Callable[["ASGIApp"], "ASGIApp"]:
    chosen: Callable[[ASGIApp], ASGIApp] = request.param
    return chosen


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[World]:
    async with world(tmp_path, mailbox=None) as made:
        yield made


@pytest.fixture
async def base(here: World, host: Callable[["ASGIApp"], "ASGIApp"]) -> AsyncIterator[str]:
    """The URL that it is mounted at, without a slash at the end."""
    async with serving(host(here.app), lifespan="auto") as url:
        yield url if host is alone else f"{url}/mail/api"


async def test_it_can_be_called(here: World, base: str) -> None:
    async with Client(f"{base}/v0/", username=LOGIN, password=PASSWORD) as client:
        result = await client.send(SendRequest(to=(NameAddress(address="a@a.example"),), text="x"))
    [message] = await here.queued()
    assert [each.queue_msg_id for each in result.submissions] == [message.id]


@pytest.mark.parametrize("slash", ["", "/"])
async def test_the_base_leads_to_the_methods(base: str, slash: str) -> None:
    async with httpx.AsyncClient(follow_redirects=True) as client:
        page = await client.get(base + slash)
    assert page.status_code == 200
    assert str(page.url) == f"{base}/v0/"
    assert page.history[-1].status_code == 303


async def test_all_that_the_pages_refer_to_is_there(base: str) -> None:
    seen: set[str] = set()
    waiting = [f"{base}/v0/"]
    async with httpx.AsyncClient() as client:
        while waiting:
            url = waiting.pop()
            if url in seen:
                continue
            seen.add(url)
            answer = await client.get(url)
            assert answer.status_code == 200, url
            if answer.headers["content-type"].startswith("text/html"):
                links = re.findall(r'(?:href|src|action)="([^"#]*)"', answer.text)
                waiting += [found for link in links if (found := urljoin(url, link)).startswith(base)]
        assert (await client.get(f"{base}/v0/Nothing")).status_code == 404
        document = await client.get(f"{base}/v0/openapi.json")
    assert {f"{base}/v0/{method.name}" for method in METHODS} <= seen
    assert {f"{base}/v0/webapi.js", f"{base}/v0/webapi.css"} <= seen
    [server] = document.json()["servers"]
    paths = [urljoin(f"{base}/v0/openapi.json", server["url"]).rstrip("/") + path for path in document.json()["paths"]]
    assert set(paths) == {f"{base}/v0/{method.name}" for method in METHODS}
