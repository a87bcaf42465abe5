"""`Queue.submit(idempotency_key=...)`: the same message is queued once, however often and in whatever form it comes."""

import asyncio
import io
import pickle
from collections.abc import Callable
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.message import InvalidMessage
from moxlib.queue import (
    IdempotencyConflict,
    InvalidSubmission,
    MessageTooLarge,
    NullObserver,
    RequireTLS,
    RetrySchedule,
    Submission,
)
from moxlib.queue.submission import NewSubmission
from moxlib.testing import FakeClock

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

HEAD = b"From: shop@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n\r\n"
MAIL = HEAD + b"hello\r\n"
OTHER = HEAD + b"hallo\r\n"
LARGE = HEAD + (b"y" * 78 + b"\r\n") * 2_500  # 200 KB
DAY = timedelta(days=1)
INSTANT = timedelta(microseconds=1)


def invoice(tries: int = 1, *, text: str = "Your invoice.\n", pdf: bytes = b"%PDF-1", **headers: str) -> EmailMessage:
    """Return a message as a program builds it when it tries for the `tries`th time."""
    message = EmailMessage()
    usual = {"From": "shop@here.example", "To": "a@one.example, b@two.example", "Bcc": "archive@here.example"}
    for name, value in (usual | headers).items():
        message[name] = value
    message["Date"], message["Message-ID"] = f"Thu, {tries} Jan 2026 12:00:00 +0000", f"<{tries}@here.example>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    message.add_attachment(pdf, maintype="application", subtype="pdf", filename="invoice.pdf")
    return message


def repeated(receipts: tuple[Submission, ...]) -> list[bool]:
    return [receipt.repeated for receipt in receipts]


async def test_a_message_object_built_anew_is_queued_once(depot: "Depot") -> None:
    async with depot.queue() as queue:
        first = await queue.submit(invoice(), idempotency_key="k")
        assert [receipt.recipient for receipt in first] == ["a@one.example", "b@two.example", "archive@here.example"]
        assert repeated(first) == [False] * 3
        for tries in (2, 3):
            depot.clock.set(depot.clock.now() + timedelta(minutes=1))
            again = await queue.submit(invoice(tries), idempotency_key="k")
            assert (again, repeated(again)) == (first, [True] * 3)
        assert await queue.count_messages() == 3
        message = await depot.message(queue, first[0].id)
        assert message.message_id == "<1@here.example>"
        await depot.idle(queue)
        assert len(depot.sink.deliveries) == 3


FORMS: dict[str, Callable[[Path], Any]] = {
    "bytes": lambda _: LARGE,
    "a bytearray": lambda _: bytearray(LARGE),
    "a path": lambda path: path,
    "a path's text": str,
    "an open file": lambda _: io.BytesIO(LARGE),
}


async def test_the_same_bytes_are_the_same_in_any_form(depot: "Depot") -> None:
    path = depot.directory / "large.eml"
    path.write_bytes(LARGE)
    async with depot.queue() as queue:
        first = await queue.submit(LARGE, idempotency_key="k")
        for form in FORMS.values():
            again = await queue.submit(form(path), idempotency_key="k")
            assert (again, repeated(again)) == (first, [True])
        with pytest.raises(IdempotencyConflict):
            await queue.submit(io.BytesIO(LARGE + b"more\r\n"), idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            await queue.submit(LARGE.replace(b"hello", b"Hello"), idempotency_key="k")
        assert await queue.count_messages() == 1
        assert len(await depot.dumped(queue, first[0].id)) > len(LARGE)


Options = dict[str, Any]
CHANGES: dict[str, tuple[Any, Options]] = {
    "another text": (invoice(text="Your bill.\n"), {}),
    "another attachment": (invoice(pdf=b"%PDF-2"), {}),
    "another header": (invoice(Subject="hello"), {}),
    "another recipient in the header": (invoice(To="a@one.example"), {}),
    "other recipients": (invoice(), {"recipients": ["a@one.example"]}),
    "another order of recipients": (
        invoice(),
        {"recipients": ["b@two.example", "a@one.example", "archive@here.example"]},
    ),
    "another sender": (invoice(), {"sender": "other@here.example"}),
    "no sender": (invoice(), {"sender": ""}),
    "other extra": (invoice(), {"extra": {"invoice": "18"}}),
    "no extra": (invoice(), {"extra": None}),
    "another schedule": (invoice(), {"schedule": "1m"}),
    "other attempts": (invoice(), {"max_attempts": 3}),
    "another transport": (invoice(), {"transport": "sink"}),
    "another use of TLS": (invoice(), {"require_tls": RequireTLS.YES}),
    "bytes instead": (MAIL, {}),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_whatever_else_was_asked_for_is_another_message(depot: "Depot", what: str) -> None:
    message, options = CHANGES[what]
    asked: Options = {"extra": {"invoice": "17"}} | options
    async with depot.queue() as queue:
        first = await queue.submit(invoice(), extra={"invoice": "17"}, idempotency_key="k")
        with pytest.raises(IdempotencyConflict, match="another message was submitted under the idempotency key 'k'"):
            await queue.submit(message, idempotency_key="k", **asked)
        assert await queue.count_messages() == 3
        assert await queue.submit(invoice(2), extra={"invoice": "17"}, idempotency_key="k") == first


async def test_the_same_said_in_other_words_is_the_same(depot: "Depot") -> None:
    async with depot.queue() as queue:
        options: Options = {"idempotency_key": "k", "extra": {"a": "1", "b": "2"}}
        first = await queue.submit(MAIL, schedule="1m, 5m", require_tls=RequireTLS.POLICY, **options)
        others: list[Options] = [
            {"extra": {"b": "2", "a": "1"}, "schedule": "1m, 5m", "require_tls": RequireTLS.POLICY},
            {"schedule": RetrySchedule.parse("1m, 5m"), "require_tls": RequireTLS.POLICY},
            {"schedule": "1m, 5m", "require_tls": "policy"},
            {"schedule": "1m, 5m", "require_tls": RequireTLS.POLICY, "sender": "shop@here.example"},
            {"schedule": "1m, 5m", "require_tls": RequireTLS.POLICY, "recipients": "a@one.example"},
            {"schedule": "1m, 5m", "require_tls": RequireTLS.POLICY, "recipients": ["a@one.example"] * 2},
        ]
        for asked in others:
            assert await queue.submit(MAIL, **(options | asked)) == first


async def test_when_it_is_to_be_sent_does_not_count(depot: "Depot") -> None:
    """A program that tries again says "in an hour" an hour later."""
    async with depot.queue() as queue:
        due = depot.clock.now() + timedelta(hours=1)
        [first] = await queue.submit(MAIL, not_before=due, idempotency_key="k")
        depot.clock.set(depot.clock.now() + timedelta(minutes=1))
        [again] = await queue.submit(MAIL, not_before=due + timedelta(hours=5), idempotency_key="k")
        assert (again, again.repeated) == (first, True)
        assert (await depot.message(queue, first.id)).next_attempt == due
        assert repeated(await queue.submit(MAIL, idempotency_key="k")) == [True]


async def test_without_a_key_nothing_is_compared(depot: "Depot") -> None:
    async with depot.queue() as queue:
        receipts = [await queue.submit(MAIL) for _ in range(2)]
        receipts.append(await queue.submit(MAIL, idempotency_key="k"))
        receipts.append(await queue.submit(MAIL))
        assert len(set(receipts)) == 4


async def test_each_account_has_keys_of_its_own(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [shop] = await queue.submit(MAIL, account="shop", idempotency_key="k")
        [other] = await queue.submit(OTHER, account="else", idempotency_key="k")
        [nobody] = await queue.submit(OTHER, idempotency_key="k")
        assert len({shop.id, other.id, nobody.id}) == 3
        assert await queue.submit(MAIL, account="shop", idempotency_key="k") == (shop,)


# keys

GOOD = ["k", " ", "0", "k" * 255, "\U0001f600" * 255, "ü\t\n\x7f", "7b0d1d2e-5a35-4b0f-9d5c-9f6a7a3e2f11", "'; --"]
BAD = ["", "k" * 256, "\0", "a\0b", "\udc80", "a\ud83d", "\U0001f600" * 256]


async def test_a_key_is_any_text_of_1_to_255_characters(depot: "Depot") -> None:
    async with depot.queue() as queue:
        receipts = [await queue.submit(MAIL, idempotency_key=key) for key in GOOD]
        assert [await queue.submit(MAIL, idempotency_key=key) for key in GOOD] == receipts
        assert await queue.count_messages() == len(GOOD)


async def test_other_keys_are_refused_before_anything_is_stored(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for key in BAD:
            with pytest.raises(InvalidSubmission, match="an idempotency key must be a text of 1 to 255 characters"):
                await queue.submit(LARGE, idempotency_key=key)
        assert await queue.count_messages() == 0
        assert not list(depot.directory.glob("*.content/*"))


@pytest.mark.parametrize("key", [17, b"k", True, ["k"]])
async def test_a_key_that_is_no_text_is_refused(depot: "Depot", key: Any) -> None:
    async with depot.queue() as queue:
        with pytest.raises(InvalidSubmission):
            await queue.submit(MAIL, idempotency_key=key)
        assert await queue.count_messages() == 0


def test_a_conflict_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(IdempotencyConflict("k")))
    assert (type(error), error.key, str(error)) == (IdempotencyConflict, "k", str(IdempotencyConflict("k")))


# time


async def test_a_key_is_kept_for_a_day(depot: "Depot") -> None:
    async with depot.queue() as queue:
        first = await queue.submit(MAIL, idempotency_key="k")
        depot.clock.set(depot.clock.now() + DAY - INSTANT)
        assert await queue.submit(MAIL, idempotency_key="k") == first
        depot.clock.set(depot.clock.now() + INSTANT)
        [second] = await queue.submit(OTHER, idempotency_key="k")
        assert (second.repeated, second.id > first[0].id) == (False, True)
        with pytest.raises(IdempotencyConflict):
            await queue.submit(MAIL, idempotency_key="k")
        assert await queue.count_messages() == 2


async def test_or_for_as_long_as_is_configured(depot: "Depot") -> None:
    async with depot.queue(keep_idempotency_keys=timedelta(minutes=1)) as queue:
        await queue.submit(MAIL, idempotency_key="k")
        depot.clock.set(depot.clock.now() + timedelta(minutes=1))
        assert repeated(await queue.submit(MAIL, idempotency_key="k")) == [False]


async def test_it_is_kept_whatever_becomes_of_the_message_and_the_queue(depot: "Depot") -> None:
    async with depot.queue(keep_history=timedelta(0)) as queue:
        first = await queue.submit(MAIL, idempotency_key="k")
        await depot.idle(queue)
        assert (await queue.count_messages(), await queue.count_history()) == (0, 0)
        assert await queue.submit(MAIL, idempotency_key="k") == first
    async with depot.queue() as queue:
        assert await queue.submit(MAIL, idempotency_key="k") == first
        with pytest.raises(IdempotencyConflict):
            await queue.submit(OTHER, idempotency_key="k")
        await depot.idle(queue)
    assert len(depot.sink.deliveries) == 1


async def test_workers_forget_keys_past_their_time(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await queue.submit(MAIL, idempotency_key="k")
        clock = FakeClock(depot.clock.now() + DAY)
    async with depot.queue(clock=clock) as later, later.worker() as worker:
        await worker.wait_idle()
    async with depot.queue() as queue:  # by its clock the key would still be good
        async with asyncio.timeout(60):
            while repeated(await queue.submit(MAIL, idempotency_key="k")) == [True]:
                async with depot.queue(clock=clock) as later, later.worker() as worker:
                    await worker.wait_idle()


# what else follows from a repeat


async def test_the_observer_hears_of_the_first_only(depot: "Depot") -> None:
    async with depot.queue() as queue:
        first = await queue.submit(MAIL, idempotency_key="k")
        await queue.submit(MAIL, idempotency_key="k")
        with pytest.raises(IdempotencyConflict):
            await queue.submit(OTHER, idempotency_key="k")
        assert [receipts for _, receipts in depot.ear.of("submitted")] == [first]


async def test_an_observer_sees_the_key(depot: "Depot") -> None:
    heard: list[NewSubmission] = []

    class Observer(NullObserver):
        def submitted(self, submission: NewSubmission, receipts: tuple[Submission, ...]) -> None:
            heard.append(submission)

    async with depot.queue(observer=Observer()) as queue:
        await queue.submit(MAIL, idempotency_key="k")
    [submission] = heard
    assert submission.idempotency is not None
    assert (submission.idempotency.key, submission.idempotency.keep_until) == ("k", depot.clock.now() + DAY)


async def test_what_was_refused_may_come_again_mended(depot: "Depot") -> None:
    async with depot.queue(max_message_size=300_000) as queue:
        for message, error in ((HEAD + b"a\nb\r\n", InvalidMessage), (LARGE * 2, MessageTooLarge)):
            with pytest.raises(error):
                await queue.submit(message, idempotency_key="k")
        assert repeated(await queue.submit(MAIL, idempotency_key="k")) == [False]


def content_files(depot: "Depot") -> list[Path]:
    return list(depot.directory.glob("*.content/*"))


async def test_a_repeats_content_file_is_removed_and_a_conflicts_too(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [first] = await queue.submit(LARGE, idempotency_key="k")
        files = content_files(disk)
        assert len(files) == 1
        assert repeated(await queue.submit(LARGE, idempotency_key="k")) == [True]
        assert content_files(disk) == files
        with pytest.raises(IdempotencyConflict):
            await queue.submit(LARGE + b"more\r\n", idempotency_key="k")
        assert content_files(disk) == files
        results = await asyncio.gather(*(queue.submit(LARGE, idempotency_key="k") for _ in range(10)))
        assert set(results) == {(first,)}
        assert content_files(disk) == files
        assert (await disk.dumped(queue, first.id)).endswith(LARGE)
        await disk.idle(queue)
        assert content_files(disk) == []


# several at once


@pytest.mark.parametrize("message", [MAIL, LARGE], ids=["small", "large"])
async def test_of_many_at_once_one_is_queued(depot: "Depot", message: bytes) -> None:
    async with depot.queue() as queue:
        results = await asyncio.gather(*(queue.submit(message, idempotency_key="k") for _ in range(20)))
        assert len(set(results)) == 1
        assert sorted(map(repeated, results)) == [[False]] + [[True]] * 19
        assert await queue.count_messages() == 1
        assert len(depot.ear.of("submitted")) == 1
        await depot.idle(queue)
        assert len(depot.sink.deliveries) == 1
        assert content_files(depot) == []


async def test_of_many_objects_at_once_from_several_queues_one_is_queued(depot: "Depot") -> None:
    storages = [depot.make_storage() for _ in range(1 if depot.kind == "memory" else 3)]
    queues = [depot.queue(storage=storage) for storage in storages]
    for queue in queues:
        await queue.__aenter__()
    try:
        results = await asyncio.gather(
            *(queue.submit(invoice(n + 1), idempotency_key="k") for n, queue in enumerate(queues * 6))
        )
        assert len(set(results)) == 1
        assert sum(not receipts[0].repeated for receipts in results) == 1
        assert await queues[0].count_messages() == 3
    finally:
        for queue in queues:
            await queue.close()


async def test_at_once_with_other_messages_each_key_gets_one(depot: "Depot") -> None:
    async with depot.queue() as queue:
        results = await asyncio.gather(
            *(
                queue.submit(message, idempotency_key=key)
                for key in ("k", "l", "m")
                for message in (MAIL, OTHER, LARGE) * 3
            ),
            *(queue.submit(MAIL) for _ in range(5)),
            return_exceptions=True,
        )
        keyed, plain = results[:27], results[27:]
        assert len({result for result in keyed if isinstance(result, tuple)}) == 3
        assert sum(isinstance(result, IdempotencyConflict) for result in keyed) == 18
        assert len({result for result in plain if isinstance(result, tuple)}) == 5
        assert await queue.count_messages() == 8
