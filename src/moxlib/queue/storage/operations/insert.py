"""Taking a submission in."""

from moxlib.queue import hold
from moxlib.queue.storage.operations.destination import destination_id, lower_turn
from moxlib.queue.storage.operations.look import hold_rules
from moxlib.queue.storage.operations.rows import dump_extra, micros
from moxlib.queue.storage.tx import Tx
from moxlib.queue.types import NewSubmission, Submission

__all__ = ["insert"]

SUBMISSION = """INSERT INTO moxlib_submission (id, account, sender, sender_domain, queued, message_id, subject, size,
    prefix, needs_8bit, needs_smtputf8, schedule, extra) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
CONTENT = "INSERT INTO moxlib_content (submission, sha256, body, file) VALUES (?, ?, ?, ?)"
MESSAGE = """INSERT INTO moxlib_message (id, submission, destination, recipient, recipient_domain, hold, max_attempts,
    next_attempt, transport, require_tls) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""


def insert(tx: Tx, new: NewSubmission) -> tuple[Submission, ...]:
    """Store a submission; one receipt per recipient, in order."""
    base_id = tx.allocate(len(new.recipients))
    tx.execute(
        SUBMISSION,
        (
            base_id,
            new.account,
            new.sender,
            new.sender_domain,
            micros(new.queued),
            new.message_id,
            new.subject,
            new.content.size,
            new.prefix,
            int(new.needs_8bit),
            int(new.needs_smtputf8),
            new.schedule,
            dump_extra(new.extra),
        ),
    )
    tx.execute(CONTENT, (base_id, new.content.sha256, new.content.body, new.content.file))
    return _insert_messages(tx, base_id, new)


def _insert_messages(tx: Tx, base_id: int, new: NewSubmission) -> tuple[Submission, ...]:
    rules = hold_rules(tx)
    next_attempt = micros(new.next_attempt)
    destinations: dict[str, int] = {}
    waiting: dict[int, None] = {}
    rows = []
    receipts = []
    for offset, recipient in enumerate(new.recipients):
        held = bool(rules) and (
            hold.first_match(
                rules,
                account=new.account,
                sender_domain=new.sender_domain,
                recipient_domain=recipient.domain,
            )
            is not None
        )
        destination = destinations.get(recipient.destination)
        if destination is None:
            destination = destinations[recipient.destination] = destination_id(tx, recipient.destination)
        if not held:
            waiting[destination] = None
        id_ = base_id + offset
        rows.append(
            (
                id_,
                base_id,
                destination,
                recipient.address,
                recipient.domain,
                int(held),
                new.max_attempts,
                next_attempt,
                new.transport,
                new.require_tls.value,
            )
        )
        receipts.append(Submission(id=id_, base_id=base_id, recipient=recipient.address, hold=held))
    tx.executemany(MESSAGE, rows)
    for destination in waiting:
        lower_turn(tx, destination, next_attempt)
    return tuple(receipts)
