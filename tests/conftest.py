"""What holds for all tests: how hypothesis searches, that CI skips nothing, and that any text can be reported.

That SIGINT interrupts; and PostgreSQL, for the tests that ask for it.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from collections.abc import Generator

    from tests.postgres import PostgresServer

# The same few examples every time, or, on request, many new ones. Both: no deadline and no complaint about slow
# generation, since a loaded machine must not fail a test.
settings.register_profile(
    "default",
    derandomize=True,
    max_examples=60,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long",
    derandomize=False,
    max_examples=int(os.environ.get("MOXLIB_FUZZ_EXAMPLES", "5000")),
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure() -> None:
    """Have SIGINT interrupt, for the tests and the programs they start: a shell's background jobs ignore it."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Make a failure of a skip where CI is set: there, what a test wants is to be installed."""
    if os.environ.get("CI") and report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{reason}: nothing may be skipped where CI is set"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    refuse_skip(report)  # an expected failure counts as skipped too, and none is expected here
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    refuse_skip(report)
    return report


def encodable(value: Any) -> Any:
    """Return `value` with lone surrogates escaped in every text in it."""
    match value:
        case str():
            return value.encode(errors="backslashreplace").decode()
        case dict():
            return {encodable(key): encodable(item) for key, item in value.items()}
        case list() | tuple():
            return type(value)(map(encodable, value))
        case _:
            return value


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
    report = yield
    escaped: dict[str, Any] | None = encodable(report)  # xdist ends the run when a log has what UTF-8 has not
    return escaped


@pytest.fixture(scope="session")
def postgres_server() -> Generator[PostgresServer]:
    """A PostgreSQL that all tests of this process share. A test that stops it need not start it again."""
    from tests.postgres import PostgresMissingError, PostgresServer  # noqa: PLC0415 - only where it is asked for

    try:
        server = PostgresServer()
    except PostgresMissingError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Generator[str]:
    """The connection string of a PostgreSQL that runs. What it logs during a test that fails is reported with it."""
    postgres_server.start()
    before = len(postgres_server.log)
    yield postgres_server.url
    print(postgres_server.log[before:], end="")  # noqa: T201 - pytest shows it, if the test fails


@pytest.fixture
def postgres_schema(postgres_server: PostgresServer, postgres_url: str) -> Generator[str]:
    """The name of a schema for one test, which drops it afterwards."""
    with postgres_server.schema() as name:
        yield name
