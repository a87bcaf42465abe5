"""Claiming due messages: fair between destinations, at a cost that does not grow with the queue.

Destinations whose turn has come are served in order of turn, a few messages each, through an index that holds only what
can be claimed. Serving a destination moves its turn to when its next message is due, but to now at the earliest: so a
backlog of a million messages for one domain goes to the end of the line after each helping.

A claim holds the rows of the destinations it serves, and passes over those that another claim holds: so slots and
rates are counted by one claim at a time.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from moxlib.queue import hold, limits
from moxlib.queue.errors import StorageDamaged
from moxlib.queue.limits import Rate
from moxlib.queue.storage.claims import CLAIM_BODY_MAX, Claim, ClaimRequest, ClaimResult
from moxlib.queue.storage.operations.destination import fold_wakes
from moxlib.queue.storage.operations.look import hold_rules
from moxlib.queue.storage.operations.rows import MESSAGE_COLUMNS, MESSAGE_TABLES, message_of, micros, moment
from moxlib.queue.storage.operations.suppression import ANY, in_force
from moxlib.queue.storage.operations.workers import count_workers, free_slots, lock_worker
from moxlib.queue.storage.tx import Row, Tx, Value, in_lists
from moxlib.queue.submission import StoredContent
from moxlib.queue.types import HoldRule, Message

__all__ = ["claim", "take_connection"]

TURNS = """SELECT name, messages_full_at FROM moxlib_destination WHERE turn <= ? ORDER BY turn, name LIMIT ?
    /*pg FOR UPDATE SKIP LOCKED */"""
NEXT_TURN = "SELECT name, turn FROM moxlib_destination WHERE turn IS NOT NULL ORDER BY turn, name LIMIT ?"
SLOTS = "SELECT destination, worker, slots FROM moxlib_slot WHERE destination IN ({names})"
SET_SLOTS = """INSERT INTO moxlib_slot (destination, worker, slots) VALUES (?, ?, ?)
    ON CONFLICT (destination, worker) DO UPDATE SET slots = excluded.slots"""
DUE = """SELECT id FROM moxlib_message WHERE destination = ? AND owner IS NULL AND hold = 0 AND next_attempt <= ?
    ORDER BY next_attempt, id LIMIT ? /*pg FOR UPDATE SKIP LOCKED */"""
JOURNAL = "UPDATE moxlib_message SET owner = ?, attempts = attempts + 1, claimed_at = ? WHERE id IN ({ids})"
EARLIEST = """SELECT next_attempt FROM moxlib_message WHERE destination = ? AND owner IS NULL AND hold = 0
    ORDER BY next_attempt LIMIT 1"""
SET_TURN = "UPDATE moxlib_destination SET turn = ?, messages_full_at = ? WHERE name = ?"
CLAIMED = f"""SELECT {MESSAGE_COLUMNS}, c.sha256, CASE WHEN s.size <= {CLAIM_BODY_MAX} THEN c.body END, m.rules_seen
    FROM {MESSAGE_TABLES} LEFT JOIN moxlib_content c ON c.submission = m.submission
    WHERE m.id IN ({{ids}})"""  # noqa: S608 - constants only
SET_ASIDE = """UPDATE moxlib_message SET owner = NULL, claimed_at = NULL, attempts = attempts - 1, hold = 1,
    quarantine = ? WHERE id = ?"""
CONNECTIONS = "SELECT connections_full_at FROM moxlib_destination WHERE name = ? /*pg FOR UPDATE */"
ADD = "INSERT INTO moxlib_destination (name) VALUES (?) ON CONFLICT (name) DO NOTHING"
SET_CONNECTIONS = "UPDATE moxlib_destination SET connections_full_at = ? WHERE name = ?"

ALL_TURNS = 2**31 - 1  # for a worker that wants certain destinations only, which may stand anywhere in the line
MAX_ROUNDS = 20  # looks for more destinations when those found had nothing to claim after all (it is held, say)
WIDEN = 4  # times as many destinations in each further round
LIMIT_RETRY = 1_000_000  # µs until a destination with all slots taken is looked at again; freed ones wake it sooner
BUSY_RETRY = timedelta(milliseconds=20)  # until a claim looks again that found nothing but what other claims hold


def claim(tx: Tx, worker: int, request: ClaimRequest) -> ClaimResult:
    """Claim due messages for a registered worker and journal their attempts."""
    now = micros(request.now)
    if not lock_worker(tx, worker):
        return ClaimResult(claims=(), slots={}, next_turn=None)
    if request.release:
        free_slots(tx, worker, request.release, now)
    folded = fold_wakes(tx)
    claiming = _Claiming(tx, worker, request, now, count_workers(tx))
    full = sum(1 for room in request.room.values() if room <= 0)
    served: set[str] = set()  # in an earlier round: their turn is due again, but each gets one helping
    most = max(1, request.default_room)
    helpings = -(-request.limit // most)  # destinations that fill the claim, if all have so much
    for _ in range(MAX_ROUNDS):
        wanted = helpings + full + len(served) if request.default_room > 0 else ALL_TURNS
        turns = tx.query(TURNS, (now, wanted))
        claiming.serve({name: full_at for name, full_at in turns if name not in served and claiming.room(name) > 0})
        served |= {name for name, _ in turns}
        if len(claiming.taken) >= request.limit or len(turns) < wanted:
            break
        helpings = min(helpings * WIDEN, request.limit)
    claims = _load(tx, claiming.taken, now)
    given = {claim.message.destination for claim in claims}
    free_slots(tx, worker, sorted(claiming.opened - given), now)  # all that was found there was set aside
    next_turn = _next_turn(tx, claiming)
    if len(claiming.taken) < request.limit:
        next_turn = _look_again(tx, next_turn, request.now + BUSY_RETRY, folded=folded)
    slots = {name: count for name, count in claiming.slots.items() if name in given}
    return ClaimResult(claims=claims, slots=slots, next_turn=next_turn)


@dataclass(slots=True)
class _Helping:
    """What one destination gives in this claim."""

    ids: list[int]
    mine: int
    """Delivery slots that this worker has there."""
    allowed: int
    """Those it may have."""
    full_at: int | None
    """When the bucket of messages will be full; None: it is."""

    @property
    def open(self) -> bool:
        """Whether this worker may deliver there at all."""
        return self.allowed > 0 or self.mine > 0


class _Claiming:
    """One claim under way: serves destinations, a round of them at a time, each step of a round for all at once."""

    def __init__(self, tx: Tx, worker: int, request: ClaimRequest, now: int, workers: int) -> None:
        self._tx = tx
        self._worker = worker
        self.request = request
        self._now = now
        self._workers = workers
        self.taken: list[int] = []
        self.left = dict(request.room)
        """How many more the worker will take of each destination."""
        self.slots: dict[str, int] = {}
        self.opened: set[str] = set()
        """Of these, where the worker had none before."""

    def room(self, name: str) -> int:
        """Return how many more messages of a destination the worker will take."""
        return self.left.get(name, self.request.default_room)

    def serve(self, destinations: Mapping[str, int | None]) -> None:
        """Serve destinations in order until the claim is full; the others are left as they are."""
        helpings = self._look(destinations)
        turns: dict[str, int] = {}
        full: list[tuple[Value, ...]] = []
        buckets: dict[str, int | None] = {}
        slots: list[tuple[Value, ...]] = []
        taken: list[int] = []
        for name, helping in helpings.items():
            left = self.request.limit - len(self.taken) - len(taken)
            if left <= 0:
                break
            if not helping.open:
                full.append((self._now + LIMIT_RETRY, helping.full_at, name))
                continue
            buckets[name] = helping.full_at
            ids, turns[name] = self._by_rate(name, helping, left, buckets)
            if not ids:
                continue
            granted = max(helping.mine, min(helping.allowed, len(ids)))
            if granted != helping.mine:
                slots.append((name, self._worker, granted))
            if not helping.mine:
                self.opened.add(name)
            taken += ids
            self.left[name] = self.room(name) - len(ids)
            self.slots[name] = granted
        self._tx.executemany(SET_SLOTS, slots)
        for marks, piece in in_lists(taken):
            self._tx.executemany(JOURNAL.format(ids=marks), [(self._worker, self._now, *piece)])
        self.taken += taken
        self._tx.executemany(SET_TURN, full)
        self._move(turns, buckets)

    def _look(self, destinations: Mapping[str, int | None]) -> dict[str, _Helping]:
        names = list(destinations)
        held: dict[str, dict[int, int]] = {}
        for marks, piece in in_lists(names):
            for name, worker, slots in self._tx.query(SLOTS.format(names=marks), piece):
                held.setdefault(name, {})[worker] = slots
        helpings: dict[str, _Helping] = {}
        for name in names:
            limit = self.request.limits.limit(name)
            others = held.get(name, {})
            mine = others.pop(self._worker, 0)
            allowed = min(limit - sum(others.values()), max(1, limit // self._workers))
            helpings[name] = _Helping(ids=[], mine=mine, allowed=allowed, full_at=destinations[name])
        open_ = [name for name in names if helpings[name].open]
        most = self.request.limit - len(self.taken)
        found = self._tx.query_each(DUE, [(name, self._now, min(self.room(name), most)) for name in open_])
        for name, rows in zip(open_, found, strict=True):
            helpings[name].ids = [id_ for (id_,) in rows]
        return helpings

    def _by_rate(
        self, name: str, helping: _Helping, left: int, buckets: dict[str, int | None]
    ) -> tuple[list[int], int]:
        """Return as many of the ids as the claim and the destination's rate leave, and its turn at the earliest."""
        ids = helping.ids[:left]
        rate = self.request.limits.message_rate(name)
        if rate is None or not ids:
            return ids, self._now
        taken = limits.take(rate, helping.full_at, now=self._now, wanted=len(ids))
        buckets[name] = taken.full_at
        return ids[: taken.granted], max(self._now, taken.next_at)

    def _move(self, turns: Mapping[str, int], buckets: Mapping[str, int | None]) -> None:
        """Set the turns of destinations that were served: when the next message is due, if not before the given."""
        names = list(turns)
        earliest = self._tx.query_each(EARLIEST, [(name,) for name in names])
        rows: list[tuple[Value, ...]] = []
        for name, found in zip(names, earliest, strict=True):
            rows.append((max(found[0][0], turns[name]) if found else None, buckets[name], name))
        self._tx.executemany(SET_TURN, rows)


def _load(tx: Tx, ids: list[int], at: int) -> tuple[Claim, ...]:
    rows: dict[int, Row] = {}
    for marks, piece in in_lists(ids):
        rows |= {row[0]: row for row in tx.query(CLAIMED.format(ids=marks), piece)}
    rules = hold_rules(tx) if tx.concurrent and ids else ()
    claims: list[Claim] = []
    for id_ in ids:
        row = rows[id_]
        try:
            found = _claim_of(row)
        except StorageDamaged as error:  # one row that cannot be read must not keep all the others
            tx.execute(SET_ASIDE, (str(error), id_))
            continue
        if rules and _is_held(found.message, rules, row[-1]):
            tx.execute(SET_ASIDE, ("", id_))
        else:
            claims.append(found)
    return _with_suppressions(tx, claims, at)


def _with_suppressions(tx: Tx, claims: Sequence[Claim], at: int) -> tuple[Claim, ...]:
    """Say of each claim whether its recipient must not be sent to any more."""
    if not claims or not tx.query(ANY):
        return tuple(claims)
    keys = [(claim.message.account, claim.message.base_address) for claim in claims]
    found = in_force(tx, keys, at=at)
    return tuple([replace(claim, suppression=found.get(key)) for claim, key in zip(claims, keys, strict=True)])


def _claim_of(row: Row) -> Claim:
    sha256, body = row[-3:-1]
    message = message_of(row[:-3])
    content = None if body is None else StoredContent(size=message.size, sha256=sha256, body=body)
    return Claim(message=message, content=content)


def _is_held(message: Message, rules: Sequence[HoldRule], seen: int) -> bool:
    """Say whether a rule was added while the message's submit was under way, so that neither saw the other."""
    return any(
        rule.id > seen
        and hold.matches(
            rule,
            account=message.account,
            sender_domain=message.sender_domain,
            recipient_domain=message.recipient_domain,
        )
        for rule in rules
    )


def _next_turn(tx: Tx, claiming: _Claiming) -> datetime | None:
    """Return when the next destination is due of which the worker will still take something."""
    full = sum(1 for left in claiming.left.values() if left <= 0)
    for name, turn in tx.query(NEXT_TURN, (full + 1 if claiming.request.default_room > 0 else ALL_TURNS,)):
        if claiming.room(name) > 0:
            return moment(turn)
    return None


def _look_again(tx: Tx, next_turn: datetime | None, soon: datetime, *, folded: bool) -> datetime | None:
    """Return when to look again after a claim that took all it found, where others claim and submit at the same time.

    What is due then is in others' hands, who are soon done with it. And a submit that saw the wakes which this claim
    has folded has told nobody of its own; it may be committed only now.
    """
    if not tx.concurrent or (next_turn is None and not folded):
        return next_turn
    return soon if folded or next_turn is None else max(next_turn, soon)


def take_connection(tx: Tx, name: str, rate: Rate, *, now: datetime) -> datetime | None:
    """Take one connection from a destination's bucket; None when there was one, else when to ask again."""
    while not (found := tx.query(CONNECTIONS, (name,))):  # again if it is pruned before it is locked
        tx.execute(ADD, (name,))
    taken = limits.take(rate, found[0][0], now=micros(now), wanted=1)
    if not taken.granted:
        return moment(taken.next_at)
    tx.execute(SET_CONNECTIONS, (taken.full_at, name))
    return None
