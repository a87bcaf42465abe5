"""Pages are well-formed, everything in them is escaped, and nothing is inline."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from moxlib.webapi import METHODS, Code, Method, SendRequest
from moxlib.webapi.methods import BY_NAME
from moxlib.webapi.pages import PAGE_HEADERS, SCRIPT, STYLE, index_page, method_page, read_asset

VOID = {"meta", "link", "input", "br"}


class Page(HTMLParser):
    """A page, read strictly: every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "textarea":
            data = data.removeprefix("\n")  # as browsers do
        where = self._open[-1] if self._open else ""
        name = next((attrs.get("id") for tag, attrs in reversed(self.tags) if tag == where), None) or where
        self.texts[name] = self.texts.get(name, "") + data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


def all_pages() -> list[str]:
    return [index_page(), *map(method_page, METHODS)]


def test_the_list_has_every_method() -> None:
    page = Page(index_page(title="Mail"))
    assert [attrs["href"] for attrs in page.of("a")] == [method.name for method in METHODS]
    assert page.texts["title"] == "Mail"


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_a_page_has_an_example_call_as_a_form(method: Method) -> None:
    page = Page(method_page(method))
    [form] = page.of("form")
    assert (form["method"], form["action"]) == ("post", method.name)
    assert [attrs["name"] for _, attrs in page.tags if "name" in attrs and _ == "textarea"] == ["request"]
    assert page.texts["request"] == method.example_request
    assert page.texts.get("response", "") == (method.example_result or "")
    assert all("name" not in attrs for attrs in page.of("input")), "a login is not posted as part of the form"
    shown = page.texts["p"]
    assert all(code in shown for code in method.codes)


def test_everything_is_escaped() -> None:
    hostile = '"><script>alert(1)</script>&amp;$name'
    method = replace(BY_NAME["Send"], name=hostile, summary=hostile)
    for text in (method_page(method, title=hostile), index_page(title=hostile, methods=[method])):
        page = Page(text)
        assert len(page.of("script")) <= 1
        assert [attrs for attrs in page.of("script") if attrs.get("src") != SCRIPT] == []
        assert hostile in page.texts["title"]
        assert hostile in {attrs.get("href") or attrs.get("action") for _, attrs in page.tags}


@pytest.mark.parametrize("text", all_pages(), ids=["list", *(method.name for method in METHODS)])
def test_nothing_is_inline_and_nothing_is_from_elsewhere(text: str) -> None:
    page = Page(text)
    assert page.texts.get("script") is None
    assert page.of("style") == []
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        for name in ("src", "href", "action"):
            target = attrs.get(name) or ""
            assert re.fullmatch(r"[A-Za-z.]*/?", target), target
    assert {attrs["href"] for attrs in page.of("link")} == {STYLE}


def test_the_policy_forbids_all_but_what_is_served_beside() -> None:
    directives = dict(
        directive.strip().split(" ", 1) for directive in PAGE_HEADERS["Content-Security-Policy"].split(";")
    )
    assert directives["default-src"] == directives["base-uri"] == directives["frame-ancestors"] == "'none'"
    assert {directives[name] for name in ("script-src", "style-src", "connect-src", "form-action")} == {"'self'"}
    assert "unsafe" not in PAGE_HEADERS["Content-Security-Policy"]


def test_script_and_style_are_served_by_name() -> None:
    script, style = read_asset(SCRIPT), read_asset(STYLE)
    assert script is not None
    assert style is not None
    assert script.content_type == "text/javascript; charset=utf-8"
    assert style.content_type == "text/css; charset=utf-8"
    text = script.content.decode()
    assert "innerHTML" not in text
    assert "eval" not in text
    for name in re.findall(r'element\("(\w+)"\)', text):
        assert f'id="{name}"' in method_page(BY_NAME["Send"]), name


@pytest.mark.parametrize("name", ["", "index.html", "../pages.py", "/etc/passwd", "webapi.JS", "WEBAPI.css"])
def test_nothing_else_is_served(name: str) -> None:
    assert read_asset(name) is None


def test_examples_are_json() -> None:
    assert json.loads(BY_NAME["Send"].example_request)["Headers"] == [["", ""]]
    assert json.loads(BY_NAME["SendBatch"].example_result or "")["Results"][0]["Error"] is None
    assert BY_NAME["Send"].request is SendRequest
    assert Code.BAD_FROM in BY_NAME["Send"].codes
