"""Unpacks Debian's mail servers side by side, since as packages they conflict; nothing is installed.

    python3 tests/mtas/unpack.py [DIRECTORY]

Each is put in a directory of its own, with the libraries it needs and a shell: the beginning of a file system for it
alone, which `tests.mtas.server` runs it in. Needs Debian's `apt-get` and `dpkg`, and no rights but to DIRECTORY.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "postfix": ("postfix", "dash"),
    "exim": ("exim4-daemon-light", "dash"),
    "opensmtpd": ("opensmtpd", "dash"),
}
"""What makes up each server. What these depend on is added where it is a library; the rest is for an installation."""

COMPLETE = ".complete"
"""The file that says, in a server's directory, that all of it is there."""

_DEPENDENCY = re.compile(r"^ +\|?(?:Pre)?Depends: (z?lib[^\s:]+)$", re.MULTILINE)


def directory() -> Path:
    """Return where the servers are unpacked: $MOXLIB_MTAS, or a directory in the user's cache."""
    named = os.environ.get("MOXLIB_MTAS")
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(named) if named else Path(cache).expanduser() / "moxlib" / "mtas"


def with_libraries(packages: Iterable[str]) -> tuple[str, ...]:
    """Return `packages` and, in turn, the libraries that they depend on, whether or not they are installed here."""
    found: set[str] = set()
    new = set(packages)
    while new:
        found |= new
        shown = _run("apt-cache", "depends", "--important", *sorted(new))
        new = set(_DEPENDENCY.findall(shown)) - found
    return tuple(sorted(found))


def unpack(into: Path) -> None:
    """Fetch and unpack those servers that are not in `into` yet, each wholly or not at all.

    Raises:
        subprocess.CalledProcessError: a package could not be fetched or unpacked.
    """
    into.mkdir(parents=True, exist_ok=True)
    missing = {name: packages for name, packages in PACKAGES.items() if not (into / name / COMPLETE).exists()}
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="unpacking-", dir=into) as name:
        work = Path(name)
        needed = {server: with_libraries(packages) for server, packages in missing.items()}
        # Fetched as the user who asks: apt's own user might not be allowed to write there.
        options = ("-o", "Acquire::Retries=3", "-o", "APT::Sandbox::User=root", "-q")
        _run("apt-get", *options, "download", *sorted(set().union(*needed.values())), cwd=work)
        for server, packages in needed.items():
            root = work / server
            for package in packages:
                [archive] = work.glob(f"{package}_*.deb")
                _run("dpkg", "-x", str(archive), str(root))
            _merge(root)
            (root / COMPLETE).touch()
            shutil.rmtree(into / server, ignore_errors=True)
            root.rename(into / server)


def _merge(root: Path) -> None:
    """Link the top directories to those in usr, as a package of its own does where no other brings them along."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if (root / "usr" / name).exists() and not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")


def _run(*command: str, cwd: Path | None = None) -> str:
    """Run a program and return what it printed; its complaints go where ours do."""
    return subprocess.run(
        command, cwd=cwd, env=os.environ | {"LC_ALL": "C"}, check=True, text=True, stdout=subprocess.PIPE
    ).stdout


if __name__ == "__main__":
    unpack(Path(sys.argv[1]) if sys.argv[1:] else directory())
