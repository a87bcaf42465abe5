"""What importing from moxio loads, and that the three lists of its names agree."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import moxlib.moxio


def loaded_by(code: str) -> set[str]:
    """Return the modules that `code` adds to a fresh interpreter."""
    listing = "import sys; print(*sys.modules)"
    outputs = [
        subprocess.run([sys.executable, "-c", source], check=True, capture_output=True, text=True).stdout.split()
        for source in (listing, f"{code}; {listing}")
    ]
    return set(outputs[1]) - set(outputs[0])


def test_base64writer_loads_nothing_that_is_slow() -> None:
    loaded = loaded_by("from moxlib.moxio import Base64Writer")
    assert loaded >= {"binascii", "moxlib.moxio.base64writer"}
    assert not loaded & {"asyncio", "logging", "re", "socket", "ssl", "threading", "typing"}


@pytest.mark.parametrize("name", moxlib.moxio.__all__)
def test_only_the_standard_library_is_loaded_and_asyncio_where_it_is_needed(name: str) -> None:
    loaded = loaded_by(f"from moxlib.moxio import {name}")
    packages = {module.partition(".")[0] for module in loaded}
    assert packages <= sys.stdlib_module_names | {"moxlib"}
    in_need = {"AsyncTLSConn", "TLSConn", "wrap_tls", "wrap_tls_async"}
    assert ("asyncio" in loaded) == (name in in_need)


def test_lazy_names_are_the_ones_that_type_checkers_see() -> None:
    assert moxlib.moxio.__file__ is not None
    tree = ast.parse(Path(moxlib.moxio.__file__).read_text())
    seen = {
        alias.name: node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    del seen["lazy_names"]
    assert sorted(seen) == sorted(moxlib.moxio.__all__) == dir(moxlib.moxio)
    for name, module in seen.items():
        assert module is not None
        assert getattr(moxlib.moxio, name) is getattr(sys.modules[module], name)
        assert name in sys.modules[module].__all__


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match=r"moxlib\.moxio.*Base65Writer"):
        _ = moxlib.moxio.Base65Writer  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue] - so it is
