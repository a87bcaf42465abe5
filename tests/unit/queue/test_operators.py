"""What operators do and see through the facade: hold, move, drop, dump, hold rules, listings page by page."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import InputError, StateError
from moxlib.queue import (
    ContentDamaged,
    Cursor,
    Deferred,
    EventType,
    Failed,
    HistoryFilter,
    HoldRule,
    InvalidFilter,
    Message,
    MessageFilter,
    Queue,
    QueueClosed,
    RequireTLS,
    ResultKind,
    Sort,
    UnknownTransport,
)
from moxlib.queue.hooks import HookFilter

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

MAIL = b"From: s@here.example\r\nTo: a@one.example\r\nSubject: hello\r\n\r\nhello\r\n"
ALL = MessageFilter()
HOUR = timedelta(hours=1)
LARGE = MAIL + b"x" * 70 + b"\r\n" + (b"y" * 70 + b"\r\n") * 3000


def only(*ids: int) -> MessageFilter:
    return MessageFilter(ids=ids)


# hold and release


async def test_what_is_held_is_not_attempted_until_it_is_released(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [a], [b] = await depot.submit(queue, "a@one.example"), await depot.submit(queue, "b@two.example")
        assert await queue.hold(only(a.id)) == 1
        assert await queue.hold(ALL) == 1  # the other one: the first is held already
        assert await queue.release(only(b.id)) == 1
        await depot.idle(queue)
        assert depot.sink.recipients == [("b@two.example",)]
        assert (await depot.message(queue, a.id)).hold
        assert await queue.release(ALL) == 1
        assert await queue.release(ALL) == 0
        await depot.idle(queue)
        assert depot.sink.recipients == [("b@two.example",), ("a@one.example",)]


async def test_a_running_worker_hears_of_a_release(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await queue.hold(ALL)
        async with queue.worker() as worker:
            await worker.wait_idle()
            assert await queue.release(ALL) == 1
            await depot.sink.began(1)
        assert (await depot.retired(queue, message.id)).success


# when


async def test_retry_now_makes_due_what_waits(depot: "Depot") -> None:
    depot.sink.answers = {"a@one.example": [Deferred(text="later", code=451)]}
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        await depot.idle(queue)
        assert (await depot.message(queue, message.id)).next_attempt > depot.clock.now()
        assert await queue.retry_now(only(message.id + 1)) == 0
        assert await queue.retry_now(ALL) == 1
        assert (await depot.message(queue, message.id)).next_attempt == depot.clock.now()
        assert await queue.next_due() == depot.clock.now()
        await depot.idle(queue)
        assert (await depot.retired(queue, message.id)).attempts == 2


async def test_reschedule_to_a_time_and_by_a_time(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        start = depot.clock.now()
        at = (start + 3 * HOUR).astimezone(timezone(timedelta(hours=5)))
        assert await queue.reschedule(ALL, at=at) == 1
        assert (await depot.message(queue, message.id)).next_attempt == at
        assert await queue.reschedule(ALL, by=HOUR) == 1
        assert (await depot.message(queue, message.id)).next_attempt == start + 4 * HOUR
        await depot.idle(queue)
        assert depot.sink.deliveries == []
        assert await queue.reschedule(ALL, by=-5 * HOUR) == 1
        assert (await depot.message(queue, message.id)).next_attempt == start - HOUR
        await depot.idle(queue)
        assert len(depot.sink.deliveries) == 1


async def test_a_time_long_ago_is_now_for_all_purposes(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        assert await queue.reschedule(ALL, at=datetime.min.replace(tzinfo=UTC)) == 1
        assert (await depot.message(queue, message.id)).next_attempt.year == 1970
        for _ in range(3):
            await queue.reschedule(ALL, by=timedelta(days=-60))
        await depot.idle(queue)
        assert (await depot.retired(queue, message.id)).success


@pytest.mark.parametrize(
    "when",
    [
        {},
        {"at": datetime(2026, 1, 1, tzinfo=UTC), "by": HOUR},
        {"at": datetime(2026, 1, 1)},
        {"at": datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=60, microseconds=1)},
        {"by": timedelta(days=60, microseconds=1)},
        {"by": -timedelta(days=60, microseconds=1)},
    ],
    ids=["neither", "both", "naive", "far ahead", "far forward", "far back"],
)
async def test_a_time_that_cannot_be_is_refused(depot: "Depot", when: dict[str, Any]) -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        before = await queue.get(message.id)
        with pytest.raises(InputError):
            await queue.reschedule(ALL, **when)
        assert await queue.get(message.id) == before


async def test_sixty_days_are_allowed(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        last = depot.clock.now() + timedelta(days=60)
        assert await queue.reschedule(ALL, at=last) == 1
        assert (await depot.message(queue, message.id)).next_attempt == last


# how


async def test_a_transport_is_set_and_cleared(depot: "Depot") -> None:
    async with depot.queue(transports={"sink": depot.sink, "default": depot.sink}) as queue:
        [message] = await depot.submit(queue)
        assert await queue.set_transport(ALL, "sink") == 1
        assert (await depot.message(queue, message.id)).transport == "sink"
        assert await queue.count_messages(MessageFilter(transport="sink")) == 1
        assert await queue.set_transport(ALL, None) == 1
        assert (await depot.message(queue, message.id)).transport is None
        assert await queue.count_messages(MessageFilter(transport="")) == 1
        await queue.set_transport(ALL, "sink")
        await depot.idle(queue)
        assert [d.transport for d in depot.sink.deliveries] == ["sink"]


async def test_an_unknown_transport_is_refused_where_transports_are_known(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        with pytest.raises(UnknownTransport) as refused:
            await queue.set_transport(ALL, "typo")
        assert (refused.value.name, refused.value.known) == ("typo", ("sink",))
        assert (await depot.message(queue, message.id)).transport is None
    async with depot.queue(transports={}) as queue:
        [message] = await depot.submit(queue, "b@two.example")
        assert await queue.set_transport(only(message.id), "of another process") == 1
        with pytest.raises(InputError):
            await queue.set_transport(ALL, "\udc80")


async def test_require_tls_is_set(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        for wanted in (RequireTLS.YES, RequireTLS.NO, RequireTLS.POLICY):
            assert await queue.set_require_tls(ALL, wanted) == 1
            assert (await depot.message(queue, message.id)).require_tls is wanted
        wrong: Any = "maybe"
        with pytest.raises(InputError, match="policy, yes, no"):
            await queue.set_require_tls(ALL, wrong)


# the end


@pytest.mark.parametrize("how", ["drop", "fail"])
async def test_dropped_and_failed_messages_go_to_the_history(depot: "Depot", how: str) -> None:
    event = EventType.CANCELED if how == "drop" else EventType.FAILED
    depot.sink.answers = {"a@one.example": [Deferred(text="later", code=451)]}
    async with depot.queue() as queue:
        [a, b] = await depot.submit(queue, "a@one.example", "b@one.example", not_before=depot.clock.now())
        await queue.hold(only(b.id))
        await depot.idle(queue)
        depot.clock.set(depot.clock.now() + timedelta(minutes=1))
        assert await getattr(queue, how)(only(a.id, 999)) == 1
        assert await queue.get(a.id) is None
        retired = await depot.retired(queue, a.id)
        assert (retired.event, retired.success, retired.attempts) == (event, False, 1)
        assert (retired.finished, retired.base_id) == (depot.clock.now(), a.base_id)
        assert [r.kind for r in retired.results] == [ResultKind.DEFERRED, ResultKind.CANCELED]
        assert (retired.results[-1].attempt, retired.results[-1].code) == (0, 0)
        told = [e for e in await queue.list_events() if e.type is event]
        assert [(e.message, e.recipient, e.code) for e in told] == [(a.id, "a@one.example", 0)]
        assert [m.id for m in (await queue.list_messages()).items] == [b.id]
        assert await getattr(queue, how)(only(a.id)) == 0


async def test_without_history_only_the_event_stays(depot: "Depot") -> None:
    async with depot.queue(keep_history=timedelta(0)) as queue:
        [message] = await depot.submit(queue)
        assert await queue.drop(ALL) == 1
        assert await queue.get_retired(message.id) is None
        assert [event.type for event in await queue.list_events()] == [EventType.CANCELED]


async def test_content_goes_with_the_last_recipient(disk: "Depot") -> None:
    directory = disk.directory / "mail.db.content"
    async with disk.queue() as queue:
        a, b = await queue.submit(LARGE, recipients=["a@one.example", "b@two.example"])
        await queue.drop(only(a.id))
        assert len(list(directory.iterdir())) == 1
        await queue.fail(only(b.id))
        assert list(directory.iterdir()) == []


# dump


@pytest.mark.parametrize("mail", [MAIL, LARGE], ids=["small", "large"])
async def test_dump_streams_what_would_be_sent(depot: "Depot", mail: bytes) -> None:
    async with depot.queue() as queue:
        [message] = await queue.submit(mail)
        prefix = (await depot.message(queue, message.id)).prefix
        assert b"Message-ID: <token@localhost>\r\n" in prefix
        assert await depot.dumped(queue, message.id) == prefix + mail
        await depot.idle(queue)
        assert depot.sink.contents == [prefix + mail]
        with pytest.raises(InvalidFilter, match=f"no message {message.id}"):
            await depot.dumped(queue, message.id)  # it is in the history: its content is gone


@pytest.mark.parametrize("id_", [0, -1, 1, 2**63, -(2**64)])
async def test_what_is_not_there_is_nothing(depot: "Depot", id_: int) -> None:
    async with depot.queue() as queue:
        assert await queue.get(id_) is None
        assert await queue.get_retired(id_) is None
        assert await queue.explain(id_) is None
        with pytest.raises(InvalidFilter):
            await depot.dumped(queue, id_)


async def test_dump_of_damaged_content_is_refused_before_its_first_byte(disk: "Depot") -> None:
    async with disk.queue() as queue:
        [message] = await queue.submit(LARGE)
        [file] = (disk.directory / "mail.db.content").iterdir()
        file.write_bytes(file.read_bytes()[:-1] + b"!")
        with pytest.raises(ContentDamaged):
            await anext(queue.dump(message.id))
        file.unlink()
        with pytest.raises(ContentDamaged):
            await anext(queue.dump(message.id))


# hold rules


async def test_all_set_fields_of_a_rule_must_match_new_and_queued_mail(depot: "Depot") -> None:
    cases = [
        ("shop", "s@here.example", "a@one.example", True),
        ("other", "s@here.example", "a@one.example", False),
        ("shop", "s@there.example", "a@one.example", False),
        ("shop", "s@here.example", "a@sub.one.example", False),
        ("", "", "a@one.example", False),
    ]
    async with depot.queue() as queue:

        async def submit_all() -> list[bool]:
            return [
                (await queue.submit(MAIL, account=account, sender=sender, recipients=[to]))[0].hold
                for account, sender, to, _ in cases
            ]

        assert await submit_all() == [False] * 5
        rule, held = await queue.add_hold_rule(
            account="shop", sender_domain="here.example", recipient_domain="one.example"
        )
        assert held == 1
        assert await submit_all() == [case[-1] for case in cases]
        listed = (await queue.list_messages()).items
        assert [m.hold for m in listed] == [case[-1] for case in cases] * 2
        assert await queue.hold_rules() == (rule,)


async def test_an_empty_rule_is_everything_and_removing_it_releases_nothing(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue)
        rule, held = await queue.add_hold_rule()
        assert (rule, held) == (HoldRule(), 1)
        assert (await depot.submit(queue))[0].hold
        assert await queue.remove_hold_rule(rule)
        assert not await queue.remove_hold_rule(rule)
        assert not await queue.remove_hold_rule(2**70)
        assert await queue.hold_rules() == ()
        assert await queue.count_messages(MessageFilter(hold=True)) == 2
        assert not (await depot.submit(queue))[0].hold


async def test_an_equal_rule_is_not_doubled_and_is_applied_again(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue)
        first, held = await queue.add_hold_rule(recipient_domain="one.example")
        assert held == 1
        assert (await queue.add_hold_rule(recipient_domain="ONE.example"))[1] == 0
        await queue.release(ALL)
        again, held = await queue.add_hold_rule(recipient_domain="one.example")
        assert (again.id, held) == (first.id, 1)
        other, _ = await queue.add_hold_rule(sender_domain="one.example")
        assert [rule.id for rule in await queue.hold_rules()] == [first.id, other.id]
        assert await queue.remove_hold_rule(first.id)
        assert await queue.hold_rules() == (other,)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Bücher.example", "xn--bcher-kva.example"),
        ("XN--BCHER-KVA.EXAMPLE", "xn--bcher-kva.example"),
        ("[192.0.2.1]", "[192.0.2.1]"),
    ],
)
async def test_a_rules_domains_are_kept_in_ascii(depot: "Depot", given: str, kept: str) -> None:
    async with depot.queue() as queue:
        rule, _ = await queue.add_hold_rule(recipient_domain=given)
        assert rule.recipient_domain == kept
        assert (await queue.submit(MAIL, recipients=[f"a@{kept}"]))[0].hold
        await queue.add_hold_rule(sender_domain=given)
        assert (await queue.submit(MAIL, sender=f"a@{kept}"))[0].hold


@pytest.mark.parametrize("domain", ["no domain", "a..b", "-", "x" * 64 + ".example", "[1.2.3", "a\r\nb", "\udc80"])
async def test_a_rules_domain_that_is_none_is_refused(depot: "Depot", domain: str) -> None:
    async with depot.queue() as queue:
        for field in ("sender_domain", "recipient_domain"):
            with pytest.raises(InvalidFilter, match="hold rule"):
                await queue.add_hold_rule(**{field: domain})
        with pytest.raises(InvalidFilter, match="account"):
            await queue.add_hold_rule(account="\udc80")
        assert await queue.hold_rules() == ()


# listings


async def test_filters_choose_and_count(depot: "Depot") -> None:
    depot.sink.answers = {"b@two.example": [Deferred(text="later")], "c@three.example": [Failed(text="no", code=550)]}
    async with depot.queue() as queue:
        [a] = await depot.submit(queue, "a@one.example", account="shop")
        [b] = await depot.submit(queue, "b@two.example")
        [c] = await depot.submit(queue, "c@three.example", account="shop")
        depot.clock.set(depot.clock.now() + HOUR)
        await depot.idle(queue)
        [d] = await depot.submit(queue, "d@four.example", transport="sink")

        async def found(**conditions: Any) -> list[int]:
            where = MessageFilter.of(conditions)
            ids = [m.id for m in (await queue.list_messages(where)).items]
            assert await queue.count_messages(where) == len(ids)
            return ids

        async def finished(**conditions: Any) -> list[int]:
            where = HistoryFilter.of(conditions)
            ids = [m.id for m in (await queue.list_history(where, sort=Sort.QUEUED, descending=False)).items]
            assert await queue.count_history(where) == len(ids)
            return ids

        assert await found() == [b.id, d.id]
        assert await found(recipient="@TWO.") == [b.id]
        assert await found(transport="sink") == [d.id]
        assert await found(queued_before=depot.clock.now()) == [b.id]
        assert await found(next_attempt_after=depot.clock.now()) == [b.id]
        assert await found(ids=()) == []
        assert await finished() == [a.id, c.id]
        assert await finished(success=True) == [a.id]
        assert await finished(event="failed", account="shop") == [c.id]
        assert await finished(account="nobody") == []


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", list(Sort))
async def test_pages_neither_repeat_nor_hide_while_the_queue_moves(
    depot: "Depot", sort: Sort, descending: bool
) -> None:
    async with depot.queue() as queue:
        stay = set()
        for n in range(12):
            depot.clock.set(depot.clock.now() + timedelta(seconds=n % 2))  # ties, too
            stay.add((await depot.submit(queue, f"a@d{n}.example"))[0].id)
        seen: list[Message] = []
        after: Cursor | str | None = None
        while True:
            page = await queue.list_messages(sort=sort, descending=descending, limit=2, after=after)
            assert len(page.items) <= 2
            seen += page.items
            if page.next is None:
                break
            after = str(page.next)  # as it goes through a URL
            passed = [m.id for m in seen if m.id in stay]
            if len(passed) % 4 == 0:  # rows go: one seen, and the last seen, which the cursor names
                await queue.drop(only(passed[0], passed[-1]))
            await depot.submit(queue, "new@new.example")  # rows come
        ids = [m.id for m in seen]
        assert len(ids) == len(set(ids))
        assert stay <= set(ids)
        times = {
            Sort.QUEUED: [depot.clock.now()] * len(seen),
            Sort.NEXT_ATTEMPT: [m.next_attempt for m in seen],
            Sort.LAST_ACTIVITY: [m.queued for m in seen],
        }
        keys = list(zip(times[sort], ids, strict=True))
        assert keys == sorted(keys, reverse=descending)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("sort", [Sort.QUEUED, Sort.LAST_ACTIVITY])
async def test_pages_of_the_history(depot: "Depot", sort: Sort, descending: bool) -> None:
    async with depot.queue() as queue:
        stay = [(await depot.submit(queue, f"a@d{n}.example"))[0].id for n in range(9)]
        for n, id_ in enumerate(reversed(stay)):
            depot.clock.set(depot.clock.now() + timedelta(seconds=n % 2))
            await queue.drop(only(id_))
        seen: list[tuple[datetime, int]] = []
        page = await queue.list_history(sort=sort, descending=descending, limit=2)
        while True:
            seen += [(r.finished, r.id) for r in page.items]
            if page.next is None:
                break
            await depot.submit(queue, "new@new.example")
            depot.clock.set(depot.clock.now() + timedelta(seconds=1))
            await queue.fail(ALL)
            assert len(seen) < 50  # a page shows two, and one more comes
            page = await queue.list_history(sort=sort, descending=descending, limit=2, after=page.next)
        assert len(seen) == len(set(seen))
        assert set(stay) <= {id_ for _, id_ in seen}
        keys = [(depot.clock.now() if sort is Sort.QUEUED else finished, id_) for finished, id_ in seen]
        assert keys == sorted(keys, reverse=descending)


@pytest.mark.parametrize("limit", [0, -1, 10_001])
async def test_a_limit_that_cannot_be_is_refused(depot: "Depot", limit: int) -> None:
    async with depot.queue() as queue:
        for listing in (queue.list_messages, queue.list_history, queue.list_events):
            with pytest.raises(InvalidFilter, match="limit"):
                await listing(limit=limit)
        assert (await queue.list_messages(limit=10_000)).items == ()


async def test_a_cursor_of_another_order_is_refused(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for _ in range(3):
            await depot.submit(queue)
        after = (await queue.list_messages(limit=1)).next
        assert after is not None
        for sort, descending in ((Sort.QUEUED, True), (Sort.NEXT_ATTEMPT, False)):
            with pytest.raises(InvalidFilter, match="another order"):
                await queue.list_messages(after=after, sort=sort, descending=descending)
        with pytest.raises(InvalidFilter, match="another order"):
            await queue.list_history(after=after)
        with pytest.raises(InvalidFilter, match="cursor"):
            await queue.list_messages(after="no cursor")
        with pytest.raises(InvalidFilter, match=r"next[_ ]attempt"):
            await queue.list_history(sort=Sort.NEXT_ATTEMPT)
        assert len((await queue.list_messages(after=after)).items) == 2


@pytest.mark.parametrize(
    "conditions",
    [
        {"colour": "red"},
        {"ids": 1},
        {"ids": ("1",)},
        {"base_id": "1"},
        {"account": 1},
        {"sender": "\udc80"},
        {"queued_before": "yesterday"},
        {"queued_after": datetime(2026, 1, 1)},
    ],
)
@pytest.mark.parametrize("kind", [MessageFilter, HistoryFilter])
def test_loose_data_that_is_no_filter_is_refused_by_name(
    kind: type[MessageFilter | HistoryFilter], conditions: dict[str, Any]
) -> None:
    with pytest.raises(InvalidFilter, match=next(iter(conditions))):
        kind.of(conditions)


def test_each_filter_knows_its_own_fields() -> None:
    with pytest.raises(InvalidFilter, match="success"):
        MessageFilter.of({"success": True})
    with pytest.raises(InvalidFilter, match="hold"):
        HistoryFilter.of({"hold": True})
    with pytest.raises(InvalidFilter, match="delivered"):
        HistoryFilter.of({"event": "lost"})


async def test_events_are_read_on_from_the_last_one_seen(depot: "Depot") -> None:
    async with depot.queue() as queue:
        for n in range(5):
            await depot.submit(queue, f"a@d{n}.example")
        assert await queue.list_events() == ()
        await queue.drop(ALL)
        first = await queue.list_events(limit=2)
        rest = await queue.list_events(after=first[-1].id)
        assert [e.recipient for e in first + rest] == [f"a@d{n}.example" for n in range(5)]
        assert await queue.list_events(after=rest[-1].id) == ()
        [late] = await depot.submit(queue)
        await queue.fail(ALL)
        assert [e.message for e in await queue.list_events(after=rest[-1].id)] == [late.id]
        assert await queue.list_events(after=2**70) == ()
        assert len(await queue.list_events(after=-(2**70))) == 6


# open and closed


async def consume(stream: AsyncIterator[object]) -> None:
    async for _ in stream:
        pass


CALLS: dict[str, Callable[[Queue], Awaitable[object]]] = {
    "submit": lambda q: q.submit(MAIL),
    "get": lambda q: q.get(1),
    "list": lambda q: q.list_messages(),
    "count": lambda q: q.count_messages(),
    "get_retired": lambda q: q.get_retired(1),
    "list_history": lambda q: q.list_history(),
    "count_history": lambda q: q.count_history(),
    "explain": lambda q: q.explain(1),
    "dump": lambda q: consume(q.dump(1)),
    "next_due": lambda q: q.next_due(),
    "list_events": lambda q: q.list_events(),
    "last_event": lambda q: q.last_event(),
    "events": lambda q: consume(q.events()),
    "on_event": lambda q: q.on_event(print).__aenter__(),
    "get_webhook": lambda q: q.get_webhook(1),
    "list_webhooks": lambda q: q.list_webhooks(),
    "count_webhooks": lambda q: q.count_webhooks(),
    "get_retired_webhook": lambda q: q.get_retired_webhook(1),
    "list_webhook_history": lambda q: q.list_webhook_history(),
    "count_webhook_history": lambda q: q.count_webhook_history(),
    "cancel_webhooks": lambda q: q.cancel_webhooks(HookFilter()),
    "retry_webhooks_now": lambda q: q.retry_webhooks_now(HookFilter()),
    "reschedule_webhooks": lambda q: q.reschedule_webhooks(HookFilter(), by=HOUR),
    "replay_webhooks": lambda q: q.replay_webhooks(),
    "webhook_endpoints": lambda q: q.webhook_endpoints(),
    "enable_webhook": lambda q: q.enable_webhook("https://hooks.example/"),
    "hold": lambda q: q.hold(ALL),
    "release": lambda q: q.release(ALL),
    "retry_now": lambda q: q.retry_now(ALL),
    "reschedule": lambda q: q.reschedule(ALL, by=HOUR),
    "set_transport": lambda q: q.set_transport(ALL, None),
    "set_require_tls": lambda q: q.set_require_tls(ALL, RequireTLS.NO),
    "drop": lambda q: q.drop(ALL),
    "fail": lambda q: q.fail(ALL),
    "hold_rules": lambda q: q.hold_rules(),
    "add_hold_rule": lambda q: q.add_hold_rule(account="x"),
    "remove_hold_rule": lambda q: q.remove_hold_rule(1),
    "worker": lambda q: q.worker().__aenter__(),
    "run_worker": lambda q: q.run_worker(),
}


@pytest.mark.parametrize("call", CALLS)
async def test_a_queue_that_is_not_open_refuses(depot: "Depot", call: str) -> None:
    queue = depot.queue()
    with pytest.raises(QueueClosed):
        await CALLS[call](queue)
    async with queue:
        pass
    with pytest.raises(QueueClosed):
        await CALLS[call](queue)


async def test_a_queue_is_opened_once_at_a_time(depot: "Depot") -> None:
    queue = depot.queue()
    async with queue:
        with pytest.raises(StateError, match="open already"):
            await queue.__aenter__()
        await depot.submit(queue)
    await queue.close()  # once more does nothing
    async with queue:
        assert await queue.count_messages() == 1


async def test_a_queue_is_not_closed_while_a_worker_runs(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [message] = await depot.submit(queue)
        async with queue.worker() as worker:
            with pytest.raises(StateError, match="still running"):
                await queue.close()
            await worker.wait_idle()
        assert (await depot.retired(queue, message.id)).success
        await queue.close()
        with pytest.raises(QueueClosed):
            await queue.count_messages()
