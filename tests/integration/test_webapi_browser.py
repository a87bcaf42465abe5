"""The pages of the methods, in a browser: they call, show what is answered, and let nobody else call."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from concurrent.futures import Future
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
import uvicorn
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from starlette.applications import Starlette
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route
from tests.conformance.webapi_host import PASSWORD, authorization, hosting
from tests.unit.webapi.conftest import MAIL

from moxlib.webapi import METHODS

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

    from selenium.webdriver.remote.webelement import WebElement
    from starlette.requests import Request

LOGIN = "mjl@mox.example"
CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)
PATIENCE = 30.0  # seconds; an answer takes milliseconds, so this only ends what hangs
MESSAGE = {"To": [{"Address": "rcpt@remote.example"}], "Subject": "Hello", "Text": "Hello.\n"}


class Servers:
    """A server of the webapi, and one of somebody else's pages, in a thread with an event loop of its own."""

    def __init__(self) -> None:
        self.pages: dict[str, str] = {}
        """What is at `elsewhere`."""
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=asyncio.run, args=(self._run(),))

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    def queued(self) -> list[str]:
        return [message.recipient for message in self._do(self._host.queue.list_messages()).items]

    def _do(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        try:
            async with hosting() as self._host, asyncio.TaskGroup() as group:
                await self._host.mailbox.add("mjl", MAIL)
                webapi = [Mount(path, self._host.app) for path in ("/webapi", "/some/where/else")]
                ours, theirs = _server([*webapi, Route("/login", _login)]), _server([Route("/{name}", self._page)])
                ends = []
                for server in (ours, theirs):
                    listener = socket.create_server(("127.0.0.1", 0))
                    ends.append(f"127.0.0.1:{listener.getsockname()[1]}")
                    group.create_task(server.serve([listener]))
                self.host, self.elsewhere = ends
                self._ready.set_result(None)
                await self._over.wait()
                ours.should_exit = theirs.should_exit = True
        except BaseException as error:
            if not self._ready.done():
                self._ready.set_exception(error)
            raise

    async def _page(self, request: Request) -> Response:
        name = request.path_params["name"]
        return HTMLResponse(self.pages[name]) if name in self.pages else Response(status_code=204)


def _server(routes: list[Any]) -> uvicorn.Server:
    return uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_config=None, lifespan="off", ws="none"))


async def _login(request: Request) -> Response:
    """Ask for the webapi's password, as its methods do, but for a page that can be gone to."""
    if request.headers.get("authorization") == authorization(LOGIN)[1]:
        return HTMLResponse("<title>known</title>")
    return Response("401", 401, {"WWW-Authenticate": 'Basic realm="webapi", charset="UTF-8"'})


class Browser:
    """Chromium, at a page of the servers."""

    def __init__(self, driver: Chrome, servers: Servers) -> None:
        self.driver = driver
        self.servers = servers

    def go(self, path: str) -> None:
        self.driver.get(f"http://{self.servers.host}{path}")

    def __getitem__(self, id_: str) -> WebElement:
        return self.driver.find_element(By.ID, id_)

    def write(self, id_: str, text: str) -> None:
        self[id_].clear()
        self[id_].send_keys(text)

    def log_in(self) -> None:
        self.write("username", LOGIN)
        self.write("password", PASSWORD)

    def call(self, request: object) -> tuple[str, str]:
        """Put a request into the form, press the button, and return the status and the text that are shown then."""
        text = request if isinstance(request, str) else json.dumps(request)
        self.driver.execute_script("document.getElementById('request').value = arguments[0]", text)
        self["send"].click()
        WebDriverWait(self.driver, PATIENCE, 0.01).until(lambda _: self["status"].text and self["send"].is_enabled())
        return self["status"].text, self["response"].get_property("value")  # type: ignore[return-value]

    def complaints(self) -> list[str]:
        """Return what has gone to the console since it was asked for last."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


@pytest.fixture
def servers() -> Iterator[Servers]:
    with Servers() as started:
        yield started


@pytest.fixture
def browser(servers: Servers, tmp_path: Path) -> Iterator[Browser]:
    """A browser that knows no password."""
    for program in (CHROMIUM, DRIVER):
        if not Path(program).exists():
            pytest.skip(f"{program} is not installed (Debian: chromium, chromium-driver)")
    options = ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options, Service(executable_path=DRIVER))
    try:
        yield Browser(driver, servers)
    finally:
        driver.quit()


@pytest.mark.parametrize("base", ["/webapi", "/some/where/else"])
def test_the_list_leads_to_the_page_of_each_method(browser: Browser, base: str) -> None:
    browser.go(f"{base}/")
    links = browser.driver.find_elements(By.CSS_SELECTOR, "dt a")
    assert [link.text for link in links] == [method.name for method in METHODS]
    for method in METHODS[:3]:
        browser.driver.find_element(By.LINK_TEXT, method.name).click()
        assert browser.driver.current_url == f"http://{browser.servers.host}{base}/v0/{method.name}"
        assert browser["request"].get_property("value") == method.example_request
        browser.driver.find_element(By.CSS_SELECTOR, "h1 a").click()
    assert browser.complaints() == []


@pytest.mark.parametrize("base", ["/webapi", "/some/where/else"])
def test_a_page_calls_its_method(browser: Browser, base: str) -> None:
    browser.go(f"{base}/v0/Send")
    browser.log_in()
    status, result = browser.call(MESSAGE)
    assert status == "200 OK"
    assert [one["Address"] for one in json.loads(result)["Submissions"]] == ["rcpt@remote.example"]
    assert browser.servers.queued() == ["rcpt@remote.example"]
    assert browser["caption"].text == "Result"
    assert browser.complaints() == [], "the policy forbids nothing of what a page does"


def test_an_error_is_shown(browser: Browser) -> None:
    browser.go("/webapi/v0/Send")
    browser.log_in()
    status, result = browser.call({"Text": "To nobody."})
    assert status == "400 Bad Request"
    assert json.loads(result)["Code"] == "noRecipients"
    status, result = browser.call("{")
    assert status == "not sent"
    assert result.startswith("The request is not JSON: ")
    browser.write("password", "wrong")
    status, result = browser.call(MESSAGE)
    assert status == "401 Unauthorized"
    assert result == "401 - the email address or the password is wrong\n"
    assert browser.servers.queued() == []


def test_the_octets_of_a_message_are_shown(browser: Browser) -> None:
    browser.go("/webapi/v0/MessageRawGet")
    browser.log_in()
    status, result = browser.call({"MsgID": 1})
    assert status == "200 OK"
    assert result == MAIL.decode().replace("\r\n", "\n")


def test_what_is_asked_and_answered_is_text(browser: Browser) -> None:
    hostile = "</textarea><img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    browser.go("/webapi/v0/SuppressionAdd")
    browser.log_in()
    status, _ = browser.call({"EmailAddress": "rcpt@remote.example", "Manual": True, "Reason": hostile})
    assert status == "200 OK"
    browser.go("/webapi/v0/SuppressionList")
    browser.log_in()
    status, result = browser.call({})
    assert json.loads(result)["Suppressions"][0]["Reason"] == hostile
    assert browser.driver.find_elements(By.TAG_NAME, "img") == []
    assert browser.driver.title == "SuppressionList - Webapi"
    assert browser.complaints() == []


@pytest.mark.parametrize(
    "inject",
    [
        "const one = document.createElement('script'); one.textContent = \"document.title = 'run'\"; body.append(one);",
        "body.innerHTML = `<img src=x onerror=\"document.title = 'run'\">`;",
        "body.innerHTML = `<a id=link href=\"javascript:document.title = 'run'\">x</a>`; link.click();",
    ],
    ids=["element", "handler", "link"],
)
def test_a_script_that_got_into_a_page_does_not_run(browser: Browser, inject: str) -> None:
    browser.go("/webapi/v0/Send")
    browser.driver.execute_script(f"const body = document.body; {inject}")
    said = WebDriverWait(browser.driver, PATIENCE, 0.01).until(lambda _: browser.complaints())
    assert "Content Security Policy" in said[0]
    assert browser.driver.title == "Send - Webapi"


@pytest.fixture
def known(browser: Browser) -> Browser:
    """A browser that remembers the password."""
    browser.driver.get(f"http://{LOGIN.replace('@', '%40')}:{PASSWORD}@{browser.servers.host}/login")
    assert browser.driver.title == "known"
    return browser


def test_the_browser_may_remember_the_password(known: Browser) -> None:
    known.go("/webapi/v0/Send")
    status, _ = known.call(MESSAGE)
    assert status == "200 OK"
    assert known.servers.queued() == ["rcpt@remote.example"]


def test_a_page_works_where_the_address_has_the_password(browser: Browser) -> None:
    browser.driver.get(f"http://{LOGIN.replace('@', '%40')}:{PASSWORD}@{browser.servers.host}/webapi/v0/Send")
    browser.log_in()
    status, _ = browser.call(MESSAGE)
    assert status == "200 OK"


def test_without_a_script_the_form_is_posted(known: Browser) -> None:
    known.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    known.go("/webapi/v0/Send")
    known.write("request", json.dumps(MESSAGE))
    known["send"].click()
    # The form's own page shows an example of a result.
    WebDriverWait(known.driver, PATIENCE, 0.01).until(
        lambda driver: '"Submissions"' in driver.page_source and "<textarea" not in driver.page_source
    )
    assert known.servers.queued() == ["rcpt@remote.example"]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_origin_cannot_call(known: Browser, name: str) -> None:
    url = f"http://{known.servers.host}/webapi/v0/Send"
    known.servers.pages["form"] = (
        f'<form id="form" method="post" action="{url}"><input name="request" value="{escape(json.dumps(MESSAGE))}">'
        '<button id="button">Win a prize</button></form>'
    )
    known.driver.get(f"http://{known.servers.elsewhere.replace('127.0.0.1', name)}/form")
    known["button"].click()
    WebDriverWait(known.driver, PATIENCE, 0.01).until(lambda driver: driver.current_url == url)
    assert known.driver.find_element(By.TAG_NAME, "body").text == "403 - a page of another site may not call"
    assert known.servers.queued() == []


@pytest.mark.parametrize("mode", ["cors", "no-cors"])
def test_a_script_of_another_origin_cannot_call(known: Browser, mode: str) -> None:
    known.servers.pages["script"] = "<title>script</title>"
    known.driver.get(f"http://{known.servers.elsewhere}/script")
    script = """
        const [url, mode, body, done] = arguments;
        fetch(url, {method: "POST", mode, credentials: "include", body: new URLSearchParams({request: body})})
            .then((answer) => done(answer.type), (error) => done(error.message));
    """
    url = f"http://{known.servers.host}/webapi/v0/Send"
    said = known.driver.execute_async_script(script, url, mode, json.dumps(MESSAGE))
    assert said == ("opaque" if mode == "no-cors" else "Failed to fetch")
    assert known.servers.queued() == []


def test_a_page_of_another_origin_cannot_frame_ours(known: Browser) -> None:
    known.servers.pages["frame"] = f'<iframe src="http://{known.servers.host}/webapi/v0/Send"></iframe>'
    known.driver.get(f"http://{known.servers.elsewhere}/frame")
    known.driver.switch_to.frame(0)
    assert known.driver.find_elements(By.ID, "send") == []
