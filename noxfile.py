"""Every check and every long run of moxlib, one nox session each.

`nox` alone is what a change has to pass. Whatever runs moxlib's code runs it from the built wheel, as users do.
"""

import os
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"  # the first where a session can name the sessions it requires

ROOT = Path(__file__).parent
PROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
DIST = ROOT / ".nox" / "dist"
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
# The oldest that is promised, a new one, and the one at hand. A Python that is not installed is named in the closing
# summary as skipped; where CI is set, that is an error.
DEFAULT_PYTHONS = [version for version in PYTHONS if version in {"3.11", "3.13", THIS_PYTHON}]

nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.download_python = "never"
nox.options.sessions = ["lint", "layers", "typing", "docs", *(f"tests-{version}" for version in DEFAULT_PYTHONS)]


def install(session: nox.Session, *groups: str, extra: str | None = None) -> None:
    """Install the built wheel, with one of its extras if named, and dependency groups of pyproject.toml."""
    [wheel] = DIST.glob("moxlib-*.whl")
    requirement = f"{wheel}[{extra}]" if extra else str(wheel)
    session.install(requirement, *nox.project.dependency_groups(PROJECT, *groups))
    # The environment is reused, and pip takes a wheel of the same version for installed already.
    session.install("--force-reinstall", "--no-deps", str(wheel))


@nox.session
def build(session: nox.Session) -> None:
    """Build the wheel that the other sessions install."""
    session.install(*PROJECT["build-system"]["requires"])
    for old in DIST.glob("*.whl"):
        old.unlink()
    session.run("hatchling", "build", "-t", "wheel", "-d", str(DIST))


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and format with ruff; `nox -s lint -- fix` mends what it can."""
    session.install(*nox.project.dependency_groups(PROJECT, "lint"))
    fix = "fix" in session.posargs
    session.run("ruff", "check", *(["--fix"] if fix else []))
    session.run("ruff", "format", *([] if fix else ["--check"]))


@nox.session
def layers(session: nox.Session) -> None:
    """Check that imports point down only."""
    session.install(*nox.project.dependency_groups(PROJECT, "layers"))
    session.run("lint-imports", "--no-logo", env={"PYTHONPATH": "src"})


@nox.session(requires=["build"])
def typing(session: nox.Session) -> None:
    """Check types with mypy and pyright, and that the installed package's public types are complete."""
    install(session, "typing", "test", "bench", extra="all")
    session.run("mypy")
    session.run("pyright")
    with session.chdir(session.create_tmp()):  # away from src/ and from pyright's settings for it
        session.run("pyright", "--ignoreexternal", "--verifytypes", "moxlib")


@nox.session(python=PYTHONS, requires=["build"])
def tests(session: nox.Session) -> None:
    """Run the tests, the crash tests and fuzzing at their short settings; arguments go to pytest."""
    install(session, "test", extra="all")
    session.run("pytest", "-n", "2", *session.posargs)


@nox.session(requires=["build"])
def docs(session: nox.Session) -> None:
    """Build the documentation with every warning an error, and run the code in it, in README and in examples/."""
    install(session, "docs", "test", extra="all")
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-q", "-E", "-b", "html", "docs", "docs/_build/html")
    session.run("pytest", "-n", "2", "tests/docs", *session.posargs)


@nox.session(requires=["build"])
def demo(session: nox.Session) -> None:
    """Run `moxlib demo`; arguments go to it."""
    install(session, extra="localserve")
    session.run("moxlib", "demo", *session.posargs)


@nox.session(requires=["build"])
def bench(session: nox.Session) -> None:
    """Run `python -m benchmarks`; arguments go to it."""
    install(session, "bench", extra="all")
    session.run("python", "-m", "benchmarks", *session.posargs)


def run_long(session: nox.Session, *pytest_args: str, **defaults: str) -> None:
    """Run tests with longer settings than usual, each of which the environment may override."""
    install(session, "test", extra="all")
    env = {name: os.environ.get(name, value) for name, value in defaults.items()}
    session.run("pytest", *pytest_args, *session.posargs, env=env)


@nox.session(requires=["build"])
def crash(session: nox.Session) -> None:
    """Kill submitting and delivering processes MOXLIB_CRASH_ROUNDS times (500), on each engine.

    And, with nobody killed, deliver MOXLIB_CRASH_MESSAGES (20,000) from several processes exactly once.
    """
    run_long(session, "-m", "crash", MOXLIB_CRASH_ROUNDS="500", MOXLIB_CRASH_MESSAGES="20000")


@nox.session(requires=["build"])
def soak(session: nox.Session) -> None:
    """Keep a queue under load until MOXLIB_SOAK_MESSAGES (1,000,000) have passed through it."""
    run_long(session, "-m", "soak", MOXLIB_SOAK_MESSAGES="1000000")


@nox.session(requires=["build"])
def fuzz(session: nox.Session) -> None:
    """Run hypothesis on MOXLIB_FUZZ_EXAMPLES (5,000) random examples of each test instead of a few fixed ones.

    The state machine of the storage, whose examples are long, gets MOXLIB_MACHINE_EXAMPLES (1,000).
    """
    examples = {"MOXLIB_FUZZ_EXAMPLES": "5000", "MOXLIB_MACHINE_EXAMPLES": "1000"}
    run_long(session, "-n", "2", "-m", "hypothesis", HYPOTHESIS_PROFILE="long", **examples)


@nox.session(requires=["build"])
def coverage(session: nox.Session) -> None:
    """Report which lines and branches the tests do not reach."""
    install(session, "test", "coverage", extra="all")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report", "--show-missing", "--skip-covered")
