"""What must be true of a queue whatever happened to the processes on it: asked of its file and its directory."""

import hashlib
import json
import re
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
from tests.crash.stage import Line, Stage

from moxlib.queue import Delivery, Outcome

TERMINAL = {"delivered", "failed", "canceled"}
PATIENCE = 30.0  # seconds; only ends what hangs
DOUBTFUL = {"interrupted", "unknown"}  # attempts of which nobody knows whether the peer took the message

# Each finds rows that must not be. Where transactions run beside each other, a destination may still lie in a wake.
ORPHANS = {
    "content without a queued message": """SELECT submission FROM moxlib_content
        WHERE submission NOT IN (SELECT submission FROM moxlib_message)""",
    "queued message without content": """SELECT id FROM moxlib_message
        WHERE submission NOT IN (SELECT submission FROM moxlib_content)""",
    "chunk without content": """SELECT submission FROM moxlib_chunk
        WHERE submission NOT IN (SELECT submission FROM moxlib_content WHERE chunks IS NOT NULL)""",
    "submission without a message": """SELECT id FROM moxlib_submission
        WHERE id NOT IN (SELECT submission FROM moxlib_message UNION SELECT submission FROM moxlib_retired)""",
    "message queued and in the history": "SELECT id FROM moxlib_message WHERE id IN (SELECT id FROM moxlib_retired)",
    # One that is held from the start needs none before it is released.
    "message without a destination": """SELECT id FROM moxlib_message
        WHERE hold = 0 AND destination NOT IN (SELECT name FROM moxlib_destination) AND destination NOT IN (WAKES)""",
    "message owned by no worker": """SELECT id FROM moxlib_message
        WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM moxlib_worker)""",
    "message claimed at no time, or not claimed at some": """SELECT id FROM moxlib_message
        WHERE (owner IS NULL) <> (claimed_at IS NULL)""",
    "slots of no worker": "SELECT * FROM moxlib_slot WHERE worker NOT IN (SELECT id FROM moxlib_worker)",
    "claimable message at a destination without a turn": """SELECT m.id FROM moxlib_message m
        JOIN moxlib_destination d ON d.name = m.destination
        WHERE m.owner IS NULL AND m.hold = 0 AND d.turn IS NULL AND d.name NOT IN (WAKES)""",
    "id handed out twice": """SELECT NEXT_ID WHERE (NEXT_ID) <= (SELECT max(id) FROM
        (SELECT id FROM moxlib_message UNION ALL SELECT id FROM moxlib_retired) AS used)""",
}
DRAINED = "message", "content", "chunk", "worker", "slot"  # what is empty when all is delivered and nobody works

Row = tuple[Any, ...]


class Tables(Protocol):
    """A queue's tables, to read while nobody writes."""

    def rows(self, sql: str) -> list[Row]: ...


class FileTables:
    """In an SQLite file."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def rows(self, sql: str) -> list[Row]:
        sql = sql.replace("WAKES", "SELECT name FROM moxlib_destination WHERE 0 = 1").replace(
            "NEXT_ID", "(SELECT next_id FROM moxlib_sequence)"
        )
        return self._connection.execute(sql).fetchall()


class SchemaTables:
    """In a PostgreSQL schema."""

    def __init__(self, connection: psycopg.Connection[Row], schema: str) -> None:
        self._connection = connection
        self._schema = schema

    def rows(self, sql: str) -> list[Row]:
        sql = sql.replace("WAKES", "SELECT destination FROM moxlib_wake")
        sql = sql.replace("NEXT_ID", "(SELECT last_value + is_called::int FROM moxlib_message_id)")
        sql = re.sub(r"\bmoxlib_", f"{self._schema}.moxlib_", sql)
        return self._connection.execute(sql.encode()).fetchall()


@contextmanager
def tables(stage: Stage) -> Iterator[Tables]:
    """Open the tables of a queue that nobody uses any more."""
    settings = stage.settings
    if not settings.on_postgres:
        with closing(sqlite3.connect(stage.database)) as file:
            yield FileTables(file)
        return
    with psycopg.connect(settings.database, autocommit=True) as connection:
        wait_until_alone(connection)
        yield SchemaTables(connection, settings.schema)


def wait_until_alone(connection: psycopg.Connection[Any]) -> None:
    """Wait until the server has done with the connections of those who are gone: some may be committing still."""
    others = b"""SELECT application_name, state, query FROM pg_stat_activity
        WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()"""
    deadline = time.monotonic() + PATIENCE
    while found := connection.execute(others).fetchall():
        assert time.monotonic() < deadline, f"there are still connections: {found}"
        time.sleep(0.01)


@dataclass(frozen=True, kw_only=True)
class Said:
    """What submitters said: what they were about to submit, what was accepted, and what was refused."""

    intents: Mapping[str, Mapping[str, Any]]
    accepted: Mapping[str, list[int]]
    refused: Mapping[str, str]
    """Not those that are tried again; and why."""
    in_doubt: Mapping[str, str]
    """Those that may be there all the same; and why."""

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Said":
        """Gather it from what programs told."""
        told = list(lines)
        intents = {line["intent"]: line for line in told if "intent" in line}
        accepted = {line["accepted"]: line["ids"] for line in told if "accepted" in line}
        refusals = {line["refused"]: line for line in told if "refused" in line and not line["again"]}
        return cls(
            intents=intents,
            accepted=accepted,
            refused={key: line["why"] for key, line in refusals.items() if not line["in_doubt"]},
            in_doubt={key: line["why"] for key, line in refusals.items() if line["in_doubt"]},
        )

    @property
    def ids(self) -> set[int]:
        return {id_ for ids in self.accepted.values() for id_ in ids}


@dataclass(kw_only=True)
class Tally:
    """What an audit counted."""

    submissions: int = 0
    messages: int = 0
    accepted: int = 0
    unheard: int = 0
    """Messages that are there although the submitter was killed before it heard so."""
    repeats: int = 0
    interrupted: int = 0
    kinds: Counter[str] = field(default_factory=Counter)


async def audit(stage: Stage, *, said: Said | None = None) -> None:
    """Open the queue, which sweeps its directory, then check all that must be true of its tables at any time."""
    if not stage.settings.on_postgres:
        async with stage.open():
            pass
    with tables(stage) as found:
        if not stage.settings.on_postgres:
            assert found.rows("PRAGMA integrity_check") == [("ok",)]
            assert found.rows("PRAGMA foreign_key_check") == []
        for what, sql in ORPHANS.items():
            assert found.rows(sql) == [], what
        _check_content(found, Path(f"{stage.settings.database}.content"))
        if said is not None:
            _check_submissions(found, said)


def _check_content(found: Tables, directory: Path) -> None:
    rows = found.rows("""SELECT s.id, s.size, c.sha256, c.body, c.file, c.chunks
        FROM moxlib_content c JOIN moxlib_submission s ON s.id = c.submission""")
    files = {file for *_, file, _ in rows if file is not None}
    present = {path.name for path in directory.iterdir()} if directory.exists() else set()
    assert present == files, "the files are those that rows name"
    pieces: defaultdict[int, list[bytes]] = defaultdict(list)
    for id_, data in found.rows("SELECT submission, data FROM moxlib_chunk ORDER BY submission, number"):
        pieces[id_].append(data)
    for id_, size, sha256, body, file, chunks in rows:
        data = body
        if file is not None:
            data = (directory / file).read_bytes()
        elif chunks is not None:
            assert len(pieces[id_]) == chunks
            data = b"".join(pieces[id_])
        assert (len(data), hashlib.sha256(data).digest()) == (size, sha256), f"submission {id_} is torn"


def _check_submissions(found: Tables, said: Said) -> None:
    """Each submission is whole, and there at most once; what was accepted is, what was refused is not.

    It is in the queue or in the history.
    """
    ids: defaultdict[str, list[int]] = defaultdict(list)
    for id_, key in found.rows("""SELECT a.id, s.message_id FROM moxlib_submission s
        JOIN (SELECT id, submission FROM moxlib_message UNION ALL SELECT id, submission FROM moxlib_retired) a
        ON a.submission = s.id ORDER BY a.id"""):
        ids[key].append(id_)
    for key, present in ids.items():
        assert len(present) == said.intents[key]["recipients"], f"{key} is there in part, or twice: {present}"
    for key, promised in said.accepted.items():
        assert ids.get(key) == promised, f"{key} was accepted as {promised} and is there as {ids.get(key)}"
    for key, why in said.refused.items():
        assert key not in ids, f"{key} was refused, and is there as {ids[key]}: {why}"
    for key, sha256 in found.rows("""SELECT s.message_id, c.sha256 FROM moxlib_submission s
        JOIN moxlib_content c ON c.submission = s.id"""):
        assert sha256.hex() == said.intents[key]["sha256"], f"{key} has another content"


async def check_drained(stage: Stage) -> None:
    """Check that nothing is left of a queue whose messages are all delivered but their history."""
    async with stage.open(transports={"none": Refusing()}) as queue, queue.worker() as worker:
        await worker.wait_idle()  # a wake lies there until a worker looks
    with tables(stage) as found:
        for name in DRAINED:
            assert found.rows(f"SELECT * FROM moxlib_{name}") == [], f"moxlib_{name} is not empty"
        assert found.rows("WAKES") == []


class Refusing:
    """A transport that is not to be called."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        raise AssertionError(f"there is still something to deliver: {delivery}")


def check_history(stage: Stage, said: Said, taken: Sequence[Mapping[str, Any]]) -> Tally:
    """Check a queue that ran until it was empty: what it says happened against what the peer took.

    Each message was delivered; each time that the peer took it beyond the first is an attempt that the history says
    nobody knows the end of.
    """
    tally = Tally(submissions=len(said.accepted), accepted=len(said.ids))
    copies: defaultdict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for line in taken:
        copies[line["taken"], line["recipient"]].append(line)
        assert line["sha256"] == said.intents[line["taken"]]["sha256"], f"the peer took something else: {line}"
    with tables(stage) as found:
        for name in DRAINED:
            assert found.rows(f"SELECT * FROM moxlib_{name}") == [], f"moxlib_{name} is not empty"
        ends = found.rows("SELECT message, type FROM moxlib_event")
        terminal = Counter(id_ for id_, type_ in ends if type_ in TERMINAL)
        history = found.rows("""SELECT m.id, s.message_id, m.recipient, m.event, m.attempts, m.results
            FROM moxlib_retired m JOIN moxlib_submission s ON s.id = m.submission""")
    for id_, key, recipient, event, attempts, results in history:
        kinds = [result[1] for result in json.loads(results)]
        _check_message(id_, event, attempts, json.loads(results), copies.pop((key, recipient), []))
        assert terminal.pop(id_, 0) == 1, f"message {id_} has not exactly one end in the event log"
        tally.kinds.update(kinds)
        tally.messages += 1
    assert not copies, "the peer took what the queue does not know"
    assert not terminal, "the event log ends what the queue does not know"
    tally.repeats = len(taken) - tally.messages
    tally.unheard = tally.messages - tally.accepted
    tally.interrupted = tally.kinds["interrupted"]
    return tally


def _check_message(
    id_: int, event: str, attempts: int, results: list[list[Any]], copies: list[Mapping[str, Any]]
) -> None:
    kinds = [result[1] for result in results]
    numbers = [result[0] for result in results]
    assert event == "delivered", f"message {id_} ended as {event}: {kinds}"
    taken = [copy.get("attempt") for copy in copies]
    assert numbers == list(range(1, attempts + 1)), f"the history of message {id_} has gaps: {results}, taken: {taken}"
    assert (kinds[-1], kinds.count("delivered")) == ("delivered", 1), f"message {id_}: {kinds}"
    doubtful = {result[0] for result in results if result[1] in DOUBTFUL}
    assert 1 <= len(copies) <= 1 + len(doubtful), f"the peer took message {id_} {len(copies)} times: {kinds}"
    if "attempt" in copies[0]:  # the peer knows which attempt each copy was
        assert len(set(taken)) == len(taken), f"one attempt of message {id_} was made twice: {taken}"
        assert set(taken) - {attempts} <= doubtful, f"message {id_} was taken in attempts {taken}: {kinds}"
        assert attempts in taken, f"the peer does not have the attempt that delivered message {id_}"
