"""`moxlib.contrib.django` in a real Django project, on SQLite and PostgreSQL.

Django is set up once in a process, for good, so all of it runs in processes of their own. Those in
`django_project/cases.py` share one for each database, and are told apart here.
"""

import asyncio
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from psycopg.conninfo import conninfo_to_dict

from moxlib.localserve import LoopbackServer
from moxlib.localserve.server import AcceptAll

if TYPE_CHECKING:
    from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
PROJECT = Path(__file__).parent / "django_project"
CASES = re.findall(r"^def case_(\w+)", (PROJECT / "cases.py").read_text(encoding="utf-8"), re.MULTILINE)
ENGINES = ["sqlite", "postgres"]
LIMIT = 120.0  # seconds; only ends what hangs


def environment(settings: Mapping[str, Any]) -> dict[str, str]:
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.integration.django_project.settings",
        "MOXLIB_TEST_SETTINGS": json.dumps(settings),
        "PYTHONPATH": os.pathsep.join([*filter(None, [os.environ.get("PYTHONPATH")]), str(ROOT)]),
    }


def run(directory: Path, settings: Mapping[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *command],
        cwd=directory,
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def manage(directory: Path, settings: Mapping[str, Any], *arguments: str) -> str:
    done = run(directory, settings, str(PROJECT / "manage.py"), *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def databases(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What `DATABASES` says: "default" on the engine that is asked for, and others."""
    directory = tmp_path_factory.mktemp("django")
    sqlite = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "shop.sqlite3"), "ATOMIC_REQUESTS": True}
    other = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(directory / "other.sqlite3")}
    others = {"other": other, "empty": other | {"NAME": "empty.db"}}
    if request.param == "sqlite":
        yield {"default": sqlite} | others
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    with server.database() as url:
        parts = conninfo_to_dict(url)
        names = {"NAME": "dbname", "USER": "user", "HOST": "host", "PORT": "port"}
        postgres: dict[str, Any] = {name: parts[part] for name, part in names.items()}
        postgres |= {"ENGINE": "django.db.backends.postgresql", "ATOMIC_REQUESTS": True}
        yield {"default": postgres} | others


@pytest.fixture(scope="module")
def ended(databases: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """How each of the cases ended: its traceback, or nothing."""
    done = run(tmp_path_factory.mktemp("cases"), {"DATABASES": databases}, str(PROJECT / "run_cases.py"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("databases", ENGINES, indirect=True)
@pytest.mark.parametrize("case", CASES)
def test_in_django(ended: dict[str, str], case: str) -> None:
    assert ended[case] == ""


@pytest.mark.parametrize("databases", ENGINES, indirect=True)
async def test_the_worker_command_delivers_what_is_queued(databases: dict[str, Any], tmp_path: Path) -> None:
    taken = asyncio.Event()

    class Rules(AcceptAll):
        def message(self, recipients: tuple[str, ...]) -> str:
            taken.set()
            return ""

    transports = "tests.integration.django_project.delivery.transports"
    async with LoopbackServer(Rules()) as server:
        settings = {"DATABASES": databases, "MOXLIB": {"transports": transports}, "RELAY_PORT": server.port}
        await asyncio.to_thread(manage, tmp_path, settings, "migrate", "--run-syncdb", "--verbosity=0")
        await asyncio.to_thread(manage, tmp_path, settings, "sendtestemail", "ann@example.com")
        worker = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", str(PROJECT / "manage.py"), "moxlib_worker"),
            cwd=tmp_path,
            env=environment(settings),
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(LIMIT):
            await taken.wait()
            worker.send_signal(signal.SIGTERM)
            output, _ = await worker.communicate()
        assert worker.returncode == 0
        assert "moxlib delivers by: relay" in output.decode()
        assert "moxlib has stopped" in output.decode()
        recipients = [received.recipients for received in server.received]
    assert ("ann@example.com",) in recipients


def test_the_worker_command_says_what_is_wrong_with_the_settings(tmp_path: Path) -> None:
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "the database 'default' is in memory, where no queue can be"),
        ({"queue": "mysql://localhost/mail"}, "not at mysql://"),
        ({"queue": "mail.db", "transports": {"relay": 17}}, "transport 'relay' has no method deliver()"),
    ]
    for setting, text in cases:
        settings = {"DATABASES": databases, "MOXLIB": {"transports": {}} | setting}
        done = run(tmp_path, settings, str(PROJECT / "manage.py"), "moxlib_worker", "--skip-checks")
        assert done.returncode == 1
        assert text in done.stderr
        assert "Traceback" not in done.stderr


def test_migrate_creates_the_queues_tables_in_its_database(tmp_path: Path) -> None:
    files = {alias: tmp_path / f"{alias}.sqlite3" for alias in ("default", "mail")}
    databases = {alias: {"ENGINE": "django.db.backends.sqlite3", "NAME": str(file)} for alias, file in files.items()}
    found = {}
    for alias, file in files.items():
        settings = {"DATABASES": databases, "MOXLIB": {"database": "mail"}}
        manage(tmp_path, settings, "migrate", f"--database={alias}", "--verbosity=0")
        with closing(sqlite3.connect(file)) as connection:
            tables = connection.execute("SELECT name FROM sqlite_schema WHERE name = 'moxlib_message'").fetchall()
        found[alias] = tables != []
    assert found == {"default": False, "mail": True}


@pytest.mark.parametrize("databases", ENGINES, indirect=True)
@pytest.mark.parametrize("memory", [False, True])
def test_a_projects_own_tests(databases: dict[str, Any], tmp_path: Path, memory: bool) -> None:
    database = databases["default"]
    if memory and "sqlite" not in database["ENGINE"]:
        return
    # What a test run makes has another name; when it ends, the database must not be in use any more.
    name = None if memory else str(tmp_path / "test.sqlite3") if "sqlite" in database["ENGINE"] else "test_shop"
    settings = {"DATABASES": {"default": database | {"TEST": {"NAME": name}}, "other": databases["other"]}}
    said = manage(tmp_path, settings, "test", "tests.integration.django_project.shop.tests", "--noinput", "-v2")
    assert "Ran 5 tests" in said
    assert "OK" in said


def test_without_django_the_import_says_so(tmp_path: Path) -> None:
    program = "import sys; sys.modules['django'] = None; import moxlib.contrib; import moxlib.contrib.django"
    done = run(tmp_path, {}, "-c", program)
    assert "ImportError: moxlib.contrib.django is for programs that use Django" in done.stderr


def test_the_other_adapters_need_no_django(tmp_path: Path) -> None:
    program = "import sys; import moxlib.contrib; sys.exit('django' in sys.modules)"
    assert run(tmp_path, {}, "-c", program).returncode == 0
