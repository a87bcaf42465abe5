"""What tests/conftest.py does to a run: a skipped test fails it where CI is set, and only there."""

import os
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


def test_every_skip_fails_where_ci_is_set(tmp_path: Path) -> None:
    for name, program in {**SKIPS, "conftest.py": CONFTEST.read_text(encoding="utf-8")}.items():
        (tmp_path / name).write_text(program, encoding="utf-8")

    def run(**env: str) -> tuple[int, list[str]]:
        inherited = {name: value for name, value in os.environ.items() if name != "CI" and "PYTEST" not in name}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir=.", "--continue-on-collection-errors"],
            cwd=tmp_path,
            env=inherited | env,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout.splitlines()

    code, out = run()
    assert code == pytest.ExitCode.OK
    assert "3 skipped" in out[-1]
    code, out = run(CI="true")
    assert code == pytest.ExitCode.TESTS_FAILED
    assert "1 failed, 2 errors" in out[-1]
    assert sum("no peer: nothing may be skipped where CI is set" in line for line in out) >= len(SKIPS)
