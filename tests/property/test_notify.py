"""Whatever a peer or a message says: what tells a sender of it has the fields of a notification, and no others."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from moxlib.dsn import Action, Returned, parse_dsn
from moxlib.queue import AttemptResult, EventType, Message, QueueConfig, ResultKind
from moxlib.queue.notify import Notice, notice_of, notification
from moxlib.queue.notify.report import head_of, is_report
from moxlib.queue.storage.settlement import Retire, Retry
from moxlib.queue.submission import NewSubmission
from moxlib.smtp import parse_path
from moxlib.testing import FakeClock

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CONFIG = QueueConfig(hostname="out.example")
PREFIX = b"Auto-Submitted: auto-replied\r\n"
HEADER = {"auto-submitted", "from", "to", "subject", "message-id", "references", "date", "mime-version", "content-type"}

# Storage keeps neither NUL nor surrogates; anything else may come from a peer, from a caller or out of a message.
pieces = st.sampled_from(
    ["\r\n", "\n", "\r", "\r\n\r\n", "\n.\n", "Bcc: x@evil.example", "Action: delivered", "--", "\x1b[31m", "\x7f",
     "\x85", "\u2028", "\u202e", "=?utf-8?q?=0d=0aBcc:_x?=", "(", ")", '"', "\\", ";", "<", ">", "é" * 900, "x" * 1500,
     " " * 80]
)  # fmt: skip
texts = st.lists(pieces | st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).map("".join)
kinds = st.sampled_from([kind for kind in ResultKind if kind is not ResultKind.QUARANTINED])
codes = st.sampled_from(["", "5.1.1", "4.2.2", "2.0.0", "5.999.999", "9.9.9", "5.1.1\r\nAction: delivered", "5.07.1"])
results = st.builds(
    AttemptResult,
    attempt=st.integers(0, 9),
    kind=kinds,
    started=st.just(NOON),
    code=st.integers(0, 999),
    enhanced=codes | texts,
    text=texts,
    peer=texts | st.just("mx.one.example"),
    command=st.sampled_from(["", "RCPT TO", "end of data"]) | texts,
)
addresses = st.sampled_from(["a@one.example", "jösé@bücher.example", '"a b(c)"@one.example', '"a@b"@one.example'])
actions = st.sampled_from([Action.FAILED, Action.DELAYED, Action.RELAYED, Action.DELIVERED])
contents = st.none() | st.binary(max_size=200) | texts.map(str.encode)


def message_of(**fields: Any) -> Message:
    usual: dict[str, Any] = {
        "id": 7,
        "base_id": 7,
        "account": "shop",
        "sender": "sender@here.example",
        "sender_domain": "here.example",
        "recipient": "a@one.example",
        "recipient_domain": "one.example",
        "destination": "one.example",
        "queued": NOON,
        "hold": False,
        "attempts": 1,
        "max_attempts": 8,
        "next_attempt": NOON,
        "last_attempt": None,
        "in_flight": True,
        "results": (),
        "size": 100,
    }
    return Message(**(usual | fields))


def told(notice: Notice, content: bytes | None) -> NewSubmission | None:
    returned = None if content is None else Returned(content=head_of(content, 1000), whole=False)
    return notification(notice, returned, config=CONFIG, clock=FakeClock(), token=lambda: "token")


@given(
    action=actions,
    tried=st.lists(results, min_size=1, max_size=20).map(tuple),
    sender=addresses,
    recipient=addresses,
    said=st.tuples(texts, texts, texts, texts),
    utf8=st.booleans(),
    content=contents,
)
def test_it_has_the_fields_of_a_notification_and_no_others(
    action: Action,
    tried: tuple[AttemptResult, ...],
    sender: str,
    recipient: str,
    said: tuple[str, str, str, str],
    utf8: bool,
    content: bytes | None,
) -> None:
    subject, message_id, envid, orcpt = said
    message = message_of(
        sender=sender,
        recipient=recipient,
        subject=subject,
        message_id=message_id,
        envid=envid,
        orcpt=f"rfc822;{orcpt}",
        needs_smtputf8=utf8 or not (sender + recipient).isascii(),
    )
    made = told(Notice(action=action, message=message, results=tried), content)

    if content is not None and is_report(head_of(content, 1000)):
        assert made is None
        return
    assert made is not None
    assert made.sender == ""
    body = made.content.body
    assert body is not None
    assert re.search(rb"(?<!\r)\n|\r(?!\n)|\0", body) is None, "lines that SMTP carries"
    header, _, _ = (made.prefix + body).partition(b"\r\n\r\n")
    names = [line.partition(b":")[0].decode().lower() for line in header.split(b"\r\n") if line[:1] not in b" \t"]
    assert set(names) <= HEADER
    assert len(names) == len(set(names))
    assert message_from_bytes(made.prefix + body, policy=default).get_content_type() == "multipart/report"
    dsn = parse_dsn(made.prefix + body)
    [status] = dsn.recipients
    assert status.action is action
    assert status.status is not None
    assert status.status.class_ == {Action.FAILED: 5, Action.DELAYED: 4}.get(action, 2) or tried[-1].enhanced
    assert dsn.to_address == str(parse_path(sender))
    assert len(body) < 60_000, "bounded, whatever was said"


@given(
    sender=st.sampled_from(["", "sender@here.example"]),
    is_report_=st.booleans(),
    notify=st.sampled_from(["", "NEVER", "SUCCESS", "FAILURE", "DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY"]),
    event=st.sampled_from([EventType.FAILED, EventType.SUPPRESSED, EventType.DELIVERED, EventType.CANCELED]),
    success=st.sampled_from([None, Action.RELAYED, Action.DELIVERED]),
    tried=st.lists(results, min_size=1, max_size=9).map(tuple),
    late=st.booleans(),
    hold=st.booleans(),
    hours=st.sampled_from([0, 1, 2, 9]),
)
def test_what_nobody_asked_for_and_what_none_may_answer_is_told_never(
    sender: str,
    is_report_: bool,
    notify: str,
    event: EventType,
    success: Action | None,
    tried: tuple[AttemptResult, ...],
    late: bool,
    hold: bool,
    hours: int,
) -> None:
    message = message_of(sender=sender, is_report=is_report_, notify=notify, results=tried[:-1], attempts=len(tried))
    asked = notify.split(",") if notify else ["FAILURE", "DELAY"]
    if late:
        again = NOON + timedelta(hours=1)
        last = replace(tried[-1], kind=ResultKind.DEFERRED, started=NOON + timedelta(hours=hours))
        retry = Retry(message=message, result=last, next_attempt=again, delayed=True, hold=hold)
        notice = notice_of(retry, CONFIG)
    else:
        settled = Retire(message=message, result=tried[-1], event=event, keep_until=NOON, success=success)
        notice = notice_of(settled, CONFIG)
    if notice is None:
        return
    assert sender
    assert not is_report_
    names = {Action.FAILED: "FAILURE", Action.DELAYED: "DELAY", Action.RELAYED: "SUCCESS", Action.DELIVERED: "SUCCESS"}
    assert names[notice.action] in asked
    assert event is not EventType.CANCELED or late
    assert not (late and hold), "it waits for an operator, and not on its way"
    assert not late or hours >= 2, "1h45m at least"
