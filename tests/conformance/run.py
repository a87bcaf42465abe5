"""Run vector files: `python tests/conformance/run.py FILE...`.

The area is the file's name up to the first dot, and `areas/<area>.py` beside this file compares its cases. For each
file one line, `area passed/total`, and before it every failure with input, expected and got. Exit status 1 if any case
failed, or could not be run at all: an unreadable file, or an area that has no comparison yet.

A comparison is a function `outcome(case) -> (expected, got)`. Before it gets the case, `{"b64": ...}` strings are
decoded (invalid UTF-8 as surrogates); long strings given as `{"len", "sha256", "prefix"}` equal the string they
describe. Cases marked `mox_quirk` are skipped and counted.
"""

import base64
import hashlib
import importlib.util
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

HERE = Path(__file__).resolve().parent
MAX_SHOWN = 600  # characters of a failure's input, expected and got: enough to find the case and see the difference

Outcome = Callable[[dict[str, Any]], tuple[object, object]]


class CannotRun(Exception):
    """A vector file cannot be run; the text says why."""


def main(names: Sequence[str], out: TextIO) -> int:
    """Run the files and return the exit status."""
    if not names:
        print("usage: python tests/conformance/run.py FILE...", file=out)
        return 2
    failed = sum(not _run_file(Path(name), out) for name in names)
    return 1 if failed else 0


def _run_file(path: Path, out: TextIO) -> bool:
    area = path.name.partition(".")[0]
    try:
        cases = _cases(path)
        outcome = _outcome_of(area)
    except CannotRun as err:
        print(f"{area}: cannot be run: {err}", file=out)
        return False
    passed = total = skipped = 0
    for case in cases:
        if "mox_quirk" in case:
            skipped += 1
            continue
        total += 1
        passed += _run_case(area, outcome, case, out)
    print(f"{area} {passed}/{total}" + (f" (skipped {skipped} quirks)" if skipped else ""), file=out)
    return passed == total


def _run_case(area: str, outcome: Outcome, case: dict[str, Any], out: TextIO) -> bool:
    try:
        expected, got = outcome(decoded(case))
    except Exception as err:  # noqa: BLE001 - whatever it is, this case failed, and the others are run
        expected, got = "no exception", f"{type(err).__name__}: {err}"
    if equal(expected, got):
        return True
    given = case.get("name", case.get("input", case))
    print(f"FAIL {area}", file=out)
    for what, value in (("input", given), ("expected", expected), ("got", got)):
        print(f"  {what + ':':10}{repr(value)[:MAX_SHOWN]}", file=out)
    return False


def _cases(path: Path) -> list[dict[str, Any]]:
    try:
        cases = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise CannotRun(f"{path}: {err}") from err
    if not isinstance(cases, list) or not cases or not all(isinstance(case, dict) for case in cases):
        raise CannotRun(f"{path}: not a list of cases")
    return cases


def _outcome_of(area: str) -> Outcome:
    path = HERE / "areas" / f"{area}.py"
    if not path.is_file():
        known = ", ".join(sorted(known.stem for known in path.parent.glob("*.py")))
        raise CannotRun(f"there is no comparison for this area yet; there is for {known}")
    spec = importlib.util.spec_from_file_location(f"conformance_{area}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except ImportError as err:
        raise CannotRun(f"the part of moxlib that it is about is not there: {err}") from err
    outcome: Outcome = module.outcome
    return outcome


def decoded(value: Any) -> Any:
    """Return a case with its `{"b64": ...}` strings decoded."""
    if isinstance(value, dict):
        if value.keys() == {"b64"}:
            return base64.b64decode(value["b64"]).decode("utf-8", "surrogateescape")
        return {key: decoded(inner) for key, inner in value.items()}
    return [decoded(inner) for inner in value] if isinstance(value, list) else value


def equal(expected: object, got: object) -> bool:
    """Compare values, where a long string may be given by its length, digest and prefix."""
    if isinstance(expected, dict) and isinstance(got, str) and expected.keys() == {"len", "sha256", "prefix"}:
        octets = got.encode()
        return bool(len(octets) == expected["len"] and hashlib.sha256(octets).hexdigest() == expected["sha256"])
    if isinstance(expected, dict) and isinstance(got, dict):
        return expected.keys() == got.keys() and all(equal(expected[key], got[key]) for key in expected)
    if isinstance(expected, list | tuple) and isinstance(got, list | tuple):
        return len(expected) == len(got) and all(map(equal, expected, got))
    return type(expected) is type(got) and expected == got


if __name__ == "__main__":
    sys.path.insert(0, str(HERE.parents[1]))  # areas share what is beside this file
    if importlib.util.find_spec("moxlib") is None:  # not installed: take the checkout's
        sys.path.insert(0, str(HERE.parents[1] / "src"))
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a text stream, when run as a program
    sys.exit(main(sys.argv[1:], sys.stdout))
