"""The pages that show the methods to people: a list of them, and for each a form with an example call.

Nothing in them is inline, so that `PAGE_HEADERS` can forbid all script and style but those served beside them, at
`SCRIPT` and `STYLE`. Links are relative: the list is at the methods' base, each page at its method's name below it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from types import MappingProxyType
from typing import Final

from moxlib.webapi.methods import METHODS, Method

__all__ = ["PAGE_HEADERS", "SCRIPT", "STYLE", "Asset", "index_page", "method_page", "read_asset"]

SCRIPT: Final = "webapi.js"
STYLE: Final = "webapi.css"

PAGE_HEADERS: Final = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
            "base-uri 'none'; frame-ancestors 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
)
"""What has to be served with each page, its script and its style."""

_TYPES: Final = MappingProxyType({SCRIPT: "text/javascript; charset=utf-8", STYLE: "text/css; charset=utf-8"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that pages refer to."""

    content: bytes
    content_type: str


def read_asset(name: str) -> Asset | None:
    """Return the script or the style by its name; None for any other."""
    if name not in _TYPES:
        return None
    return Asset(content=_file(name).encode(), content_type=_TYPES[name])


def index_page(*, title: str = "Webapi", methods: Sequence[Method] | None = None) -> str:
    """Return the page that lists the methods that are served, as HTML; None: all."""
    listed = "\n".join(
        [
            f'<dt><a href="{escape(method.name)}">{escape(method.name)}</a></dt>\n<dd>{escape(method.summary)}</dd>'
            for method in (METHODS if methods is None else methods)
        ]
    )
    return Template(_file("index.html")).substitute(title=escape(title), methods=listed)


def method_page(method: Method, *, title: str = "Webapi") -> str:
    """Return the page of a method, as HTML: a form with an example request, and an example result."""
    texts = {
        "title": title,
        "name": method.name,
        "summary": method.summary,
        "request": method.example_request,
        "caption": "The result is not JSON." if method.example_result is None else "Example of a result",
        "response": method.example_result or "",
        "codes": ", ".join([*method.codes, "user", "server", "protocol"]),
    }
    return Template(_file("method.html")).substitute({name: escape(text) for name, text in texts.items()})


def _file(name: str) -> str:
    return files("moxlib.webapi").joinpath("assets", name).read_text(encoding="utf-8")
