"""What the project promises about itself: its dependencies, its package, its commands."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from importlib.resources import files
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import pytest
from packaging.requirements import Requirement

import moxlib

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "moxlib"
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_the_base_install_is_exactly_four_dependencies() -> None:
    base = [r for r in map(Requirement, metadata.requires("moxlib") or []) if "extra" not in str(r.marker)]
    assert {(r.name, frozenset(r.extras)) for r in base} == {
        ("dnspython", frozenset({"idna"})),
        ("cryptography", frozenset()),
        ("aiofiles", frozenset()),
        ("typing-extensions", frozenset()),
    }
    assert all(r.marker is None for r in base)


def test_the_extra_all_is_every_other_extra() -> None:
    extras = dict(PYPROJECT["project"]["optional-dependencies"])
    [everything] = extras.pop("all")
    assert Requirement(everything).extras == set(extras)


def test_the_version_is_written_once() -> None:
    assert "version" not in PYPROJECT["project"]
    assert metadata.version("moxlib") == moxlib.__version__


def test_the_package_holds_every_file_of_the_source() -> None:
    installed = files("moxlib")
    missing = [
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
        if not installed.joinpath(*path.relative_to(SOURCE).parts).is_file()
    ]
    assert missing == []
    assert installed.joinpath("py.typed").is_file()


def modules() -> list[str]:
    return ["moxlib", *(m.name for m in walk_packages(moxlib.__path__, "moxlib.") if not m.name.endswith("__main__"))]


@pytest.mark.parametrize("name", modules())
def test_a_module_says_what_it_is_for(name: str) -> None:
    assert (import_module(name).__doc__ or "").strip()


@pytest.mark.parametrize("name", modules())
def test_a_module_has_the_names_it_exports(name: str) -> None:
    module = import_module(name)
    exported = getattr(module, "__all__", [])
    assert [each for each in exported if not hasattr(module, each)] == []
    assert set(exported) <= set(dir(module))


def test_the_page_on_layers_shows_those_that_are_checked() -> None:
    contract = next(c for c in PYPROJECT["tool"]["importlinter"]["contracts"] if c.get("containers") == ["moxlib"])
    checked = [
        there
        for layer in contract["layers"]
        # A name in parentheses is a part to come; __main__ is the command's other name.
        if (there := " | ".join(name for name in layer.split(" | ") if name[0] != "(" and name != "__main__"))
    ]
    page = (ROOT / "docs" / "explanation" / "layers.md").read_text(encoding="utf-8")
    [shown] = re.findall(r"^```text\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert shown.splitlines() == checked


def test_no_group_is_repeated_possessively() -> None:
    """Python 3.11 before 3.11.5, which Debian 12 has, matches `(?:...)*+` wrongly (CPython gh-106052)."""
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCE.rglob("*.py")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\)(?:[*+?]|\{[\d,]+\})\+", line.partition("  #")[0]) and not line.startswith("#")
    ]
    assert found == []


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that `statement` loads in a fresh interpreter."""
    program = f"import sys\nbefore = set(sys.modules)\n{statement}\nprint(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("package", ["moxlib", "moxlib.moxio"])
def test_importing_loads_no_third_party_package_and_no_asyncio(package: str) -> None:
    loaded = loaded_by(f"import {package}")
    assert loaded - sys.stdlib_module_names == {"moxlib"}
    assert "asyncio" not in loaded


def readme_commands() -> list[str]:
    """Return the commands of README's first section that has any."""
    fence = re.search(r"^```sh\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert fence
    return [line for line in fence[1].splitlines() if line and not line.startswith("#")]


def test_readme_starts_with_exactly_two_commands() -> None:
    demo, tests = readme_commands()
    assert demo.endswith("nox -s demo")
    assert tests.endswith("nox")


def test_ci_calls_readmes_test_command() -> None:
    assert readme_commands()[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
