"""How Sphinx builds this documentation: without a network, and with every warning an error."""

import builtins
import sys

from sphinx.application import Sphinx

import moxlib

project = "moxlib"
author = "the moxlib contributors"
copyright = author  # noqa: A001 - Sphinx asks for this name
version = release = moxlib.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"moxlib {release}"

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True

# Names of the standard library and of dependencies appear in signatures. Links to their documentation would need their
# inventories, hence a network, so they stay plain text. A name of moxlib's own that leads nowhere is still an error.
nitpicky = True
OTHERS = [
    *sorted(sys.stdlib_module_names),
    "aiofiles",
    "aiohttp",
    "aiosmtpd",
    "cryptography",
    "django",
    "dns",
    "click",
    "rich",
    "typing_extensions",
]
nitpick_ignore_regex = [
    ("py:.*", rf"({'|'.join(OTHERS)})(\..*)?"),
    ("py:.*", rf"({'|'.join(dir(builtins))})"),
    ("py:.*", r"(moxlib\..*\.)?([A-Z](_co)?|\w+T)"),  # type variables, which autodoc does not document
    # Names that a lazily loaded module imports for type checkers only, so that autodoc sees them without their module.
    ("py:.*", "Buffer|Logger|PathLike|ImproperlyConfigured|TransactionManagementError"),
]
nitpick_ignore = [
    ("py:class", "EmailMessage"),  # of a type alias in quotes, which autodoc shows as it is written
    ("py:class", "moxlib.queue.transport.direct.transport.Default"),  # the type of "not given", beside None
    ("py:class", "tuple[~moxlib.queue.dsn_request.Notify"),  # half of a type, behind a Literal that has an empty text
    ("py:class", "tuple[~moxlib.webhook.payload.Structure"),  # half of a type that names itself in quotes
    ("py:class", "tuple[str"),  # half of a list of pairs, of moxlib.webapi.types.SendRequest.headers
    ("py:class", "tuple[~moxlib.webapi.accounts.SenderAddress"),  # half of a type, before a default that is made anew
    ("py:class", "moxlib.queue.hooks.records.HookPlan"),  # what configuration, decisions and storage pass on among
    ("py:class", "moxlib.queue.storage.hooks.HookStorage"),  # themselves, as the next
    ("py:class", "moxlib.queue.feedback.report.ReceivedFeedback"),
    ("py:class", "ASGIApp"),  # Starlette's, and prometheus-client's, which type checkers alone import
    ("py:class", "Scope"),
    ("py:class", "CollectorRegistry"),
    ("py:class", "SMTP"),  # aiosmtpd's, which a type checker alone imports
    ("py:class", "Envelope"),
    ("py:class", "moxlib.smtpclient.wire.Wire"),  # what the parts of the state machine pass on among themselves
]

# Napoleon links every name under "Attributes:" to whatever attribute of any class has that name, and complains where
# there are several. A link that leads nowhere is of another type ("ref.class", "ref.obj"), and still an error.
suppress_warnings = ["ref.python"]


def keep_first_line(_app: Sphinx, what: str, _name: str, _obj: object, _options: object, lines: list[str]) -> None:
    """Keep napoleon from taking what stands before a colon in an attribute's docstring for the attribute's type."""
    if what in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # an empty comment, for napoleon looks at the first line that is not blank


def setup(app: Sphinx) -> None:
    """Be called by Sphinx."""
    app.connect("autodoc-process-docstring", keep_first_line, priority=400)  # before napoleon, whose priority is 500
