"""Senders are told of what failed, is delayed, or was handed on: once each, in the transaction that settles it."""

from datetime import timedelta
from typing import Any

import pytest
from tests.unit.queue.conftest import MAIL, Depot

from moxlib.dsn import DSN, Action, parse_dsn
from moxlib.queue import (
    AccountConfig,
    Deferred,
    Delivered,
    DSNConfig,
    DSNRequest,
    EventType,
    Failed,
    Filed,
    HistoryFilter,
    MailboxTransport,
    Message,
    MessageFilter,
    Notify,
    Outcome,
    RecipientDSN,
    RequireTLS,
    Transport,
    Unknown,
)
from moxlib.queue.fromid import FromIDConfig
from moxlib.smtp import EnhancedCode

TOLD = DSNConfig()
REFUSED = Failed(text="RCPT TO: no such user", code=550, enhanced="5.1.1", command="RCPT TO", peer="mx.one.example")
LATER = Deferred(text="RCPT TO: try later", code=451, enhanced="4.2.1", command="RCPT TO", peer="mx.one.example")


def _answers(outcome: Outcome) -> Any:
    """Answer so for all but what tells a sender."""
    return lambda message: outcome if message.sender else Delivered(text="ok", peer="sink")


def _notes(depot: Depot) -> list[tuple[Message, bytes]]:
    """Return what was delivered to senders, with its content."""
    pairs = zip(depot.sink.deliveries, depot.sink.contents, strict=True)
    return [(delivery.messages[0], content) for delivery, content in pairs if not delivery.sender]


def _dsns(depot: Depot) -> list[DSN]:
    return [parse_dsn(content) for _, content in _notes(depot)]


async def _fail(depot: Depot, outcome: Outcome = REFUSED, **options: Any) -> None:
    depot.sink.answer = _answers(outcome)
    async with depot.queue(dsn=TOLD, hostname="out.example") as queue:
        await depot.submit(queue, **options)
        await depot.idle(queue)


async def test_a_refused_message_is_told_once(depot: Depot) -> None:
    await _fail(depot, dsn=DSNRequest(envid="order-17"))

    [(message, content)] = _notes(depot)
    dsn = parse_dsn(content)
    [status] = dsn.recipients

    assert (message.sender, message.recipient, message.account) == ("", "sender@here.example", "")
    assert (dsn.from_address, dsn.to_address) == ("postmaster@out.example", "sender@here.example")
    assert dsn.references == ("<1@here.example>",)
    assert dsn.original_envelope_id == "order-17"
    assert content.startswith(b"Auto-Submitted: auto-replied\r\n")
    assert (status.action, str(status.status)) == (Action.FAILED, "5.1.1")
    assert str(status.final_recipient) == "a@one.example"
    assert status.remote_mta is not None
    assert status.remote_mta.name == "mx.one.example"
    assert (status.diagnostic_type, status.diagnostic_text) == ("smtp", "550 5.1.1 no such user")
    assert status.will_retry_until is None
    assert dsn.returned is not None
    assert not dsn.returned.whole
    assert dsn.returned.content == MAIL[: MAIL.index(b"\r\n\r\n")] + b"\r\n"
    assert "mx.one.example answered:\n\n  550 5.1.1 RCPT TO: no such user" in dsn.text


async def test_nothing_is_told_of_what_tells(depot: Depot) -> None:
    depot.sink.answer = lambda _: REFUSED
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue)
        await depot.idle(queue)

        assert await queue.count_history() == 2, "the message, and the one DSN about it"
        assert [d.sender for d in depot.sink.deliveries] == ["sender@here.example", ""]
        suppressed = [each.base_address for each in (await queue.list_suppressions()).items]
        assert suppressed == ["a@one.example"], "it says nothing of the sender's address"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"sender": ""}, 0),
        ({"is_report": True}, 0),
        ({"dsn": DSNRequest(notify=(Notify.NEVER,))}, 0),
        ({"dsn": DSNRequest(notify=(Notify.SUCCESS, Notify.DELAY))}, 0),
        ({"dsn": DSNRequest(notify=(Notify.FAILURE,))}, 1),
        ({"account": "quiet"}, 0),
    ],
)
async def test_who_is_told_of_a_failure(depot: Depot, options: dict[str, Any], told: int) -> None:
    depot.sink.answer = _answers(REFUSED)
    accounts = {"quiet": AccountConfig(dsn=DSNConfig.off())}
    async with depot.queue(dsn=TOLD, accounts=accounts) as queue:
        await depot.submit(queue, "a@one.example", **options)
        await depot.idle(queue)

        assert await queue.count_history() == 1 + told


async def test_a_report_is_not_reported_about(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    head = b'Content-Type: multipart/report;\r\n report-type="delivery-status"; boundary=x\r\n'
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(head + MAIL)
        await depot.idle(queue)

        assert await queue.count_history() == 1


async def test_each_recipient_of_a_delivery_is_told_about(depot: Depot) -> None:
    depot.sink.answers = {"a@one.example": [REFUSED], "b@one.example": [Failed(text="too big", enhanced="5.3.4")]}
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, "a@one.example", "b@one.example", "c@one.example")
        await depot.idle(queue)

    told = {str(dsn.recipients[0].final_recipient): dsn.recipients[0] for dsn in _dsns(depot)}
    assert sorted(told) == ["a@one.example", "b@one.example"]
    assert told["b@one.example"].diagnostic_type == "x-moxlib", "no server said so"
    assert told["b@one.example"].remote_mta is None


async def test_a_delay_is_told_once_and_then_the_end(depot: Depot) -> None:
    depot.sink.answer = _answers(LATER)
    start = depot.clock.now()
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue)
        await depot.empty(queue)

        [message] = (await queue.list_history(HistoryFilter(event=EventType.FAILED))).items
    delayed, failed = _dsns(depot)
    assert [dsn.recipients[0].action for dsn in (delayed, failed)] == [Action.DELAYED, Action.FAILED]
    assert len(message.results) == 8
    fifth, last = message.results[4], message.results[7]
    until = delayed.recipients[0].will_retry_until
    assert until is not None
    assert abs(until - last.started) < timedelta(minutes=10), "the true end, to the jitter of 14 hours"
    assert delayed.recipients[0].last_attempt_date == fifth.started.replace(microsecond=0)
    assert fifth.started - start > timedelta(hours=1, minutes=45)
    assert str(failed.recipients[0].status) == "4.2.1", "what the server said last"
    assert "  1. " in failed.text
    assert "  8. " in failed.text


async def test_delay_told_only_if_asked(depot: Depot) -> None:
    depot.sink.answer = _answers(LATER)
    async with depot.queue(dsn=TOLD) as queue:
        await depot.submit(queue, dsn=DSNRequest(notify=(Notify.FAILURE,)))
        await depot.empty(queue)
        events = await queue.list_events()

    assert [dsn.recipients[0].action for dsn in _dsns(depot)] == [Action.FAILED]
    assert [event.type for event in events].count(EventType.DELAYED) == 7, "events stay as they are"


async def test_an_attempt_of_which_nobody_knows_the_end_is_told_as_expired(depot: Depot) -> None:
    await _fail(depot, Unknown(text="lost"), max_attempts=1)

    [dsn] = _dsns(depot)
    assert dsn.recipients[0].status == EnhancedCode(5, 4, 7)


@pytest.mark.parametrize(
    ("offers", "final", "told"),
    [
        (False, False, [Action.RELAYED]),
        (True, False, []),
        (None, False, []),
        (False, True, [Action.DELIVERED]),
        (None, True, [Action.DELIVERED]),
        (True, True, []),
    ],
)
async def test_a_success_that_no_server_reports_is_told_to_whoever_asked(
    depot: Depot, offers: bool | None, final: bool, told: list[Action]
) -> None:
    outcome = Delivered(text="queued as 7", code=250, peer="mx.one.example", dsn=offers, final=final)
    await _fail(depot, outcome, dsn=DSNRequest(notify=(Notify.SUCCESS,), ret="FULL"))

    dsns = _dsns(depot)
    assert [dsn.recipients[0].action for dsn in dsns] == told
    for dsn in dsns:
        assert str(dsn.recipients[0].status) == "2.0.0"
        assert dsn.returned is not None
        assert not dsn.returned.whole, "of what did not fail, the header"
        assert "What was tried" not in dsn.text


async def test_no_delivery_is_told_unasked(depot: Depot) -> None:
    await _fail(depot, Delivered(dsn=False, final=True))

    assert _notes(depot) == []


@pytest.mark.parametrize(("size", "whole"), [(100, True), (49_000, True), (60_000, False)])
async def test_all_of_it_comes_back_if_asked_and_not_too_large(depot: Depot, size: int, whole: bool) -> None:
    depot.sink.answer = _answers(REFUSED)
    mail = MAIL + (b"x" * 70 + b"\r\n") * (size // 72)
    async with depot.queue(dsn=TOLD, inline_content=1000) as queue:
        await queue.submit(mail, recipients="a@one.example", dsn=DSNRequest(ret="FULL"))
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert dsn.returned is not None
    assert dsn.returned.whole is whole
    assert dsn.returned.content == (mail if whole else MAIL[: MAIL.index(b"\r\n\r\n")] + b"\r\n")


async def test_a_header_too_large_is_cut_between_its_lines(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    mail = MAIL.replace(b"\r\n\r\n", b"\r\n" + b"X-More: 1234567890\r\n" * 5000 + b"\r\n")
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(mail, recipients="a@one.example")
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert dsn.returned is not None
    assert 49_900 < len(dsn.returned.content) <= 50_000
    assert dsn.returned.content.endswith(b"\r\nX-More: 1234567890\r\n")


async def test_added_header_lines_come_back_too(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(b"From: sender@here.example\r\nTo: a@one.example\r\n\r\nhello\r\n")
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert dsn.returned is not None
    assert dsn.returned.message_id == "<token@localhost>"
    assert dsn.references == ("<token@localhost>",)


async def test_a_fromid_is_left_out_of_the_address(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    fromids = FromIDConfig.of(separators={"here.example": "+"})
    async with depot.queue(dsn=TOLD, fromids=fromids) as queue:
        await depot.submit(queue, "a@one.example", fromid=True)
        await depot.submit(queue, "a@one.example", sender="sender+mine@here.example", fromid="mine")
        await depot.idle(queue)

    assert [message.recipient for message, _ in _notes(depot)] == ["sender@here.example"] * 2


async def test_utf8_comes_back_in_7_bits_unless_the_message_needed_more(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(MAIL, recipients="jösé@one.example", sender="sender@here.example")
        await queue.submit(MAIL, recipients="jose@xn--bcher-kva.example", sender="sender@here.example")
        await depot.idle(queue)

    notes = {str(parse_dsn(content).recipients[0].final_recipient): (m, content) for m, content in _notes(depot)}
    message, content = notes["jösé@one.example"]
    assert message.needs_smtputf8
    assert b"message/global-delivery-status" in content
    message, content = notes["jose@xn--bcher-kva.example"]
    assert not message.needs_smtputf8
    assert content.isascii()


async def test_required_tls_is_required_of_the_answer(depot: Depot) -> None:
    await _fail(depot, require_tls=RequireTLS.YES, dsn=DSNRequest(ret="FULL"))

    [(message, content)] = _notes(depot)
    returned = parse_dsn(content).returned
    assert message.require_tls is RequireTLS.YES
    assert returned is not None
    assert not returned.whole, "RFC 8689 5: as if RET=HDRS"


async def test_what_is_suppressed_is_told(depot: Depot) -> None:
    async with depot.queue(dsn=TOLD) as queue:
        await queue.suppress("a@one.example", reason="asked us to stop")
        await depot.submit(queue)
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert dsn.recipients[0].status == EnhancedCode(5, 7, 1)
    assert "asked us to stop" in dsn.text


async def test_an_operator_who_gives_up_tells_and_one_who_drops_does_not(depot: Depot) -> None:
    async with depot.queue(dsn=TOLD) as queue:
        [given_up] = await depot.submit(queue, "a@one.example")
        [dropped] = await depot.submit(queue, "b@one.example")
        assert await queue.fail(MessageFilter(ids=(given_up.id,))) == 1
        assert await queue.drop(MessageFilter(ids=(dropped.id,))) == 1
        assert (await depot.retired(queue, given_up.id)).event is EventType.FAILED
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert str(dsn.recipients[0].final_recipient) == "a@one.example"
    assert "given up by an operator" in dsn.text
    assert dsn.returned is not None


async def test_giving_up_on_many_goes_by_the_batch(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moxlib.queue.notify.operators.BATCH", 3)
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(MAIL, recipients=[f"u{n}@one.example" for n in range(10)])
        assert await queue.fail(MessageFilter(recipient="one.example")) == 10
        assert await queue.count_messages() == 10, "what tells of them"


async def test_what_tells_is_not_given_up_with_what_it_tells_of(depot: Depot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moxlib.queue.notify.operators.BATCH", 3)
    async with depot.queue(dsn=TOLD) as queue:
        await queue.submit(MAIL, recipients=[f"u{n}@one.example" for n in range(7)])
        assert await queue.fail(MessageFilter()) == 7
        assert {message.sender for message in (await queue.list_messages()).items} == {""}
        assert await queue.count_messages() == 7
        assert await queue.fail(MessageFilter()) == 7, "as whatever else is queued"
        assert await queue.count_messages() == 0
        assert await queue.fail(MessageFilter()) == 0


async def test_what_an_operator_dropped_meanwhile_is_not_told(depot: Depot) -> None:
    depot.sink.answer = _answers(REFUSED)
    depot.sink.gate.clear()
    async with depot.queue(dsn=TOLD) as queue, queue.worker() as worker:
        [receipt] = await depot.submit(queue)
        await depot.sink.began(1)
        await queue.drop(MessageFilter(ids=(receipt.id,)))
        depot.sink.gate.set()
        await worker.wait_idle()
        assert await queue.count_messages() == 0
        assert await queue.count_history() == 1


async def test_damaged_content_does_not_keep_a_failure_untold(disk: Depot) -> None:
    depot = disk
    depot.sink.answer = _answers(REFUSED)
    async with depot.queue(dsn=TOLD, inline_content=100) as queue:
        [receipt] = await queue.submit(MAIL + b"x\r\n" * 100, recipients="a@one.example", dsn=DSNRequest(ret="FULL"))
        [file] = (depot.directory / "mail.db.content").iterdir()
        file.write_bytes(file.read_bytes()[:-1])
        await queue.fail(MessageFilter(ids=(receipt.id,)))
        await depot.idle(queue)

    [dsn] = _dsns(depot)
    assert dsn.returned is None


async def test_a_mailbox_of_the_hosts_gets_them_and_again_when_it_failed(depot: Depot) -> None:
    filed: list[Filed] = []
    tries: list[Filed] = []

    async def file(note: Filed) -> None:
        tries.append(note)
        if len(tries) == 1:
            raise OSError("disk full")
        filed.append(note)

    depot.sink.answer = _answers(REFUSED)
    transports: dict[str, Transport] = {"default": depot.sink, "inbox": MailboxTransport(file)}
    async with depot.queue(dsn=DSNConfig.mailbox("inbox"), transports=transports) as queue:
        await depot.submit(queue, account="shop")
        await depot.empty(queue)

    [note] = filed
    assert (note.account, note.recipient) == ("shop", "sender@here.example")
    assert parse_dsn(note.content).message_id == note.message_id == tries[0].message_id
    assert len(depot.sink.deliveries) == 1


async def test_a_hostile_answer_writes_no_fields(depot: Depot) -> None:
    evil = "no\r\nBcc: x@evil.example\r\n\r\n--\x00\x1b[31m\ud800" + "é" * 5000
    await _fail(depot, Failed(text=evil, code=550, enhanced="9.9\r\n", command="RCPT TO", peer="mx\r\n(evil)"))

    [(_, content)] = _notes(depot)
    assert b"\r\nBcc:" not in content
    assert len(parse_dsn(content).recipients) == 1


async def test_an_orcpt_comes_back(depot: Depot) -> None:
    wanted = DSNRequest(recipients={"a@one.example": RecipientDSN(orcpt="rfc822;list+member@here.example")})
    await _fail(depot, dsn=wanted)

    [dsn] = _dsns(depot)
    original = dsn.recipients[0].original_recipient
    assert original is not None
    assert str(original) == "list+member@here.example"
