"""The reference of the webapi's methods is what the types say."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "webapi_methods.py"


def test_the_page_is_what_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("webapi_methods", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    written = script.PAGE.read_text(encoding="utf-8")
    assert written == script.methods_page(), "run: python docs/webapi_methods.py"
