"""The runner itself: it passes what passes, and nothing else."""

import base64
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parent / "run.py"
AREAS = sorted(path.stem for path in (RUN.parent / "areas").glob("*.py"))

GOOD_DOMAIN = {
    "input": "Example.com",
    "parse": {
        "ok": True,
        "ascii": "example.com",
        "unicode": "",
        "ascii_extra_true": "",
        "name": "example.com",
        "string": "example.com",
        "xname_false": "example.com",
        "xname_true": "example.com",
    },
    "parse_lax": {"ok": True, "ascii": "example.com", "unicode": ""},
}
BAD_DOMAIN = {**GOOD_DOMAIN, "parse_lax": {"ok": True, "ascii": "EXAMPLE.com", "unicode": ""}}
REFUSED_DOMAIN = {
    "input": {"b64": base64.b64encode(b"\xff.example").decode()},
    "parse": {"ok": False, "error": "mox's own words"},
    "parse_lax": {"ok": False, "error": "other words"},
}
QUIRK = {**BAD_DOMAIN, "mox_quirk": "a mistake"}
MINOR = {**GOOD_DOMAIN, "mox_quirk_minor": "an odd detail"}


@pytest.fixture(name="run")
def fixture_run() -> Any:
    spec = importlib.util.spec_from_file_location("conformance_run", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(directory: Path, name: str, cases: object) -> str:
    path = directory / name
    path.write_text(json.dumps(cases), "utf-8")
    return str(path)


def _main(run: Any, *names: str) -> tuple[int, list[str]]:
    out = io.StringIO()
    status = run.main(names, out)
    return status, out.getvalue().splitlines()


def test_passing_file(run: Any, tmp_path: Path) -> None:
    name = _write(tmp_path, "dns_domain.mine.json", [GOOD_DOMAIN, REFUSED_DOMAIN, MINOR])
    assert _main(run, name) == (0, ["dns_domain 3/3"])


def test_failing_case_is_shown_and_fails_the_run(run: Any, tmp_path: Path) -> None:
    good = _write(tmp_path, "dns_domain.good.json", [GOOD_DOMAIN])
    name = _write(tmp_path, "dns_domain.json", [GOOD_DOMAIN, BAD_DOMAIN])
    status, lines = _main(run, name, good)
    assert status == 1
    assert lines[0] == "FAIL dns_domain"
    assert lines[1] == "  input:    'Example.com'"
    assert lines[2].startswith("  expected: {'parse'")
    assert lines[3].startswith("  got:      {'parse'")
    assert lines[4:] == ["dns_domain 1/2", "dns_domain 1/1"]


def test_quirks_are_skipped_and_counted(run: Any, tmp_path: Path) -> None:
    name = _write(tmp_path, "dns_domain.json", [GOOD_DOMAIN, QUIRK, QUIRK])
    assert _main(run, name) == (0, ["dns_domain 1/1 (skipped 2 quirks)"])


def test_a_case_that_raises_fails(run: Any, tmp_path: Path) -> None:
    name = _write(tmp_path, "smtp_address.json", [{"kind": "nonsense", "input": "x"}])
    status, lines = _main(run, name)
    assert status == 1
    assert lines[-2] == "  got:      'AssertionError: unknown kind nonsense'"
    assert lines[-1] == "smtp_address 0/1"


def test_unknown_area_fails(run: Any, tmp_path: Path) -> None:
    name = _write(tmp_path, "no_such_area.json", [GOOD_DOMAIN])
    status, lines = _main(run, name)
    assert status == 1
    assert lines == [
        "no_such_area: cannot be run: there is no comparison for this area yet; there is for " + ", ".join(AREAS)
    ]


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", "[1]"])
def test_unusable_file_fails(run: Any, tmp_path: Path, text: str) -> None:
    path = tmp_path / "dns_domain.json"
    path.write_text(text, "utf-8")
    status, lines = _main(run, str(path))
    assert status == 1
    assert lines[0].startswith("dns_domain: cannot be run: ")
    assert _main(run, str(tmp_path / "dns_domain.not.there"))[0] == 1


def test_part_that_is_not_there_fails(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    areas = tmp_path / "areas"
    areas.mkdir()
    (areas / "dkim_sign.py").write_text("from moxlib.no_such_package import sign\n", "utf-8")
    monkeypatch.setattr(run, "HERE", tmp_path)
    status, lines = _main(run, _write(tmp_path, "dkim_sign.json", [{}]))
    assert status == 1
    assert lines[0].startswith("dkim_sign: cannot be run: the part of moxlib that it is about is not there")


def test_long_strings_are_compared_by_digest(run: Any) -> None:
    text = "ü" * 1000
    given = {"len": 2000, "sha256": hashlib.sha256(text.encode()).hexdigest(), "prefix": "üü"}
    assert run.equal({"a": [given]}, {"a": [text]})
    assert not run.equal(given, text + "x")
    assert not run.equal(given, "x" * 2000)


@pytest.mark.parametrize(
    ("expected", "got"), [(1, True), (1, "1"), ([1], [1, 2]), ({"a": 1}, {"a": 1, "b": 2}), (None, "")]
)
def test_different_values_are_not_equal(run: Any, expected: object, got: object) -> None:
    assert not run.equal(expected, got)
    assert not run.equal(got, expected)


def test_as_a_program(tmp_path: Path) -> None:
    good = _write(tmp_path, "dns_domain.json", [GOOD_DOMAIN])
    bad = _write(tmp_path, "dns_domain.bad.json", [BAD_DOMAIN])
    assert _program(good) == (0, "dns_domain 1/1\n")
    assert _program(good, bad)[0] == 1
    assert _program()[0] == 2


def _program(*names: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, str(RUN), *names], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout
