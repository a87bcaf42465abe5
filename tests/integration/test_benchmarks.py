"""The benchmarks of the queue with little to do: they run on each engine, and name what they measured."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
from tests.postgres import PostgresServer

ROOT = Path(__file__).parents[2]


def test_figures_of_one_engine() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--engine", "sqlite", "submit"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    assert [figure["name"] for figure in figures] == [
        "submit, sqlite, 1 submitter",
        "submit, sqlite, 16 submitters",
        "submit, sqlite, 64 submitters",
    ]
    assert all(figure["peers"] for figure in figures)


@pytest.fixture
def submit(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)  # benchmarks are not installed; they run from the checkout
    return import_module("benchmarks.submit")


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return import_module("benchmarks.workers")


def test_submits_in_postgresql_and_its_peer(postgres_server: PostgresServer, submit: ModuleType) -> None:
    assert submit.submits(postgres_server.database, submitters=4, total=20) > 0
    assert submit.psycopg_inserts(postgres_server.database, connections=4, total=20) > 0


def test_worker_processes_deliver_each_message_once(postgres_server: PostgresServer, workers: ModuleType) -> None:
    assert workers.drain(postgres_server.database, port=None, processes=2, count=40) > 0
