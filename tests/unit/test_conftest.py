"""What tests/conftest.py does to a run."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
SKIPS = {
    "test_mark.py": "import pytest\n@pytest.mark.skip(reason='no peer')\ndef test(): ...\n",
    "test_call.py": "import pytest\ndef test(): pytest.skip('no peer')\n",
    "test_module.py": "import pytest\npytest.skip('no peer', allow_module_level=True)\n",
}


def run(directory: Path, *options: str, **env: str) -> tuple[int, list[str]]:
    """Run pytest on `directory` with our conftest.py; return its exit code, and what it printed.

    It loads those plugins only that are named: all that are installed take two seconds.
    """
    (directory / "conftest.py").write_text(CONFTEST.read_text(encoding="utf-8"), encoding="utf-8")
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir=.", *options],
        cwd=directory,
        env=inherited | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | env,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


def test_the_tests_can_be_interrupted_where_they_run_in_the_background(tmp_path: Path) -> None:
    (tmp_path / "test_signal.py").write_text(
        "import signal\ndef test(): assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n",
        encoding="utf-8",
    )
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # which the child inherits
    try:
        code, out = run(tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert code == pytest.ExitCode.OK, out


def test_every_skip_fails_where_ci_is_set(tmp_path: Path) -> None:
    for name, program in SKIPS.items():
        (tmp_path / name).write_text(program, encoding="utf-8")
    code, out = run(tmp_path)
    assert code == pytest.ExitCode.OK
    assert "3 skipped" in out[-1]
    code, out = run(tmp_path, "--continue-on-collection-errors", CI="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 errors" in out[-1]
    assert sum("no peer: nothing may be skipped where CI is set" in line for line in out) >= len(SKIPS)


def test_a_log_that_utf_8_cannot_encode_is_reported(tmp_path: Path) -> None:
    program = "import logging\ndef test():\n    logging.warning('odd: \\udce9')\n    assert 'odd' == '\\udce9'\n"
    (tmp_path / "test_odd.py").write_text(program, encoding="utf-8")
    code, out = run(tmp_path, "-p", "xdist", "-n", "1")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert any("odd: \\udce9" in line for line in out)
    assert "1 failed" in out[-1]
