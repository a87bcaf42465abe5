"""Taking submissions in: all that wait for the same commit together, a statement for many rows."""

from collections.abc import Sequence

from moxlib.queue import hold
from moxlib.queue.storage.operations.destination import find_or_add, lower_turns
from moxlib.queue.storage.operations.look import hold_rules
from moxlib.queue.storage.operations.rows import dump_extra, micros
from moxlib.queue.storage.tx import Row, Tx
from moxlib.queue.types import HoldRule, NewRecipient, NewSubmission, Submission

__all__ = ["insert_all"]

SUBMISSION = """INSERT INTO moxlib_submission (id, account, sender, sender_domain, recipients, queued, message_id,
    subject, size, prefix, needs_8bit, needs_smtputf8, schedule, extra)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
CONTENT = "INSERT INTO moxlib_content (submission, sha256, body, file) VALUES (?, ?, ?, ?)"
MESSAGE = """INSERT INTO moxlib_message (id, submission, destination, recipient, recipient_domain, hold, max_attempts,
    next_attempt, transport, require_tls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def insert_all(tx: Tx, submissions: Sequence[NewSubmission]) -> list[tuple[Submission, ...]]:
    """Store submissions; for each one, one receipt per recipient, in order."""
    next_id = tx.allocate(sum(len(new.recipients) for new in submissions))
    rules = hold_rules(tx)
    names = dict.fromkeys(recipient.destination for new in submissions for recipient in new.recipients)
    destinations = find_or_add(tx, list(names))
    turns: dict[int, int] = {}
    rows: list[Row] = []
    contents: list[Row] = []
    messages: list[Row] = []
    receipts: list[tuple[Submission, ...]] = []
    for new in submissions:
        base_id = next_id
        rows.append(_submission_row(base_id, new))
        content = new.content
        contents.append((base_id, content.sha256, content.body, content.file))
        due = micros(new.next_attempt)
        given: list[Submission] = []
        for recipient in new.recipients:
            destination, turn = destinations[recipient.destination]
            held = bool(rules) and _is_held(rules, new, recipient)
            if not held and (turn is None or turn > due) and turns.get(destination, due) >= due:
                turns[destination] = due
            messages.append(
                (
                    next_id,
                    base_id,
                    destination,
                    recipient.address,
                    recipient.domain,
                    int(held),
                    new.max_attempts,
                    due,
                    new.transport,
                    new.require_tls.value,
                )
            )
            given.append(Submission(id=next_id, base_id=base_id, recipient=recipient.address, hold=held))
            next_id += 1
        receipts.append(tuple(given))
    tx.executemany(SUBMISSION, rows)
    tx.executemany(CONTENT, contents)
    tx.executemany(MESSAGE, messages)
    lower_turns(tx, turns)
    return receipts


def _submission_row(base_id: int, new: NewSubmission) -> Row:
    return (
        base_id,
        new.account,
        new.sender,
        new.sender_domain,
        len(new.recipients),
        micros(new.queued),
        new.message_id,
        new.subject,
        new.content.size,
        new.prefix,
        int(new.needs_8bit),
        int(new.needs_smtputf8),
        new.schedule,
        dump_extra(new.extra),
    )


def _is_held(rules: Sequence[HoldRule], new: NewSubmission, recipient: NewRecipient) -> bool:
    match = hold.first_match(
        rules, account=new.account, sender_domain=new.sender_domain, recipient_domain=recipient.domain
    )
    return match is not None
