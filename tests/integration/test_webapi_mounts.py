"""The webapi below a path of frameworks, each of which tells an application about its path in another way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar
from litestar.handlers import asgi
from starlette.applications import Starlette
from starlette.routing import Mount
from tests.conformance.webapi_host import PASSWORD, hosting

if TYPE_CHECKING:
    from collections.abc import Callable


def fastapi(app: Any, path: str) -> Any:
    made = FastAPI()
    made.mount(path, app)
    return made


MOUNTS: dict[str, Callable[[Any, str], Any]] = {
    "fastapi": fastapi,
    "starlette": lambda app, path: Starlette(routes=[Mount(path, app)]),
    "litestar": lambda app, path: Litestar([asgi(path, is_mount=True, copy_scope=True)(app)]),
}


@pytest.mark.parametrize("mount", MOUNTS.values(), ids=MOUNTS)
@pytest.mark.parametrize("path", ["/webapi", "/a:b/c"])
async def test_calls_and_pages(mount: Callable[[Any, str], Any], path: str) -> None:
    async with hosting() as host:
        transport = httpx.ASGITransport(mount(host.app, path))
        async with httpx.AsyncClient(transport=transport, base_url=f"http://shop.example{path}") as client:
            login = ("mjl@mox.example", PASSWORD)
            answer = await client.post("/v0/SuppressionList", auth=login, data={"request": "{}"})
            assert (answer.status_code, answer.json()) == (200, {"Suppressions": []})
            for name in ("Send", "", "webapi.js", "openapi.json"):
                assert (await client.get(f"/v0/{name}")).status_code == 200
            assert (await client.get("/v0/None")).status_code == 404


@pytest.mark.parametrize("mount", MOUNTS.values(), ids=MOUNTS)
@pytest.mark.parametrize("path", ["/webapi", "/a:b/c"])
async def test_the_base_leads_to_the_list(mount: Callable[[Any, str], Any], path: str) -> None:
    async with hosting() as host:
        transport = httpx.ASGITransport(mount(host.app, path))
        async with httpx.AsyncClient(transport=transport, follow_redirects=True) as client:
            for end in ("", "/"):
                answer = await client.get(f"http://shop.example{path}{end}")
                assert (answer.status_code, answer.url.path) == (200, f"{path}/v0/")
