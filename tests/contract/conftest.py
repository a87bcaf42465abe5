"""The storages that the contract holds for, and `Desk`, which asks one for the usual things in few words.

To add an implementation, add its factory to `FACTORIES`.
"""

import hashlib
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from moxlib.queue.selection import MessageFilter, Page, Sort
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import Claim, ClaimRequest, ClaimResult, DestinationLimits
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.settlement import GiveBack, Retire, Retry, Settlement
from moxlib.queue.storage.sqlite import SQLiteStorage
from moxlib.queue.submission import NewRecipient, NewSubmission, StoredContent, Submission
from moxlib.queue.types import AttemptResult, EventType, Message, ResultKind
from moxlib.testing.memory_storage import MemoryStorage

NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
BODY = b"Subject: hello\r\n\r\nhello\r\n"
MONTH = timedelta(days=30)


Make = Callable[[], Storage]
"""Makes a storage, again and again on the same data."""


def memory_factory(_request: pytest.FixtureRequest, _directory: Path) -> Make:
    storage = MemoryStorage()
    return lambda: storage


def sqlite_factory(_request: pytest.FixtureRequest, directory: Path) -> Make:
    return lambda: SQLiteStorage(directory / "mail.db")


def sqlite_in_loop_factory(_request: pytest.FixtureRequest, directory: Path) -> Make:
    return lambda: SQLiteStorage(directory / "mail.db", transactions="loop")


def postgres_factory(request: pytest.FixtureRequest, _directory: Path) -> Make:
    url, schema = request.getfixturevalue("postgres_url"), request.getfixturevalue("postgres_schema")
    return lambda: PostgresStorage(url, schema=schema)


FACTORIES: Mapping[str, Callable[[pytest.FixtureRequest, Path], Make]] = {
    "memory": memory_factory,
    "sqlite": sqlite_factory,
    "sqlite-in-loop": sqlite_in_loop_factory,
    "postgres": postgres_factory,
}


def content_of(body: bytes = BODY) -> StoredContent:
    return StoredContent(size=len(body), sha256=hashlib.sha256(body).digest(), body=body)


def submission_to(*addresses: str, **fields: Any) -> NewSubmission:
    recipients = tuple(NewRecipient(address=a, domain=d, destination=d) for a in addresses for d in [a.split("@")[-1]])
    sender = fields.get("sender", "sender@here.example")
    usual = {
        "account": "shop",
        "sender": sender,
        "sender_domain": sender.split("@")[-1],
        "recipients": recipients,
        "content": content_of(),
        "queued": NOON,
        "next_attempt": fields.get("queued", NOON),
        "max_attempts": 8,
    }
    return NewSubmission(**(usual | fields))


@dataclass
class Desk:
    """A storage at work: the time is `now`, moved by `later`."""

    make: Make
    storage: Storage
    now: datetime = NOON
    limits: DestinationLimits = field(default_factory=DestinationLimits)

    def later(self, seconds: float = 1) -> datetime:
        self.now += timedelta(seconds=seconds)
        return self.now

    async def reopen(self) -> None:
        await self.storage.close()
        self.storage = self.make()
        await self.storage.open(self.now)

    async def submit(self, *addresses: str, due: float = 0, **fields: Any) -> tuple[Submission, ...]:
        """Submit now; the first attempt is due in so many seconds."""
        times = {"queued": self.now, "next_attempt": self.now + timedelta(seconds=due)}
        return await self.storage.insert(submission_to(*addresses, **(times | fields)))

    async def worker(self, identity: str = "host/1", lease: float = 60) -> int:
        return await self.storage.register_worker(identity, now=self.now, lease=timedelta(seconds=lease))

    async def claim(self, worker: int, limit: int = 100, **fields: Any) -> ClaimResult:
        usual: dict[str, Any] = {"now": self.now, "limit": limit, "limits": self.limits}
        return await self.storage.claim(worker, ClaimRequest(**(usual | fields)))

    async def quiet(self, worker: int) -> None:
        """Look once, for nothing: what submits left to be looked at soon, where there are others, is then seen."""
        assert (await self.claim(worker, default_room=0)).claims == ()

    async def claim_one(self, worker: int) -> Claim:
        [claim] = (await self.claim(worker)).claims
        return claim

    async def claimed(self, worker: int, limit: int = 100, **fields: Any) -> list[str]:
        return [c.message.recipient for c in (await self.claim(worker, limit, **fields)).claims]

    async def settle(self, worker: int, *settlements: Settlement) -> frozenset[int]:
        return await self.storage.settle(worker, settlements, now=self.now)

    def result(self, message: Message, kind: ResultKind, **fields: Any) -> AttemptResult:
        usual: dict[str, Any] = {
            "attempt": message.attempts,
            "kind": kind,
            "started": self.now,
            "text": f"was {kind.value}",
        }
        return AttemptResult(**(usual | fields))

    def retry(self, message: Message, after: float = 60, **fields: Any) -> Retry:
        next_attempt = self.now + timedelta(seconds=after)
        result = self.result(message, ResultKind.DEFERRED, code=451, enhanced="4.3.0")
        usual: dict[str, Any] = {"message": message, "result": result, "next_attempt": next_attempt}
        return Retry(**(usual | fields))

    def deliver(self, message: Message, **fields: Any) -> Retire:
        result = self.result(message, ResultKind.DELIVERED, code=250, enhanced="2.0.0")
        usual: dict[str, Any] = {
            "message": message,
            "result": result,
            "event": EventType.DELIVERED,
            "keep_until": self.now + MONTH,
        }
        return Retire(**(usual | fields))

    def give_back(self, message: Message) -> GiveBack:
        return GiveBack(message=message)

    async def message(self, id_: int) -> Message:
        message = await self.storage.get(id_)
        assert message is not None, f"message {id_} is not in the queue"
        return message

    async def page(self, where: MessageFilter | None = None, **fields: Any) -> Page[Message]:
        usual: dict[str, Any] = {"sort": Sort.QUEUED, "descending": False, "limit": 100, "after": None}
        return await self.storage.list_messages(where or MessageFilter(), **(usual | fields))

    async def messages(self, where: MessageFilter | None = None) -> list[Message]:
        return list((await self.page(where)).items)


@pytest.fixture(params=list(FACTORIES))
async def desk(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Desk]:
    make = FACTORIES[request.param](request, tmp_path)
    made = Desk(make, make())
    await made.storage.open(NOON)
    try:
        yield made
    finally:
        await made.storage.close()
