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


def test_figures_of_messages() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "message"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    figures = {figure["name"]: figure for figure in map(json.loads, run.stdout.splitlines())}
    assert list(figures) == [
        *(
            f"message, {what}, {size}"
            for size in ("4 KB", "1 MB")
            for what in ("headers", "tree", "structure and text")
        ),
        "message, composing a short text",
        "message, composing text, HTML and a file of 50 KB",
    ]
    assert all(figure["value"] > 0 for figure in figures.values())
    assert figures["message, tree, 1 MB"]["peers"].keys() == {"email, compat32", "email, default"}


@pytest.mark.parametrize("size", [4 * 1024, 1024 * 1024])
def test_readers_of_messages_see_the_same(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    message = import_module("benchmarks.message")
    data = message.sample(size)
    assert 0.95 < len(data) / size < 1.05
    trees = [
        [(media_type, name or "") for media_type, name in read(data)]
        for read in (message.tree, message.compat32_tree, message.modern_tree)
    ]
    assert trees[0] == trees[1] == trees[2]
    envelope = message.headers(data)
    sender, *_, date, _ = message.modern_headers(data)
    assert (envelope.from_[0].name, envelope.date) == (sender.addresses[0].display_name, date.datetime)


def test_figures_of_webhooks() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--engine", "sqlite", "webhooks"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    figures = {figure["name"]: figure for figure in map(json.loads, run.stdout.splitlines())}
    assert list(figures) == [
        "webhooks, sqlite, 1 URL",
        "webhooks, sqlite, 50 URLs",
        "webhooks, sqlite, 1 URL, batches of 20",
    ]
    assert all(figure["value"] > 0 for figure in figures.values())


def test_figures_of_the_webapi() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--engine", "sqlite", "webapi"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    figures = [json.loads(line) for line in run.stdout.splitlines()]
    assert [figure["name"] for figure in figures] == [
        "webapi, sqlite, 1 client",
        "webapi, sqlite, 8 clients",
        "webapi, sqlite, 32 clients",
        "webapi, sqlite, 32 calls at once by moxlib's client",
    ]
    assert all(figure["value"] > 0 for figure in figures)


def test_figures_of_dkim() -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "dkim"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    figures = {figure["name"]: figure for figure in map(json.loads, run.stdout.splitlines())}
    assert {"dkim, sign, RSA-2048", "dkim, sign, Ed25519", "dkim, verify, RSA-2048"} <= figures.keys()
    assert figures["dkim, sign, RSA-2048"]["peers"].keys() == {"dkimpy"}
