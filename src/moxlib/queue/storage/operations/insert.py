"""Taking submissions in: all that wait for the same commit together, a statement for many rows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from moxlib.queue import hold
from moxlib.queue.storage.operations.destination import lower_turns
from moxlib.queue.storage.operations.fromids import claim_fromids
from moxlib.queue.storage.operations.idempotency import Receipts, again, remember, reserve
from moxlib.queue.storage.operations.look import HOLD_RULES
from moxlib.queue.storage.operations.rows import dump_extra, hold_rule_of, micros
from moxlib.queue.storage.operations.sending import count_sent
from moxlib.queue.storage.operations.suppression import ANY, Key, in_force
from moxlib.queue.storage.tx import DropFile, Row, Tx
from moxlib.queue.submission import NewRecipient, NewSubmission, Submission
from moxlib.queue.suppression import Suppression
from moxlib.queue.types import HoldRule

__all__ = ["insert_all"]

SUBMISSION = (
    "moxlib_submission",
    [
        "id",
        "account",
        "sender",
        "sender_domain",
        "recipients",
        "queued",
        "message_id",
        "subject",
        "size",
        "prefix",
        "needs_8bit",
        "needs_smtputf8",
        "schedule",
        "extra",
        "envid",
        "ret",
        "is_report",
    ],
)
CONTENT = ("moxlib_content", ["submission", "sha256", "body", "file", "chunks"])
MESSAGE = (
    "moxlib_message",
    [
        "id",
        "submission",
        "destination",
        "recipient",
        "recipient_domain",
        "hold",
        "rules_seen",
        "max_attempts",
        "next_attempt",
        "transport",
        "require_tls",
        "notify",
        "orcpt",
        "base_address",
        "mail_from",
        "fromid",
    ],
)
CONTENT_CHUNK = "INSERT INTO moxlib_chunk (submission, number, data) VALUES (?, ?, ?)"
CHUNK = 256 * 1024  # bytes in a row: few round trips, and little memory


def insert_all(tx: Tx, submissions: Sequence[NewSubmission], *, drop_file: DropFile) -> list[Receipts]:
    """Store submissions; for each one, one receipt per recipient, in order.

    What was submitted before under the same idempotency key gets the receipts of then, and its content is dropped
    (`drop_file` removes a content file).

    Raises:
        IdempotencyConflict: something else was submitted under that key.
        MessageLimitReached, RecipientLimitReached: an account would send more than it may.
    """
    if all(submission.idempotency is None for submission in submissions):
        return _insert_new(tx, submissions)
    repeats = reserve(tx, submissions)
    new = [(position, submission) for position, submission in enumerate(submissions) if position not in repeats]
    made = _insert_new(tx, [submission for _, submission in new])
    remember(tx, list(zip([submission for _, submission in new], made, strict=True)))
    by_position = dict(zip([position for position, _ in new], made, strict=True))
    for position, found in repeats.items():
        by_position[position] = again(by_position[found]) if isinstance(found, int) else found
        file = submissions[position].content.file
        if file is not None:
            tx.after_commit(partial(drop_file, file))
    return [by_position[position] for position in range(len(submissions))]


def _insert_new(tx: Tx, submissions: Sequence[NewSubmission]) -> list[Receipts]:
    if not submissions:
        return []
    count = sum(len(new.recipients) for new in submissions)
    [(next_id,)], found, any_ = tx.query_together(tx.allocation(count), (HOLD_RULES, ()), (ANY, ()))
    rules = tuple(hold_rule_of(row) for row in found)
    suppressed = _suppressed(tx, submissions) if any_ else {}
    rules_seen = max((rule.id for rule in rules), default=0)
    turns: dict[str, int] = {}
    rows: list[Row] = []
    contents: list[Row] = []
    messages: list[Row] = []
    receipts: list[Receipts] = []
    fromids: list[tuple[str, int]] = []
    for new in submissions:
        base_id = next_id
        rows.append(_submission_row(base_id, new))
        contents.append(_content_row(base_id, new))
        due = micros(new.next_attempt)
        given: list[Submission] = []
        for recipient in new.recipients:
            destination = recipient.destination
            held = bool(rules) and _is_held(rules, new, recipient)
            if not held:
                turns[destination] = min(due, turns.get(destination, due))
            messages.append(
                (
                    next_id,
                    base_id,
                    destination,
                    recipient.address,
                    recipient.domain,
                    int(held),
                    rules_seen,
                    new.max_attempts,
                    due,
                    new.transport,
                    new.require_tls.value,
                    recipient.notify,
                    recipient.orcpt,
                    recipient.base_address,
                    recipient.mail_from,
                    recipient.fromid,
                )
            )
            if recipient.fromid:
                fromids.append((recipient.fromid, next_id))
            why = suppressed.get((new.account, recipient.base_address)) if suppressed else None
            given.append(
                Submission(
                    id=next_id,
                    base_id=base_id,
                    recipient=recipient.address,
                    hold=held,
                    suppressed="" if why is None else why.explain(new.queued),
                    fromid=recipient.fromid,
                )
            )
            next_id += 1
        receipts.append(tuple(given))
    if any(new.limits is not None for new in submissions):
        count_sent(tx, [(given[0].base_id, new) for given, new in zip(receipts, submissions, strict=True)])
    tx.insert_rows(*SUBMISSION, rows)
    tx.insert_rows(*CONTENT, contents)
    for (base_id, *_), new in zip(contents, submissions, strict=True):
        for row in _chunk_rows(base_id, new):  # one by one: all together they may not fit into memory
            tx.execute(CONTENT_CHUNK, row)
    tx.insert_rows(*MESSAGE, messages)
    claim_fromids(tx, fromids)
    lower_turns(tx, turns)
    return receipts


def _suppressed(tx: Tx, submissions: Sequence[NewSubmission]) -> Mapping[Key, Suppression]:
    keys = [(new.account, recipient.base_address) for new in submissions for recipient in new.recipients]
    return in_force(tx, keys, at=micros(submissions[0].queued))


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
        new.envid,
        new.ret,
        int(new.is_report),
    )


def _content_row(base_id: int, new: NewSubmission) -> Row:
    content = new.content
    chunks = None if content.spool is None else -(-content.size // CHUNK)
    return (base_id, content.sha256, content.body, content.file, chunks)


def _chunk_rows(base_id: int, new: NewSubmission) -> Iterator[Row]:
    spool = new.content.spool
    if spool is None:
        return
    spool.seek(0)
    number = 0
    while data := spool.read(CHUNK):
        yield (base_id, number, data)
        number += 1


def _is_held(rules: Sequence[HoldRule], new: NewSubmission, recipient: NewRecipient) -> bool:
    match = hold.first_match(
        rules, account=new.account, sender_domain=new.sender_domain, recipient_domain=recipient.domain
    )
    return match is not None
