"""What must be true of a queue whatever happened to the processes on it: asked of its file and its directory."""

import hashlib
import json
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.stage import Line, Stage

from moxlib.queue import Queue

TERMINAL = {"delivered", "failed", "canceled"}
DOUBTFUL = {"interrupted", "unknown"}  # attempts of which nobody knows whether the peer took the message

# Each finds rows that must not be.
ORPHANS = {
    "content without a queued message": """SELECT submission FROM moxlib_content
        WHERE submission NOT IN (SELECT submission FROM moxlib_message)""",
    "queued message without content": """SELECT id FROM moxlib_message
        WHERE submission NOT IN (SELECT submission FROM moxlib_content)""",
    "submission without a message": """SELECT id FROM moxlib_submission
        WHERE id NOT IN (SELECT submission FROM moxlib_message UNION SELECT submission FROM moxlib_retired)""",
    "message queued and in the history": "SELECT id FROM moxlib_message WHERE id IN (SELECT id FROM moxlib_retired)",
    "message without a destination": """SELECT id FROM moxlib_message
        WHERE destination NOT IN (SELECT id FROM moxlib_destination)""",
    "message owned by no worker": """SELECT id FROM moxlib_message
        WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM moxlib_worker)""",
    "claimable message at a destination without a turn": """SELECT m.id FROM moxlib_message m
        JOIN moxlib_destination d ON d.id = m.destination
        WHERE m.owner IS NULL AND m.hold = 0 AND d.turn IS NULL""",
    "id handed out twice": """SELECT next_id FROM moxlib_sequence WHERE next_id <= (SELECT max(id) FROM
        (SELECT id FROM moxlib_message UNION ALL SELECT id FROM moxlib_retired))""",
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What submitters said: what they were about to submit, and what was accepted."""

    intents: Mapping[str, Mapping[str, Any]]
    accepted: Mapping[str, list[int]]

    @classmethod
    def of(cls, lines: Iterable[Line]) -> "Said":
        """Gather it from what programs told."""
        told = list(lines)
        intents = {line["intent"]: line for line in told if "intent" in line}
        accepted = {line["accepted"]: line["ids"] for line in told if "accepted" in line}
        return cls(intents=intents, accepted=accepted)

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
    """Open the queue, which sweeps its directory, then check all that must be true of its file at any time."""
    async with Queue.open(stage.database):
        pass
    with closing(sqlite3.connect(stage.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for what, sql in ORPHANS.items():
            assert connection.execute(sql).fetchall() == [], what
        _check_content(connection, Path(f"{stage.database}.content"))
        if said is not None:
            _check_submissions(connection, said)


def _check_content(connection: sqlite3.Connection, directory: Path) -> None:
    rows = connection.execute("""SELECT s.id, s.size, c.sha256, c.body, c.file
        FROM moxlib_content c JOIN moxlib_submission s ON s.id = c.submission""").fetchall()
    files = {file for *_, file in rows if file is not None}
    present = {path.name for path in directory.iterdir()} if directory.exists() else set()
    assert present == files, "the files are those that rows name"
    for id_, size, sha256, body, file in rows:
        data = (directory / file).read_bytes() if body is None else body
        assert (len(data), hashlib.sha256(data).digest()) == (size, sha256), f"submission {id_} is torn"


def _check_submissions(connection: sqlite3.Connection, said: Said) -> None:
    """Each submission is whole, and each accepted message is there, in the queue or in the history."""
    ids: defaultdict[str, list[int]] = defaultdict(list)
    for id_, key in connection.execute("""SELECT a.id, s.message_id FROM moxlib_submission s
        JOIN (SELECT id, submission FROM moxlib_message UNION ALL SELECT id, submission FROM moxlib_retired) a
        ON a.submission = s.id ORDER BY a.id"""):
        ids[key].append(id_)
    for key, found in ids.items():
        assert len(found) == said.intents[key]["recipients"], f"{key} is there in part: {found}"
    for key, promised in said.accepted.items():
        assert ids.get(key) == promised, f"{key} was accepted as {promised} and is there as {ids.get(key)}"
    for key, sha256 in connection.execute("""SELECT s.message_id, c.sha256 FROM moxlib_submission s
        JOIN moxlib_content c ON c.submission = s.id"""):
        assert sha256.hex() == said.intents[key]["sha256"], f"{key} has another content"


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
    with closing(sqlite3.connect(stage.database)) as connection:
        assert connection.execute("SELECT count(*) FROM moxlib_message").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM moxlib_content").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM moxlib_worker").fetchall() == [(0,)]
        terminal = Counter(
            id_ for id_, type_ in connection.execute("SELECT message, type FROM moxlib_event") if type_ in TERMINAL
        )
        history = connection.execute("""SELECT m.id, s.message_id, m.recipient, m.event, m.attempts, m.results
            FROM moxlib_retired m JOIN moxlib_submission s ON s.id = m.submission""").fetchall()
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
    assert numbers == list(range(1, attempts + 1)), f"the history of message {id_} has gaps: {results}"
    assert (kinds[-1], kinds.count("delivered")) == ("delivered", 1), f"message {id_}: {kinds}"
    doubtful = {result[0] for result in results if result[1] in DOUBTFUL}
    assert 1 <= len(copies) <= 1 + len(doubtful), f"the peer took message {id_} {len(copies)} times: {kinds}"
    if "attempt" in copies[0]:  # the peer knows which attempt each copy was
        taken = [copy["attempt"] for copy in copies]
        assert len(set(taken)) == len(taken), f"one attempt of message {id_} was made twice: {taken}"
        assert set(taken) - {attempts} <= doubtful, f"message {id_} was taken in attempts {taken}: {kinds}"
        assert attempts in taken, f"the peer does not have the attempt that delivered message {id_}"
