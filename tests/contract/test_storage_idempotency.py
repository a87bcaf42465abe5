"""The contract of `Storage`: idempotency keys. The same key and content is stored once; other content is refused."""

import asyncio
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from tests.contract.conftest import content_of, submission_to
from tests.contract.database import GUARD, IN_DATABASES, connect, counts, until_waiting

from moxlib.queue import HoldRule, IdempotencyConflict, MessageFilter
from moxlib.queue.storage.postgres import PostgresStorage
from moxlib.queue.storage.sqlite.batch import Batch
from moxlib.queue.storage.sqlite.storage import SQLiteStorage
from moxlib.queue.submission import Idempotency, NewSubmission, StoredContent, Submission

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

DAY = timedelta(days=1)
THIS, OTHER = b"this".ljust(32), b"other".ljust(32)


def keyed(desk: "Desk", key: str, fingerprint: bytes = THIS, keep: timedelta = DAY) -> Idempotency:
    return Idempotency(key=key, fingerprint=fingerprint, keep_until=desk.now + keep)


async def submit(
    desk: "Desk", key: str, fingerprint: bytes = THIS, *recipients: str, keep: timedelta = DAY, **fields: Any
) -> tuple[Submission, ...]:
    """Submit under a key now."""
    idempotency = keyed(desk, key, fingerprint, keep)
    return await desk.submit(*(recipients or ("a@x.example",)), idempotency=idempotency, **fields)


def repeated(receipts: tuple[Submission, ...]) -> list[bool]:
    return [receipt.repeated for receipt in receipts]


async def test_the_same_again_gets_the_first_receipts_and_stores_nothing(desk: "Desk") -> None:
    first = await submit(desk, "k", THIS, "a@x.example", "b@y.example")
    assert repeated(first) == [False, False]
    before = await desk.messages()
    for _ in range(2):
        desk.later(60)
        again = await submit(desk, "k", THIS, "a@x.example", "b@y.example")
        assert (again, repeated(again)) == (first, [True, True])
        assert await desk.messages() == before
        await desk.reopen()
    [next_] = await desk.submit("c@x.example")
    assert next_.id > first[-1].id


async def test_receipts_are_those_of_then_whatever_became_of_the_messages(desk: "Desk") -> None:
    rule, _ = await desk.storage.add_hold_rule(HoldRule(recipient_domain="y.example"))
    first = await submit(desk, "k", THIS, "jörg@x.example", "b@y.example")
    assert [receipt.hold for receipt in first] == [False, True]
    await desk.storage.remove_hold_rule(rule.id)
    await desk.storage.set_hold(MessageFilter(), hold=False)
    worker = await desk.worker()
    for claim in (await desk.claim(worker)).claims:
        await desk.settle(worker, desk.deliver(claim.message, keep_until=desk.now))
    assert await desk.messages() == []
    again = await submit(desk, "k", THIS, "jörg@x.example", "b@y.example")
    assert (again, repeated(again)) == (first, [True, True])
    assert await desk.messages() == []


async def test_something_else_under_the_key_is_refused(desk: "Desk") -> None:
    [first] = await submit(desk, "k")
    with pytest.raises(IdempotencyConflict, match="'k'") as refused:
        await submit(desk, "k", OTHER, "b@y.example")
    assert refused.value.key == "k"
    assert [message.id for message in await desk.messages()] == [first.id]
    assert await desk.storage.content(first.id + 1) is None
    assert repeated(await submit(desk, "k")) == [True]


async def test_each_account_has_keys_of_its_own(desk: "Desk") -> None:
    [shop] = await submit(desk, "k", account="shop")
    [other] = await submit(desk, "k", OTHER, account="else")
    [nobody] = await submit(desk, "k", account="")
    assert len({shop.id, other.id, nobody.id}) == 3
    assert await submit(desk, "k", OTHER, account="else") == (other,)
    with pytest.raises(IdempotencyConflict):
        await submit(desk, "k", OTHER, account="shop")


async def test_keys_are_compared_exactly(desk: "Desk") -> None:
    keys = ["k", "K", "k ", " k", "ḱ", "k\u0301", "ключ", "%", "_", "'", '"', "\\", "\x01", "\U0001f600", "k" * 255]
    receipts = [await submit(desk, key) for key in keys]
    assert [repeated(made) for made in receipts] == [[False]] * len(keys)
    assert [await submit(desk, key) for key in keys] == receipts
    assert await desk.storage.count_messages(MessageFilter()) == len(keys)


async def test_a_key_is_kept_for_its_time_and_then_free(desk: "Desk") -> None:
    [first] = await submit(desk, "k", keep=timedelta(seconds=60))
    desk.later(59.999999)
    assert repeated(await submit(desk, "k", keep=DAY)) == [True]  # which does not keep it any longer
    desk.later(0.000001)
    [second] = await submit(desk, "k", OTHER, keep=timedelta(seconds=30))
    assert (second.id > first.id, second.repeated) == (True, False)
    desk.later(29)
    assert await submit(desk, "k", OTHER) == (second,)
    with pytest.raises(IdempotencyConflict):
        await submit(desk, "k", THIS)
    desk.later(1)
    assert repeated(await submit(desk, "k", THIS)) == [False]
    assert await desk.storage.count_messages(MessageFilter()) == 3


async def test_keys_past_their_time_are_purged(desk: "Desk") -> None:
    for n in range(3):
        await submit(desk, f"k{n}", keep=timedelta(seconds=10 * (n + 1)))
    desk.later(20)
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 2
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 0
    assert repeated(await submit(desk, "k2")) == [True]
    assert repeated(await submit(desk, "k0")) == [False]


async def test_purging_takes_as_many_keys_at_once_as_of_the_rest(desk: "Desk") -> None:
    await asyncio.gather(*(submit(desk, f"k{n}", keep=timedelta(seconds=1)) for n in range(1001)))
    desk.later()
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 1000
    assert await desk.storage.purge(now=desk.now, events_before=desk.now) == 1
    assert await desk.storage.count_messages(MessageFilter()) == 1001


async def test_of_many_at_once_under_one_key_one_is_stored(desk: "Desk") -> None:
    results = await asyncio.gather(*(submit(desk, "k", THIS, "a@x.example", "b@x.example") for _ in range(20)))
    assert len(set(results)) == 1
    assert sorted(map(repeated, results)) == [[False, False]] + [[True, True]] * 19
    assert await desk.storage.count_messages(MessageFilter()) == 2


async def test_at_once_others_are_not_disturbed(desk: "Desk") -> None:
    """Repeats, conflicts, other keys and mail without a key, all in one batch."""
    jobs = [
        submit(desk, "k"),
        desk.submit("plain@x.example"),
        submit(desk, "k"),
        submit(desk, "k2", OTHER),
        submit(desk, "k", account="else"),
        desk.submit("plain2@x.example"),
        submit(desk, "k2", OTHER),
    ]
    results = await asyncio.gather(*jobs)
    assert results[0] == results[2]
    assert results[3] == results[6]
    assert await desk.storage.count_messages(MessageFilter()) == 5
    mixed = await asyncio.gather(
        submit(desk, "k", OTHER),
        desk.submit("plain3@x.example"),
        submit(desk, "k"),
        submit(desk, "k3"),
        submit(desk, "k2", THIS),
        return_exceptions=True,
    )
    assert [type(result) for result in mixed] == [IdempotencyConflict, tuple, tuple, tuple, IdempotencyConflict]
    assert mixed[2] == results[0]
    assert await desk.storage.count_messages(MessageFilter()) == 7


async def test_at_once_of_two_different_ones_under_a_new_key_one_is_refused(desk: "Desk") -> None:
    results = await asyncio.gather(
        *(submit(desk, "k", fingerprint, f"{n}@x.example") for n, fingerprint in enumerate([THIS, OTHER] * 5)),
        return_exceptions=True,
    )
    stored = {result for result in results if isinstance(result, tuple)}
    refused = [result for result in results if isinstance(result, IdempotencyConflict)]
    assert (len(stored), len(refused)) == (1, 5)
    assert await desk.storage.count_messages(MessageFilter()) == 1


@IN_DATABASES
async def test_what_could_not_be_stored_leaves_its_key_free(desk: "Desk") -> None:
    with pytest.raises(UnicodeEncodeError):
        await submit(desk, "k", THIS, "a@x.example", subject="\udc80")
    assert counts(desk.storage, "idempotency", "submission", "content", "message") == dict.fromkeys(
        ("idempotency", "submission", "content", "message"), 0
    )
    assert repeated(await submit(desk, "k", OTHER)) == [False]


@IN_DATABASES
async def test_a_repeat_leaves_no_content_behind(desk: "Desk") -> None:
    first = await submit(desk, "k", content=content_of(b"y" * 100_000))
    assert await submit(desk, "k", content=content_of(b"y" * 100_000)) == first
    with pytest.raises(IdempotencyConflict):
        await submit(desk, "k", OTHER, content=content_of(b"z" * 100_000))
    assert counts(desk.storage, "content", "submission") == {"content": 1, "submission": 1}


@pytest.mark.parametrize("desk", ["sqlite", "sqlite-in-loop"], indirect=True)
async def test_a_repeats_content_file_goes_and_the_first_ones_stays(desk: "Desk") -> None:
    assert isinstance(desk.storage, SQLiteStorage)
    place = desk.storage.content_place
    place.make()
    for name in ("first", "again", "in one batch"):
        (place.path / name).write_bytes(b"hello")

    def in_file(name: str) -> StoredContent:
        return replace(content_of(b"hello"), body=None, file=name)

    await asyncio.gather(*(submit(desk, "k", content=in_file(name)) for name in ("first", "in one batch")))
    await submit(desk, "k", content=in_file("again"))
    assert [path.name for path in place.path.iterdir()] == ["first"]
    assert await desk.storage.content(1) == in_file("first")


# two at once, on connections of their own: the second waits for the first


@pytest.fixture
def refused_locks(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Tells when an SQLite writer asked for the lock and did not get it."""
    asked = threading.Event()
    begin = Batch.begin

    def telling(batch: Batch) -> bool:
        got = begin(batch)
        if not got:
            asked.set()
        return got

    monkeypatch.setattr(Batch, "begin", telling)
    return asked


async def until_it_waits(desk: "Desk", refused_locks: threading.Event) -> None:
    if isinstance(desk.storage, PostgresStorage):
        await until_waiting(desk.storage, "idempotency")
    else:
        async with asyncio.timeout(GUARD):
            await asyncio.to_thread(refused_locks.wait, GUARD)


def submission(desk: "Desk", fingerprint: bytes = THIS) -> NewSubmission:
    times = {"queued": desk.now, "next_attempt": desk.now}
    return submission_to("a@x.example", idempotency=keyed(desk, "k", fingerprint), **times)


@IN_DATABASES
@pytest.mark.parametrize("fingerprint", [THIS, OTHER])
@pytest.mark.parametrize("commits", [True, False])
async def test_the_second_waits_for_the_first_ones_transaction(
    desk: "Desk", refused_locks: threading.Event, fingerprint: bytes, commits: bool
) -> None:
    with connect(desk.storage) as connection:
        first = await desk.storage.insert_within(connection, submission(desk))
        assert repeated(first) == [False]
        waiting = asyncio.create_task(desk.storage.insert(submission(desk, fingerprint)))
        await until_it_waits(desk, refused_locks)
        assert not waiting.done()
        if commits:
            connection.commit()
        else:
            connection.rollback()
        async with asyncio.timeout(GUARD):
            [result] = await asyncio.gather(waiting, return_exceptions=True)
    if commits and fingerprint == OTHER:
        assert isinstance(result, IdempotencyConflict)
    else:
        assert isinstance(result, tuple)
        assert repeated(result) == [commits]
        if commits:
            assert result == first
    assert await desk.storage.count_messages(MessageFilter()) == 1
    assert counts(desk.storage, "idempotency", "submission", "content") == {
        "idempotency": 1,
        "submission": 1,
        "content": 1,
    }


@pytest.mark.parametrize("desk", ["postgres"], indirect=True)
async def test_while_one_waits_all_else_goes_on(desk: "Desk") -> None:
    """Not even those wait that come in the same moment as the one that has to."""
    assert isinstance(desk.storage, PostgresStorage)
    with connect(desk.storage) as connection:
        first = await desk.storage.insert_within(connection, submission(desk))
        waiting = asyncio.create_task(desk.storage.insert(submission(desk)))
        others = [asyncio.create_task(desk.submit(f"{n}@x.example")) for n in range(10)]
        others.append(asyncio.create_task(submit(desk, "other key")))
        await until_waiting(desk.storage, "idempotency")
        async with asyncio.timeout(GUARD):
            await asyncio.gather(*others)
        assert await desk.storage.count_messages(MessageFilter()) == 11
        connection.commit()
        assert await waiting == first


@pytest.mark.parametrize("desk", ["postgres"], indirect=True)
async def test_of_many_that_wait_one_takes_the_place_of_what_was_rolled_back(desk: "Desk") -> None:
    assert isinstance(desk.storage, PostgresStorage)
    with ExitStack() as stack:
        other = PostgresStorage(desk.storage._conninfo, schema=desk.storage._dialect.schema)
        await other.open(desk.now)
        try:
            connection = stack.enter_context(connect(desk.storage))
            await desk.storage.insert_within(connection, submission(desk))
            waiting = [
                asyncio.create_task(storage.insert(submission(desk)))
                for storage in (desk.storage, other)
                for _ in range(3)
            ]
            await until_waiting(desk.storage, "idempotency", 6)
            connection.rollback()
            async with asyncio.timeout(GUARD):
                results = await asyncio.gather(*waiting)
        finally:
            await other.close()
    assert len(set(results)) == 1
    assert sorted(map(repeated, results)) == [[False]] + [[True]] * 5
    assert await desk.storage.count_messages(MessageFilter()) == 1


@IN_DATABASES
async def test_a_key_that_expired_may_be_taken_over_in_a_transaction_and_given_back(desk: "Desk") -> None:
    first = await submit(desk, "k", keep=timedelta(seconds=60))
    desk.later(60)
    with connect(desk.storage) as connection:
        taken = await desk.storage.insert_within(connection, submission(desk, OTHER))
        assert repeated(taken) == [False]
        connection.rollback()
        desk.now -= timedelta(seconds=1)
        assert await submit(desk, "k") == first  # as if nothing had been
        desk.later()
        taken = await desk.storage.insert_within(connection, submission(desk, OTHER))
        connection.commit()
    assert await submit(desk, "k", OTHER) == taken
