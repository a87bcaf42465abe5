"""The command `moxlib` as a process, with and without its extra."""

import subprocess
import sys
from pathlib import Path

import pytest

import moxlib

LIMIT = 60.0  # seconds; only ends what hangs


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_version() -> None:
    done = run("-m", "moxlib", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"moxlib {moxlib.__version__}\n", "")


def test_help_names_the_commands() -> None:
    done = run("-m", "moxlib", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "demo" in done.stdout


def test_the_installed_command_is_the_same() -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("moxlib")), "--version"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"moxlib {moxlib.__version__}\n")


@pytest.mark.parametrize("missing", ["click", "aiosmtpd", "rich"])
def test_without_the_extra_it_says_which_one_it_needs(missing: str) -> None:
    program = f"import sys; sys.modules[{missing!r}] = None; from moxlib.cli import main; sys.exit(main(['demo']))"
    done = run("-c", program)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "pip install 'moxlib[localserve]'" in done.stderr


def test_a_server_says_which_extra_it_needs() -> None:
    program = (
        "import sys; sys.modules['aiosmtpd'] = None; from moxlib.localserve import LoopbackServer; LoopbackServer()"
    )
    done = run("-c", program)
    assert "moxlib.errors.MissingExtra" in done.stderr
    assert "moxlib[localserve]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["demo", "gone"], "'gone' does not exist"),
        (["demo", "empty"], "there are no messages in it"),
        (["demo", "--recipients", "3"], "3 is not in the range"),
        (["demo", "--keep", "file/below"], "Not a directory"),
        (["demo", "--keep", "kept"], "exists already"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(tmp_path: Path, arguments: list[str], complaint: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "demo.db").touch()
    done = run("-m", "moxlib", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr.splitlines()[-1]
