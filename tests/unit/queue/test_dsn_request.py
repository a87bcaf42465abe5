"""What a submitter asks of delivery status notifications: what is refused, what is kept, and what goes out."""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from moxlib.errors import InputError
from moxlib.queue import (
    Deferred,
    Delivered,
    DSNConfig,
    DSNRequest,
    IdempotencyConflict,
    InvalidSubmission,
    Notify,
    Queue,
    QueueConfig,
    RecipientDSN,
    SMTPTransport,
    WorkerConfig,
)
from moxlib.testing import ByCommand, SMTPPeer

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

MAIL = b"From: sender@here.example\r\nTo: a@one.example, B@two.example\r\nSubject: hello\r\n\r\nhello\r\n"
SUCCESS, FAILURE, DELAY, NEVER = Notify.SUCCESS, Notify.FAILURE, Notify.DELAY, Notify.NEVER


Loose: Any = DSNRequest
"""For what a program without types may pass."""


def queue_of(depot: Depot, **options: Any) -> Queue:
    """Return a queue on the depot's storage whose tokens are not all the same."""
    numbers = count(1)
    config = QueueConfig(worker=WorkerConfig(settle_gather=timedelta(0)), dsn=DSNConfig.off())
    usual: dict[str, Any] = {"transports": {"sink": depot.sink}, "config": config, "clock": depot.clock}
    return Queue(depot.make_storage(), token=lambda: f"token-{next(numbers)}", **{**usual, **options})


# what is refused


@pytest.mark.parametrize(
    "make",
    [
        lambda: DSNRequest(notify=(NEVER, FAILURE)),
        lambda: Loose(notify=("SOMETIMES",)),
        lambda: Loose(ret="BODY"),
        lambda: DSNRequest(envid="line\r\nRCPT TO:<x@y>"),
        lambda: DSNRequest(envid="ümlaut"),
        lambda: DSNRequest(envid="x" * 101),
        lambda: DSNRequest(envid="+" * 34),  # 102 characters in xtext
        lambda: RecipientDSN(notify=(NEVER, DELAY)),
        lambda: RecipientDSN(orcpt="user@example.org"),
        lambda: RecipientDSN(orcpt="rfc822;"),
        lambda: RecipientDSN(orcpt="rfc822;a b\r\nDATA"),
        lambda: RecipientDSN(orcpt="rfc822;ü@example.org"),
        lambda: RecipientDSN(orcpt="rfc822;" + "x" * 494),
        lambda: Loose(recipients={"a@one.example": {"notify": "NEVER"}}),
    ],
)
def test_what_cannot_stand_in_smtp_is_refused(make: Any) -> None:
    with pytest.raises(InvalidSubmission) as caught:
        make()
    assert isinstance(caught.value, InputError)
    assert "\r" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_what_is_just_small_enough_is_taken() -> None:
    assert DSNRequest(envid="x" * 100).envid == "x" * 100
    assert DSNRequest(envid="+" * 33).envid == "+" * 33
    assert RecipientDSN(orcpt="rfc822;" + "x" * 493).orcpt
    assert RecipientDSN(orcpt="utf-8;ü@example.org").orcpt == "utf-8;ü@example.org"


def test_names_are_taken_for_values_and_doubles_left_out() -> None:
    request = Loose(notify=("DELAY", FAILURE, "DELAY"))
    assert request.notify == (DELAY, FAILURE)
    assert request.notify_for("a@one.example") == "DELAY,FAILURE"


def test_a_recipients_own_wish_comes_before_that_for_all() -> None:
    request = DSNRequest(
        notify=(FAILURE,),
        recipients={"b@x": RecipientDSN(notify=(NEVER,)), "c@x": RecipientDSN(orcpt="rfc822;old@x")},
    )
    assert [request.notify_for(each) for each in ("a@x", "b@x", "c@x")] == ["FAILURE", "NEVER", "FAILURE"]
    assert [request.orcpt_for(each) for each in ("a@x", "b@x", "c@x")] == ["", "", "rfc822;old@x"]


def test_a_request_does_not_change_with_what_it_was_made_from() -> None:
    wishes = {"a@x": RecipientDSN(notify=(NEVER,))}
    request = DSNRequest(recipients=wishes)
    wishes["b@x"] = RecipientDSN(notify=(NEVER,))
    assert request.notify_for("b@x") == ""
    with pytest.raises(TypeError):
        request.recipients["b@x"] = RecipientDSN()  # type: ignore[index]


# what is kept


async def test_every_message_has_an_envelope_identifier_of_its_own(depot: Depot) -> None:
    async with queue_of(depot) as queue:
        receipts = [await queue.submit(MAIL) for _ in range(3)]
        envids = [[(await depot.message(queue, each.id)).envid for each in both] for both in receipts]
    assert all(one == other for one, other in envids)  # of one envelope
    assert len({one for one, _ in envids}) == 3
    assert all(one.startswith("token-") for one, _ in envids)


async def test_an_identifier_is_made_at_random_where_nobody_says_how(depot: Depot) -> None:
    async with Queue(depot.make_storage()) as queue:
        receipts = [(await queue.submit(MAIL))[0] for _ in range(3)]
        envids = {(await depot.message(queue, each.id)).envid for each in receipts}
    assert len(envids) == 3
    assert {len(each) for each in envids} == {20}
    assert all(DSNRequest(envid=each).envid == each for each in envids)


async def test_what_was_asked_is_kept_for_each_recipient_through_all_attempts(depot: Depot) -> None:
    request = DSNRequest(
        ret="HDRS",
        envid="order 17",
        notify=(FAILURE, DELAY),
        recipients={"B@two.example": RecipientDSN(notify=(NEVER,), orcpt="utf-8;jürgen@example.org")},
    )
    depot.sink.answers = {address: [Deferred(text="later")] * 2 for address in ("a@one.example", "B@two.example")}
    depot.sink.answer = lambda _: Delivered()
    async with queue_of(depot) as queue:
        one, two = await queue.submit(MAIL, dsn=request, is_report=True)
        kept = await depot.message(queue, two.id)
        assert (kept.ret, kept.envid, kept.notify, kept.orcpt) == (
            "HDRS",
            "order 17",
            "NEVER",
            "utf-8;jürgen@example.org",
        )
        await depot.empty(queue)
        assert (await depot.retired(queue, one.id)).envid == "order 17"
        assert (await depot.retired(queue, two.id)).envid == "order 17"
    seen = [message for delivery in depot.sink.deliveries for message in delivery.messages]
    assert [message.attempts for message in seen if message.id == one.id] == [1, 2, 3]
    assert {(message.envid, message.ret, message.is_report) for message in seen} == {("order 17", "HDRS", True)}
    assert {(message.notify, message.orcpt) for message in seen if message.id == one.id} == {("FAILURE,DELAY", "")}
    assert {message.orcpt for message in seen if message.id == two.id} == {"utf-8;jürgen@example.org"}
    assert all(delivery.is_report for delivery in depot.sink.deliveries)


async def test_an_identifier_made_here_stays_through_retries_and_reopening(depot: Depot) -> None:
    depot.sink.answers = {"a@one.example": [Deferred(text="later")]}
    async with queue_of(depot) as queue:
        [receipt] = await queue.submit(MAIL, recipients="a@one.example")
        envid = (await depot.message(queue, receipt.id)).envid
        await depot.idle(queue)
    async with queue_of(depot) as queue:
        assert (await depot.message(queue, receipt.id)).envid == envid
        await depot.empty(queue)
        assert (await depot.retired(queue, receipt.id)).envid == envid
    assert [delivery.messages[0].envid for delivery in depot.sink.deliveries] == [envid, envid]


@pytest.mark.parametrize("given", ["<B@two.example>", "B@TWO.example", "B@two.example"])
async def test_a_recipient_is_named_as_it_was_submitted(depot: Depot, given: str) -> None:
    request = DSNRequest(recipients={given: RecipientDSN(notify=(NEVER,))})
    async with queue_of(depot) as queue:
        one, two = await queue.submit(MAIL, recipients=["a@one.example", given], dsn=request)
        found = [(await depot.message(queue, each.id)).notify for each in (one, two)]
    assert found == ["", "NEVER"]


@pytest.mark.parametrize("order", [1, -1])
async def test_a_recipient_given_twice_has_its_wish_whichever_way_it_was_written(depot: Depot, order: int) -> None:
    given = ["B@two.example", "B@TWO.example"][::order]
    request = DSNRequest(recipients={"B@TWO.example": RecipientDSN(notify=(NEVER,))})
    async with queue_of(depot) as queue:
        [receipt] = await queue.submit(MAIL, recipients=given, dsn=request)
        assert (await depot.message(queue, receipt.id)).notify == "NEVER"


async def test_a_wish_for_somebody_else_is_refused(depot: Depot) -> None:
    """A slip of the pen would go unnoticed, and a notification be sent that nobody wants."""
    request = DSNRequest(recipients={"b@two.exmaple": RecipientDSN(notify=(NEVER,))})
    async with queue_of(depot) as queue:
        with pytest.raises(InvalidSubmission, match=r"b@two\.exmaple"):
            await queue.submit(MAIL, dsn=request)
        assert await queue.count_messages() == 0


async def test_what_is_asked_is_part_of_what_a_key_was_used_for(depot: Depot) -> None:
    never = DSNRequest(notify=(NEVER,))
    async with queue_of(depot) as queue:
        [first, _] = await queue.submit(MAIL, idempotency_key="k", dsn=never)
        [again, _] = await queue.submit(MAIL, idempotency_key="k", dsn=DSNRequest(notify=(NEVER,)))
        assert (again.id, again.repeated) == (first.id, True)
        others: list[dict[str, Any]] = [{}, {"dsn": DSNRequest(notify=(DELAY,))}, {"dsn": never, "is_report": True}]
        for other in others:
            with pytest.raises(IdempotencyConflict):
                await queue.submit(MAIL, idempotency_key="k", **other)


async def test_to_ask_for_nothing_is_the_same_as_not_to_ask(depot: Depot) -> None:
    async with queue_of(depot) as queue:
        [first, _] = await queue.submit(MAIL, idempotency_key="k")
        [again, _] = await queue.submit(MAIL, idempotency_key="k", dsn=DSNRequest())
        assert (again.id, again.repeated) == (first.id, True)
        assert (await depot.message(queue, first.id)).envid


# what goes out


@pytest.mark.parametrize("offered", [True, False])
async def test_servers_that_offer_it_are_asked(disk: Depot, offered: bool) -> None:
    request = DSNRequest(
        ret="FULL",
        envid="order 17+4",
        notify=(SUCCESS, FAILURE),
        recipients={"b@one.example": RecipientDSN(orcpt="rfc822;old+b@example.org")},
    )
    extensions = ("PIPELINING", "8BITMIME", *["DSN"] * offered)
    answers = ByCommand({"MAIL": ["451 4.3.0 later", "250 2.1.0 ok"]}, extensions=extensions)
    async with SMTPPeer(answers) as peer:
        relay = SMTPTransport("127.0.0.1", peer.port, security="none", clock=disk.clock)
        async with queue_of(disk, transports={"relay": relay}) as queue:
            await queue.submit(MAIL, recipients=["a@one.example", "b@one.example"], dsn=request)
            await disk.empty(queue)
        mails = [line for line in peer.lines if line.startswith("MAIL")]
        wishes = [line for line in peer.lines if line.startswith("RCPT")]
    asked = " RET=FULL ENVID=order+2017+2B4"
    assert len(mails) == 2
    assert {asked in line for line in mails} == {offered}
    assert {"NOTIFY=SUCCESS,FAILURE" in line for line in wishes} == {offered}
    assert {"ORCPT=rfc822;old+2Bb@example.org" in line for line in wishes if "<b@" in line} == {offered}
    assert not any("ORCPT" in line for line in wishes if "<a@" in line)


async def test_every_message_is_sent_with_its_identifier(disk: Depot) -> None:
    async with SMTPPeer(ByCommand(extensions=("PIPELINING", "DSN"))) as peer:
        relay = SMTPTransport("127.0.0.1", peer.port, security="none", clock=disk.clock)
        async with queue_of(disk, transports={"relay": relay}) as queue:
            receipts = await queue.submit(MAIL)
            envid = (await disk.message(queue, receipts[0].id)).envid
            await disk.empty(queue)
        mails = [line for line in peer.lines if line.startswith("MAIL")]
    assert [f"ENVID={envid}" in line for line in mails] == [True, True]
