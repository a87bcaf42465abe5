"""Mail that comes in: which messages it is about, what it adds to them, and what follows from it."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from tests.unit.queue.hook_desk import hook_config

from moxlib.dsn import DSN, MTA, Action, RecipientStatus, Returned, TypedAddress, compose
from moxlib.errors import InputError
from moxlib.message import read_message
from moxlib.queue import (
    AccountConfig,
    Deferred,
    Delivered,
    DSNRequest,
    EventType,
    Failed,
    FeedbackSource,
    FromIDConfig,
    IncomingEnvelope,
    NotFeedback,
    Outcome,
    Queue,
    RecipientDSN,
    RecordedFeedback,
    ReplyClass,
    Submission,
    SuppressionPolicy,
)
from moxlib.queue.storage.base import MAX_FEEDBACK
from moxlib.queue.suppression import Cause, Origin
from moxlib.queue.unsubscribe import ExpiredToken, ForgedToken, Unsubscribe, UnsubscribeTokens
from moxlib.smtp import EnhancedCode
from moxlib.webhook import Incoming, decode

if TYPE_CHECKING:
    from tests.unit.queue.conftest import Depot

LOGIN = "login@here.example"
FROMIDS = FromIDConfig.of([LOGIN], {"here.example": ["+", "-"]})
DAY = timedelta(days=1)
NO_MAILBOX = "550 5.1.1 no such user"


def status(
    recipient: str,
    action: Action = Action.FAILED,
    reply: str = NO_MAILBOX,
    *,
    original: str = "",
    code: EnhancedCode | None = None,
) -> RecipientStatus:
    return RecipientStatus(
        final_recipient=TypedAddress(address=recipient),
        action=action,
        status=code,
        original_recipient=TypedAddress(address=original) if original else None,
        diagnostic_type="smtp" if reply else "",
        diagnostic_text=reply,
    )


def dsn(*statuses: RecipientStatus, envid: str = "", returned: str = "", number: int = 1) -> bytes:
    """Return a notification as the receiver's server writes it."""
    header = f"Message-ID: {returned}\r\nSubject: hello\r\n".encode() if returned else b""
    notification = DSN(
        reporting_mta=MTA(name="mx.one.example"),
        recipients=statuses,
        subject="Undelivered",
        from_address="postmaster@one.example",
        to_address="sender@here.example",
        message_id=f"<dsn{number}@mx.one.example>",
        original_envelope_id=envid,
        returned=Returned(content=header, whole=False) if returned else None,
    )
    return compose(notification, smtputf8=False, boundary="b")


def to(*recipients: str, mail_from: str = "") -> IncomingEnvelope:
    return IncomingEnvelope(recipients=recipients or ("sender@here.example",), mail_from=mail_from)


def back(receipt: Submission, separator: str = "+") -> IncomingEnvelope:
    """Return how mail comes in that was sent to a message's own MAIL FROM."""
    return to(f"sender{separator}{receipt.fromid}@here.example")


async def recorded(queue: Queue, mail: bytes, envelope: IncomingEnvelope, **options: Any) -> RecordedFeedback:
    found = await queue.incoming(mail, envelope, **options)
    assert isinstance(found, RecordedFeedback), found
    return found


class Told(NamedTuple):
    message: int
    type: str
    code: int
    enhanced: str
    dsn: bool
    suppressing: bool


async def told(queue: Queue, after: int = 0) -> list[Told]:
    events = await queue.list_events(after=after)
    return [Told(e.message, e.type.value, e.code, e.enhanced, e.dsn, e.suppressing) for e in events]


async def test_a_bounce_to_a_fromid_is_matched_told_and_suppresses(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        one, two = await depot.submit(queue, "a+tag@one.example", "b@one.example", login=LOGIN)
        await depot.empty(queue)
        found = await recorded(queue, dsn(status("a+tag@one.example")), back(one))
        assert (found.by, found.unmatched) == ("fromid", ())
        [result] = found.recorded
        assert (result.message, result.recipient, result.certain, result.recorded) == (
            one.id,
            "a+tag@one.example",
            True,
            True,
        )
        assert await told(queue, 2) == [Told(one.id, "failed", 550, "5.1.1", True, True)]
        retired = await depot.retired(queue, one.id)
        assert retired.event is EventType.DELIVERED, "it did leave; what came later stands beside it"
        [kept] = retired.feedback
        assert kept == result.result
        assert (kept.event, kept.source, kept.code, kept.enhanced, kept.text, kept.reporter, kept.report_id) == (
            EventType.FAILED,
            FeedbackSource.DSN,
            550,
            "5.1.1",
            NO_MAILBOX,
            "mx.one.example",
            "<dsn1@mx.one.example>",
        )
        assert kept.at == depot.clock.now()
        assert kept.reply_class is ReplyClass.HARD
        made = await queue.suppression("a@one.example")
        assert made is not None
        assert made.evidence is not None
        assert (made.base_address, made.cause, made.evidence.origin, made.evidence.message) == (
            "a@one.example",
            Cause.REPLY_CODE,
            Origin.DSN,
            one.id,
        )
        assert (made.evidence.attempt, made.evidence.dsn_message_id) == (None, "<dsn1@mx.one.example>")
        assert (await depot.retired(queue, two.id)).feedback == ()


async def test_the_same_dsn_counts_once(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        mail = dsn(status("a@one.example"))
        first = await recorded(queue, mail, back(receipt))
        await queue.unsuppress("a@one.example")
        again = await recorded(queue, b"Received: from x by y; now\r\n" + mail, back(receipt))
        assert [(r.recorded, r.result.suppressing) for r in (*first.recorded, *again.recorded)] == [
            (True, True),
            (False, False),
        ]
        assert len((await depot.retired(queue, receipt.id)).feedback) == 1
        assert len(await told(queue)) == 2
        assert await queue.suppression("a@one.example") is None
        other = await recorded(queue, dsn(status("a@one.example"), number=2), back(receipt))
        assert [r.recorded for r in other.recorded] == [True]


@pytest.mark.parametrize("by", ["envid", "message-id"])
async def test_each_recipient_of_a_dsn_counts_on_its_own(depot: "Depot", by: str) -> None:
    async with depot.queue() as queue:
        names = ["a@one.example", "b@one.example", "c@one.example"]
        one, two, three = await depot.submit(queue, *names, dsn=DSNRequest(envid="QQ314"))
        await depot.empty(queue)
        mail = dsn(
            status("C@ONE.example", Action.DELAYED, "451 4.7.1 greylisted"),
            status("somebody@else.example"),
            status("a@one.example"),
            envid="QQ314" if by == "envid" else "",
            returned="<1@here.example>",
        )
        found = await recorded(queue, mail, to())
        assert found.by == by
        assert [(r.message, r.result.event) for r in found.recorded] == [(one.id, "failed"), (three.id, "delayed")]
        assert [s.address for s in found.unmatched] == ["somebody@else.example"]
        assert await told(queue, 3) == [
            Told(one.id, "failed", 550, "5.1.1", True, True),
            Told(three.id, "delayed", 451, "4.7.1", True, False),
        ]
        assert (await depot.retired(queue, two.id)).feedback == ()
        assert await queue.suppression("somebody@else.example") is None


@pytest.mark.parametrize(
    ("said", "by"),
    [
        ("order+2B17", "envid"),  # Exim returns it as it came, in xtext (RFC 3461 4)
        ("order+2b17", "message-id"),  # which has no lower-case digits
        ("order+17", "envid"),
        ("order+2B17+00", "message-id"),
        ("order+2B17+FF", "message-id"),
        ("order+2B2B17", "message-id"),
    ],
)
async def test_an_envelope_identifier_is_also_known_in_xtext(depot: "Depot", said: str, by: str) -> None:
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue, dsn=DSNRequest(envid="order+17"))
        found = await recorded(queue, dsn(status("a@one.example"), envid=said, returned="<1@here.example>"), to())
        assert (found.by, [r.message for r in found.recorded]) == (by, [receipt.id])


async def test_an_envelope_identifier_is_taken_as_it_stands_first(depot: "Depot") -> None:
    """One that looks like xtext is none if a message has it; then what it stands for is another's."""
    async with depot.queue() as queue:
        for envid in ("order+17", "order+2B17"):
            await depot.submit(queue, dsn=DSNRequest(envid=envid))
        for said, at in (("order+17", 0), ("order+2B17", 1), ("order+2B2B17", 1)):
            found = await recorded(queue, dsn(status("a@one.example"), envid=said), to())
            assert [(found.by, r.message) for r in found.recorded] == [("envid", at + 1)]


async def test_a_bounce_of_where_it_was_forwarded_suppresses_nobody(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        found = await recorded(queue, dsn(status("forwarded@else.example")), back(receipt))
        [result] = found.recorded
        assert (result.certain, result.result.event, result.result.recipient) == (
            False,
            "failed",
            "forwarded@else.example",
        )
        assert await told(queue, 1) == [Told(receipt.id, "failed", 550, "5.1.1", True, False)]
        assert (await queue.list_suppressions()).items == ()
        mail = dsn(status("forwarded@else.example", original="a@one.example"), number=2)
        [result] = (await recorded(queue, mail, back(receipt))).recorded
        assert (result.certain, result.result.suppressing) == (True, True)


async def test_a_stranger_in_a_dsn_on_several_messages_is_nobody(depot: "Depot") -> None:
    async with depot.queue() as queue:
        one, two = await depot.submit(queue, "a@one.example", "b@one.example", dsn=DSNRequest(envid="e"))
        await depot.empty(queue)
        mail = dsn(status("forwarded@else.example"), envid="e", returned="<1@here.example>")
        assert isinstance(await queue.incoming(mail, to()), NotFeedback)
        for receipt in (one, two):
            assert (await depot.retired(queue, receipt.id)).feedback == ()
        [alone] = await depot.submit(queue, dsn=DSNRequest(envid="f"))
        await depot.empty(queue)
        [result] = (await recorded(queue, dsn(status("forwarded@else.example"), envid="f"), to())).recorded
        assert (result.message, result.certain) == (alone.id, False)


async def test_what_the_sender_called_the_recipient_matches_too(depot: "Depot") -> None:
    async with depot.queue() as queue:
        wish = DSNRequest(envid="e", recipients={"a@one.example": RecipientDSN(orcpt="rfc822;list@here.example")})
        [one, two] = await depot.submit(queue, "a@one.example", "b@one.example", dsn=wish)
        mail = dsn(status("x@inside.example", original="list@here.example"), envid="e")
        assert [r.message for r in (await recorded(queue, mail, to())).recorded] == [one.id]
        assert (await depot.message(queue, two.id)).feedback == ()


async def test_a_dsn_before_the_retirement_counts_and_changes_no_schedule(depot: "Depot") -> None:
    depot.sink.gate.clear()
    depot.sink.answers["a@one.example"] = [Deferred(text="later", code=451), Delivered(text="ok")]
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        async with queue.worker():
            await depot.sink.began(1)
            await recorded(queue, dsn(status("a@one.example", Action.RELAYED, "250 2.0.0 ok")), back(receipt))
            depot.sink.gate.set()
            await depot.ear.heard("attempted", 1)
        message = await depot.message(queue, receipt.id)
        assert [result.event for result in message.feedback] == ["relayed"]
        assert (message.attempts, [result.kind.value for result in message.results]) == (1, ["deferred"])
        await recorded(queue, dsn(status("a@one.example"), number=2), back(receipt))
        await queue.unsuppress("a@one.example")
        await depot.empty(queue)
        retired = await depot.retired(queue, receipt.id)
        assert [result.kind.value for result in retired.results] == ["deferred", "delivered"]
        assert [result.event for result in retired.feedback] == ["relayed", "failed"]
        again = await recorded(queue, dsn(status("a@one.example"), number=2), back(receipt))
        assert [r.recorded for r in again.recorded] == [False], "also after the message has moved"
        assert [event.type for event in await queue.list_events()] == ["relayed", "delayed", "failed", "delivered"]


@pytest.mark.parametrize(
    ("action", "reply", "event", "code"),
    [
        (Action.DELAYED, "451 4.7.1 later", "delayed", 451),
        (Action.DELIVERED, "250 2.0.0 ok", "delivered", 0),
        (Action.RELAYED, "", "relayed", 0),
        (Action.EXPANDED, "250 2.0.0 list", "expanded", 250),
        (Action.EXPANDED, "554 5.0.0 odd", "expanded", 0),
        (Action.FAILED, "", "failed", 500),
    ],
)
async def test_each_action_has_its_event(depot: "Depot", action: Action, reply: str, event: str, code: int) -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        await recorded(queue, dsn(status("a@one.example", action, reply)), back(receipt, "+"))
        [last] = await told(queue, 1)
        assert (last.type, last.code, last.dsn, last.suppressing) == (event, code, True, False)


async def test_every_configured_separator_is_tried(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        assert (await recorded(queue, dsn(status("a@one.example")), back(receipt, "-"))).by == "fromid"


QMAIL = b"""From: MAILER-DAEMON@one.example\r
To: sender@here.example\r
Subject: failure notice\r
Message-ID: <q@one.example>\r
\r
Hi. This is the qmail-send program at one.example.\r
I'm afraid I wasn't able to deliver your message to the following addresses.\r
This is a permanent error; I've given up. Sorry it didn't work out.\r
\r
<a@one.example>:\r
Sorry, no mailbox here by that name. (#5.1.1)\r
\r
--- Below this line is a copy of the message.\r
\r
Return-Path: <sender@here.example>\r
Message-ID: <1@here.example>\r
Subject: hello\r
\r
hello\r
"""


async def test_a_plain_bounce_is_matched_by_the_message_it_returns(depot: "Depot") -> None:
    async with depot.queue() as queue:
        [receipt] = await depot.submit(queue)
        await depot.empty(queue)
        found = await recorded(queue, QMAIL, to())
        [result] = found.recorded
        assert (found.by, result.message, result.result.source, result.result.enhanced) == (
            "message-id",
            receipt.id,
            FeedbackSource.BOUNCE,
            "5.1.1",
        )


def complaint(recipient: str = "a@one.example", mail_from: str = "", kind: str = "abuse") -> bytes:
    rcpt = f"Original-Rcpt-To: {recipient}\r\n" if recipient else ""
    sender = f"Original-Mail-From: <{mail_from}>\r\n" if mail_from else ""
    return (
        "From: fbl@provider.example\r\nTo: fbl@here.example\r\nSubject: complaint\r\n"
        "Message-ID: <c@provider.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nA complaint.\r\n"
        f"--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: {kind}\r\n"
        "User-Agent: P/1\r\nVersion: 1\r\n"
        f"{sender}{rcpt}\r\n"
        "--b\r\nContent-Type: message/rfc822\r\n\r\n"
        "Message-ID: <1@here.example>\r\nSubject: hello\r\n\r\nhello\r\n--b--\r\n"
    ).encode()


async def test_a_complaint_is_told_and_suppresses_where_that_is_wanted(depot: "Depot") -> None:
    accounts = {"strict": AccountConfig(suppression=SuppressionPolicy(complaints=True))}
    async with depot.queue(fromids=FROMIDS, accounts=accounts) as queue:
        [mild] = await depot.submit(queue, login=LOGIN)
        [strict] = await depot.submit(queue, login=LOGIN, account="strict")
        await depot.empty(queue)
        for receipt, suppressing in ((mild, False), (strict, True)):
            mail = complaint("redacted@one.example", f"sender+{receipt.fromid}@here.example")
            found = await recorded(queue, mail, to("fbl@here.example", mail_from="fbl@provider.example"))
            [result] = found.recorded
            assert (found.by, result.message, result.certain, result.result.event) == (
                "fromid",
                receipt.id,
                True,
                "complained",
            )
            assert result.result.suppressing == suppressing
        made = await queue.suppression("a@one.example", account="strict")
        assert made is not None
        assert made.cause is Cause.COMPLAINT
        assert [t.dsn for t in await told(queue, 2)] == [False, False]


async def test_what_is_no_complaint_is_none(depot: "Depot") -> None:
    async with depot.queue() as queue:
        await depot.submit(queue)
        assert isinstance(await queue.incoming(complaint(kind="not-spam"), to()), NotFeedback)
        assert (await recorded(queue, complaint(""), to())).by == "message-id"


VACATION = (
    b"From: a@one.example\r\nTo: sender@here.example\r\nSubject: away\r\nAuto-Submitted: auto-replied\r\n"
    b"Message-ID: <v@one.example>\r\n\r\nI am away.\r\n"
)


async def test_other_mail_to_a_fromid_is_unrecognized(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        found = await recorded(queue, VACATION, replace(back(receipt), mail_from="a@one.example"))
        [result] = found.recorded
        assert (result.result.event, result.result.source) == (EventType.UNRECOGNIZED, FeedbackSource.OTHER)
        assert await told(queue, 1) == [Told(receipt.id, "unrecognized", 0, "", False, False)]
        broken = dsn(status("a@one.example")).replace(b"Action: failed", b"Action: exploded")
        [result] = (await recorded(queue, broken, back(receipt))).recorded
        assert result.result.suppressing is False


async def test_bounces_count_toward_failures_in_a_row(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        for number in (1, 2, 3):
            [receipt] = await depot.submit(queue, login=LOGIN)
            await depot.empty(queue)
            mail = dsn(status("a@one.example", reply="550 5.2.2 mailbox full"), number=number)
            [result] = (await recorded(queue, mail, back(receipt))).recorded
            assert result.result.suppressing == (number == 3), number
        made = await queue.suppression("a@one.example")
        assert made is not None
        assert made.evidence is not None
        assert (made.cause, made.evidence.failures) == (Cause.IN_A_ROW, 3)


async def test_a_delivery_told_by_a_dsn_may_end_a_suppression(depot: "Depot") -> None:
    policy = replace(SuppressionPolicy(), remove_on_success=True)
    async with depot.queue(fromids=FROMIDS, suppression=policy) as queue:
        one, two = [(await depot.submit(queue, login=LOGIN))[0] for _ in range(2)]
        await depot.empty(queue)
        await recorded(queue, dsn(status("a@one.example")), back(one))
        assert await queue.suppression("a@one.example") is not None
        await depot.clock.advance(DAY)
        mail = dsn(status("a@one.example", Action.DELIVERED, ""), number=2)
        await recorded(queue, mail, back(two))
        assert await queue.suppression("a@one.example") is None


async def test_an_account_hears_of_its_own_messages_only(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN, account="one")
        mail = dsn(status("a@one.example"))
        assert isinstance(await queue.incoming(mail, back(receipt), account="two"), NotFeedback)
        assert (await recorded(queue, mail, back(receipt), account="one")).by == "fromid"


async def test_a_message_is_told_only_so_much(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        for number in range(MAX_FEEDBACK + 1):
            mail = dsn(status("a@one.example", Action.DELAYED, ""), number=number)
            [result] = (await recorded(queue, mail, back(receipt))).recorded
            assert result.recorded == (number < MAX_FEEDBACK)
        assert len((await depot.message(queue, receipt.id)).feedback) == MAX_FEEDBACK


async def test_what_the_history_hides_still_hears_of_feedback_until_it_is_forgotten(depot: "Depot") -> None:
    storage = depot.make_storage()
    settings: dict[str, Any] = {"fromids": FROMIDS, "keep_history": timedelta(0), "keep_feedback": 2 * DAY}
    async with depot.queue(storage=storage, **settings) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        assert await queue.get_retired(receipt.id) is None
        [result] = (await recorded(queue, dsn(status("a@one.example")), back(receipt))).recorded
        assert result.result.suppressing
        await depot.clock.advance(3 * DAY)
        await storage.purge(now=depot.clock.now(), events_before=depot.clock.now() - DAY)
        assert isinstance(await queue.incoming(dsn(status("a@one.example")), back(receipt)), NotFeedback)


async def test_mail_that_is_no_feedback_is_the_hosts(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        await depot.submit(queue, login=LOGIN)
        plain = b"From: x@one.example\r\nSubject: hi\r\n\r\nhi\r\n"
        assert await queue.incoming(plain, to(mail_from="x@one.example")) == NotFeedback(automated=False)
        assert await queue.incoming(plain, to()) == NotFeedback(automated=True)
        assert await queue.incoming(VACATION, to(mail_from="x@one.example")) == NotFeedback(automated=True)
        assert await queue.incoming(b"", to("x@[127.0.0.1]")) == NotFeedback(automated=True)
        assert await told(queue) == []


async def test_webhooks_tell_of_addresses_that_no_server_takes(depot: "Depot") -> None:
    """A domain that ends in a number can stand in a header, but nothing can be sent to it."""
    mail = "From: ü@host.123\r\nTo: møx@xn--mnchen-3ya.example, x@xn--mnchen-3ya.example\r\n\r\nhi\r\n".encode()
    async with depot.queue(incoming_webhook=hook_config()) as queue:
        assert await queue.incoming(mail, to()) == NotFeedback(automated=True, webhooks=1)
        [hook] = (await queue.list_webhooks()).items
        payload = decode(hook.payload)
        assert isinstance(payload, Incoming)
        assert [each.address for each in (*payload.from_, *payload.to)] == [
            "ü@host.123",
            "møx@münchen.example",
            "x@xn--mnchen-3ya.example",
        ]


async def test_a_message_may_lie_in_a_file_or_be_read_already(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        one, two = [(await depot.submit(queue, login=LOGIN))[0] for _ in range(2)]
        path = depot.directory / "bounce.eml"
        path.write_bytes(dsn(status("a@one.example")))
        with path.open("rb") as file:
            assert isinstance(await queue.incoming(file, back(one)), RecordedFeedback)
        part = read_message(dsn(status("a@one.example"), number=2))
        assert isinstance(await queue.incoming(part, back(two)), RecordedFeedback)
        long = dsn(status("a@one.example"), number=3) + b"x" * 100_000
        assert isinstance(await queue.incoming(long, back(two)), RecordedFeedback)


async def test_texts_of_a_stranger_are_kept_as_texts(depot: "Depot") -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        mail = dsn(status("a@one.example", reply="550 5.1.1 REPLY"))
        mail = mail.replace(b"REPLY", b"nul\0 \xff\xfe " + "ünï".encode() + b"x" * 5000)
        [result] = (await recorded(queue, mail, back(receipt))).recorded
        [kept] = (await depot.message(queue, receipt.id)).feedback
        assert kept == result.result
        assert len(kept.text) <= 2000
        assert "\0" not in kept.text


def test_an_envelope_is_checked() -> None:
    wrong_ones: tuple[dict[str, Any], ...] = (
        {"recipients": ()},
        {"recipients": "a@one.example"},
        {"recipients": ("nobody at home",)},
        {"recipients": ("a@one.example",), "mail_from": "<>>"},
    )
    for wrong in wrong_ones:
        with pytest.raises(InputError):
            IncomingEnvelope(**wrong)


@pytest.mark.parametrize("outcome", [Failed(text="no", code=550, enhanced="5.7.1", command="RCPT TO"), Delivered()])
async def test_a_failure_and_its_bounce_do_not_count_twice(depot: "Depot", outcome: Outcome) -> None:
    depot.sink.answer = lambda _: outcome
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        await depot.empty(queue)
        mail = dsn(status("a@one.example", reply="550 5.2.2 full"))
        [result] = (await recorded(queue, mail, back(receipt))).recorded
        assert not result.result.suppressing


async def test_a_token_unsubscribes_once(depot: "Depot") -> None:
    tokens = UnsubscribeTokens(keys=(b"k" * 32,))
    claim = Unsubscribe(account="shop", recipient="a+tag@one.example", tag="news\n")
    async with depot.queue() as queue:
        for _ in range(2):
            made = await queue.unsubscribe(tokens.sign(claim), tokens=tokens)
            assert (made.account, made.base_address, made.cause) == ("shop", "a@one.example", Cause.UNSUBSCRIBED)
            assert made.reason == "unsubscribed from news\\n"
        assert len((await queue.list_suppressions("shop")).items) == 1
        old = tokens.sign(claim, expires=depot.clock.now() - DAY)
        await queue.unsubscribe(old, tokens=tokens)
        with pytest.raises(ExpiredToken):
            await queue.unsubscribe(old, tokens=tokens, even_expired=False)
        with pytest.raises(ForgedToken):
            await queue.unsubscribe(old, tokens=UnsubscribeTokens(keys=(b"x" * 32,)))


# What the vectors mark as mox's mistakes (area webhook_payloads), and what is done here.


@pytest.mark.parametrize(
    ("fields", "event", "code", "enhanced", "suppressing"),
    [
        ("Action: failed\r\nStatus: 5.7.1 (policy)", "failed", 500, "5.7.1", False),
        ("Action: failed\r\nStatus: xyz", "failed", 0, "", False),
        ("Action: failed\r\nStatus: 2.0.0", "failed", 0, "", False),
        ("Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 250 2.0.0 ok", "failed", 500, "5.1.1", True),
        ("Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 451 4.7.1 grey", "failed", 451, "4.7.1", False),
        ("Action: delivered\r\nStatus: 5.0.0\r\nDiagnostic-Code: smtp; 554 5.0.0 error", "delivered", 0, "", False),
        (
            "Last-Attempt-Date: Mon, 1 Jan 2024 10:00:00 +0000\r\nAction: failed\r\nStatus: 5.1.1",
            "failed",
            500,
            "5.1.1",
            True,
        ),
    ],
)
async def test_fields_that_do_not_agree(
    depot: "Depot", fields: str, event: str, code: int, enhanced: str, suppressing: bool
) -> None:
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        mail = (
            "From: <d@one.example>\r\nMessage-ID: <x@one.example>\r\n"
            "Content-Type: multipart/report; report-type=delivery-status; boundary=x\r\n\r\n--x\r\n\r\ntext\r\n--x\r\n"
            "Content-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; one.example\r\n\r\n"
            f"Final-Recipient: rfc822; a@one.example\r\n{fields}\r\n\r\n--x--\r\n"
        )
        await recorded(queue, mail.encode(), back(receipt))
        [last] = await told(queue)
        assert (last.type, last.code, last.enhanced, last.suppressing) == (event, code, enhanced, suppressing)


async def test_a_report_that_is_cut_off_or_makes_no_sense_is_unrecognized(depot: "Depot") -> None:
    whole = dsn(status("a@one.example"))
    cut = whole[: whole.index(b"Status:") + 20]
    senseless = whole.replace(b"Action: failed", b"Action: exploded")
    async with depot.queue(fromids=FROMIDS) as queue:
        [receipt] = await depot.submit(queue, login=LOGIN)
        for mail in (cut, senseless):
            await recorded(queue, mail, back(receipt))
        assert [(t.type, t.dsn, t.suppressing) for t in await told(queue)] == [
            ("unrecognized", False, False),
            ("unrecognized", True, False),
        ]
