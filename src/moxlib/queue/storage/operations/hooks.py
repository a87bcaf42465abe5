"""Webhooks on their way: inserted with their events, claimed, settled.

Whatever changes webhooks holds the lock of that name to the end of its transaction (which SQLite has anyway), after
that of the events, if it needs both. So nothing here has to mind what others do meanwhile: that an earlier webhook of a
message is done while a later one is inserted, say.

A later webhook of a message is *blocked*, and in no index that claims go by, until those before it are done. And an
endpoint has a *turn*, as destinations have; it is in no such index while it is disabled, or another worker's.
"""

from collections.abc import Container, Iterable, Sequence
from datetime import datetime
from types import MappingProxyType

from moxlib.queue.hooks.payload import hook_of_event
from moxlib.queue.hooks.records import Hook, HookKey, HookOutcome, HookPlan, HookResult, NewHook
from moxlib.queue.hooks.settlement import (
    HookDisable,
    HookGiveBack,
    HookMove,
    HookRetire,
    HookRetry,
    HookSettlement,
)
from moxlib.queue.storage.hooks import HookClaim, HookClaimRequest
from moxlib.queue.storage.operations.hook_rows import (
    HOOK_COLUMNS,
    dump_hook_results,
    hook_of,
    load_hook_results,
)
from moxlib.queue.storage.operations.rows import event_of, micros, moment
from moxlib.queue.storage.tx import Given, Row, Tx, in_lists

__all__ = [
    "LOCK",
    "claim",
    "insert_hooks",
    "insert_hooks_of_events",
    "interrupt",
    "last_event",
    "next_due",
    "retire_rows",
    "set_turns",
    "settle",
    "unblock",
]

LOCK = "hooks"

LAST_EVENT = "SELECT coalesce(max(id), 0) FROM moxlib_event"
HOOK = (
    "moxlib_hook",
    ["account", "url", "event_id", "message", "event", "queued", "next_attempt", "blocked", "payload"],
)
DISABLED = "SELECT url FROM moxlib_hook_endpoint WHERE url IN ({urls}) AND disabled_since IS NOT NULL"
SUPERSEDED = """SELECT id, url, message, results FROM moxlib_hook
    WHERE message IN ({messages}) AND owner IS NULL ORDER BY id"""
HAVING = "SELECT DISTINCT message FROM moxlib_hook WHERE message IN ({messages})"
ADD_ENDPOINT = "INSERT INTO moxlib_hook_endpoint (url) VALUES (?) ON CONFLICT (url) DO NOTHING"
EARLIEST = """SELECT next_attempt FROM moxlib_hook WHERE url = ? AND owner IS NULL AND blocked = 0
    ORDER BY next_attempt LIMIT 1"""
SET_TURN = """UPDATE moxlib_hook_endpoint SET turn = CASE WHEN disabled_since IS NOT NULL THEN NULL
    WHEN slowed_until > ? THEN slowed_until ELSE ? END WHERE url = ?"""
NO_TURN = "UPDATE moxlib_hook_endpoint SET turn = NULL WHERE url = ?"

LOCK_WORKER = "SELECT 1 FROM moxlib_worker WHERE id = ? /*pg FOR KEY SHARE */"
RELEASE = "UPDATE moxlib_hook_endpoint SET owner = NULL WHERE url = ? AND owner = ?"
TURNS = """SELECT url FROM moxlib_hook_endpoint WHERE turn <= ? AND owner IS NULL ORDER BY turn, url LIMIT ?"""
MINE = "SELECT url, turn FROM moxlib_hook_endpoint WHERE owner = ? AND turn IS NOT NULL ORDER BY turn, url"
DUE = """SELECT id, account, attempts, length(payload) FROM moxlib_hook
    WHERE url = ? AND owner IS NULL AND blocked = 0 AND next_attempt <= ? ORDER BY next_attempt, id LIMIT ?"""
JOURNAL = """UPDATE moxlib_hook SET owner = ?, attempts = attempts + 1, claimed_at = ?, next_attempt = ?
    WHERE id = ?"""
TAKE = "UPDATE moxlib_hook_endpoint SET owner = ? WHERE url = ?"
CLAIMED = f"SELECT {HOOK_COLUMNS} FROM moxlib_hook m WHERE m.id IN ({{ids}})"  # noqa: S608 - constants only
NEXT_TURN = "SELECT turn FROM moxlib_hook_endpoint WHERE turn IS NOT NULL AND owner IS NULL ORDER BY turn LIMIT 1"
EARLIEST_TURN = "SELECT min(turn) FROM moxlib_hook_endpoint"

ALL_OWNED = "SELECT id, attempts, claimed_at, url FROM moxlib_hook WHERE owner = ? ORDER BY id"
OWNED = "SELECT id, attempts, claimed_at, url, message FROM moxlib_hook WHERE owner = ? AND id IN ({ids})"
RETRY = """UPDATE moxlib_hook SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, next_attempt = ?,
    results = ? WHERE id = ?"""
GIVE_BACK = """UPDATE moxlib_hook SET owner = NULL, claimed_at = NULL, attempts = attempts - 1, next_attempt = ?
    WHERE id = ?"""
MOVE = """UPDATE moxlib_hook SET owner = NULL, claimed_at = NULL, attempts = attempts - 1, next_attempt = ?, url = ?
    WHERE id = ?"""
DISABLE = """UPDATE moxlib_hook_endpoint SET disabled_since = ?, disabled_why = ?
    WHERE url = ? AND disabled_since IS NULL"""
SLOW = """UPDATE moxlib_hook_endpoint SET slowed_until = ?
    WHERE url = ? AND (slowed_until IS NULL OR slowed_until < ?)"""
RETIRED = """moxlib_hook_retired (id, account, url, event_id, message, event, queued, finished, keep_until, outcome,
        attempts, last_attempt, results, payload)"""
RETIRE = """SELECT m.id, m.account, m.url, m.event_id, m.message, m.event, m.queued, given.finished, given.keep_until,
        given.outcome, m.attempts, coalesce(m.claimed_at, m.last_attempt), given.results, m.payload
    FROM given CROSS JOIN moxlib_hook m WHERE m.id = given.id"""
HISTORY: Given = MappingProxyType(
    {"finished": "bigint", "keep_until": "bigint", "outcome": "text", "results": "text", "id": "bigint"}
)
DELETE = "DELETE FROM moxlib_hook WHERE id IN ({ids})"
UNBLOCK = """UPDATE moxlib_hook SET blocked = 0 WHERE id IN
    (SELECT min(id) FROM moxlib_hook WHERE message IN ({messages}) GROUP BY message) RETURNING url"""

OWNED_BY = "SELECT id, url, attempts, claimed_at, results FROM moxlib_hook WHERE owner IN ({workers}) ORDER BY id"
OWNS = "SELECT 1 FROM moxlib_hook_endpoint WHERE owner IN ({workers}) LIMIT 1"
INTERRUPT = """UPDATE moxlib_hook SET owner = NULL, last_attempt = claimed_at, claimed_at = NULL, next_attempt = ?,
    results = ? WHERE id = ?"""
FREE = "UPDATE moxlib_hook_endpoint SET owner = NULL WHERE owner IN ({workers})"


def last_event(tx: Tx) -> int:
    """Return the id of the last event; 0 when there is none.

    Right after `insert_events` of n rows, theirs are the n ids up to it: nobody else appends meanwhile.
    """
    id_: int = tx.query(LAST_EVENT)[0][0]
    return id_


def insert_hooks(tx: Tx, hooks: Sequence[NewHook]) -> None:
    """Add webhooks in the transaction of their events; after `insert_events`, as both keep their lock to its end.

    Those of an endpoint that is disabled are left out, where the event log has what they tell: once it is enabled
    again, they can be replayed.
    """
    if not hooks:
        return
    tx.serialize(LOCK)
    disabled: set[str] = set()
    for marks, piece in in_lists(sorted({hook.plan.url for hook in hooks})):
        disabled |= {url for (url,) in tx.query(DISABLED.format(urls=marks), piece)}
    latest = {hook.message: hook for hook in hooks}
    hooks = [
        hook
        for hook in hooks
        if (hook.event_id is None or hook.plan.url not in disabled)
        and (hook.message is None or not hook.plan.keep_latest or latest[hook.message] is hook)
    ]
    touched = {hook.plan.url for hook in hooks} | _supersede(tx, hooks)
    busy: set[int] = set()
    for marks, piece in in_lists(sorted({hook.message for hook in hooks if hook.message is not None})):
        busy |= {message for (message,) in tx.query(HAVING.format(messages=marks), piece)}
    rows: list[Row] = []
    for hook in hooks:
        queued = micros(hook.queued)
        blocked = int(hook.message in busy)
        about = (hook.account, hook.plan.url, hook.event_id, hook.message, hook.event)
        rows.append((*about, queued, queued, blocked, hook.payload))
        if hook.message is not None:
            busy.add(hook.message)
    tx.insert_rows(*HOOK, rows)
    set_turns(tx, touched)
    tx.announce()


def insert_hooks_of_events(tx: Tx, rows: Sequence[Row], plans: Sequence[HookPlan | None]) -> None:
    """Add webhooks of events that `insert_events` has just appended, each with where it is to be sent."""
    first = last_event(tx) - len(rows) + 1
    insert_hooks(
        tx,
        [
            hook_of_event(plan, event_of((id_, *row)))
            for id_, (row, plan) in enumerate(zip(rows, plans, strict=True), first)
            if plan is not None
        ],
    )


def _supersede(tx: Tx, hooks: Iterable[NewHook]) -> set[str]:
    """Remove what waits of messages of which only the latest is to be sent; return their URLs."""
    by_message = {hook.message: hook for hook in hooks if hook.plan.keep_latest and hook.message is not None}
    kept: list[Row] = []
    gone: dict[int, str] = {}
    for marks, piece in in_lists(sorted(by_message)):
        for id_, url, message, results in tx.query(SUPERSEDED.format(messages=marks), piece):
            hook = by_message[message]
            at, until = micros(hook.queued), micros(hook.queued + hook.plan.retention)
            gone[id_] = url
            if until > at:
                kept.append((at, until, HookOutcome.SUPERSEDED.value, results, id_))
    retire_rows(tx, kept, list(gone))
    return set(gone.values())


def set_turns(tx: Tx, urls: Iterable[str]) -> None:
    """Set the turns of endpoints to what waits for them; unknown endpoints become known."""
    names = sorted(urls)
    tx.executemany(ADD_ENDPOINT, [(url,) for url in names])
    earliest = tx.query_each(EARLIEST, [(url,) for url in names])
    due = [(found[0][0], url) for url, found in zip(names, earliest, strict=True) if found]
    tx.executemany(SET_TURN, [(at, at, url) for at, url in due])
    tx.executemany(NO_TURN, [(url,) for url, found in zip(names, earliest, strict=True) if not found])


def retire_rows(tx: Tx, kept: Sequence[Row], gone: Sequence[int]) -> None:
    """Take webhooks out of the queue: `kept` into the history, as (finished, keep until, outcome, results, id)."""
    tx.insert_given(RETIRED, RETIRE, HISTORY, kept)
    for marks, piece in in_lists(gone):
        tx.executemany(DELETE.format(ids=marks), [piece])


def unblock(tx: Tx, messages: Iterable[int]) -> set[str]:
    """Let the first that is left of each message be called; return their URLs."""
    urls: set[str] = set()
    for marks, piece in in_lists(sorted(set(messages))):
        urls |= {url for (url,) in tx.query(UNBLOCK.format(messages=marks), piece)}
    return urls


# claim


def claim(tx: Tx, worker: int, request: HookClaimRequest) -> HookClaim:
    """Claim due webhooks for a registered worker and journal their attempts."""
    if not tx.query(LOCK_WORKER, (worker,)):
        return HookClaim(hooks=(), next_turn=None)
    tx.serialize(LOCK)
    now = micros(request.now)
    if request.held is not None:
        _resync(tx, worker, request.held, now)
    tx.executemany(RELEASE, [(url, worker) for url in request.release])
    mine = [(url, turn) for url, turn in tx.query(MINE, (worker,)) if request.room.get(url, request.default_room) > 0]
    served = [url for url, turn in mine if turn <= now]
    if request.default_room > 0:
        most = max(1, -(-request.limit // request.default_room))
        served += [url for (url,) in tx.query(TURNS, (now, most))]
    taken: dict[int, str] = {}
    room = request.max_bytes
    journal: list[Row] = []
    for url in served:
        most = min(request.room.get(url, request.default_room), request.limit - len(taken))
        if most <= 0 or room <= 0:
            break
        for id_, account, attempts, size in tx.query(DUE, (url, now, most)):
            if size > room and taken:
                room = 0
                break
            room -= size
            taken[id_] = url
            due = request.now + request.wait(account, attempts + 1)
            journal.append((worker, now, micros(due), id_))
    tx.executemany(JOURNAL, journal)
    tx.executemany(TAKE, [(worker, url) for url in sorted(set(taken.values()))])
    set_turns(tx, set(taken.values()))
    return HookClaim(hooks=_load(tx, list(taken)), next_turn=_next_turn(tx, worker, request))


def _resync(tx: Tx, worker: int, held: Container[HookKey], at: int) -> None:
    """Give back what a worker owns and does not know of: it was claimed, but nobody could tell it so."""
    unknown: list[tuple[int, str]] = []
    for id_, attempts, claimed_at, url in tx.query(ALL_OWNED, (worker,)):
        if (id_, attempts, moment(claimed_at)) not in held:
            unknown.append((id_, url))
    tx.executemany(GIVE_BACK, [(at, id_) for id_, _ in unknown])
    set_turns(tx, {url for _, url in unknown})


def _load(tx: Tx, ids: list[int]) -> tuple[Hook, ...]:
    found: dict[int, Hook] = {}
    for marks, piece in in_lists(ids):
        found |= {row[0]: hook_of(row) for row in tx.query(CLAIMED.format(ids=marks), piece)}
    return tuple([found[id_] for id_ in ids])


def _next_turn(tx: Tx, worker: int, request: HookClaimRequest) -> datetime | None:
    turns = [turn for url, turn in tx.query(MINE, (worker,)) if request.room.get(url, request.default_room) > 0]
    if request.default_room > 0:
        turns += [turn for (turn,) in tx.query(NEXT_TURN)]
    return moment(min(turns)) if turns else None


def next_due(tx: Tx) -> datetime | None:
    """Return the earliest turn of any endpoint."""
    turn = tx.query(EARLIEST_TURN)[0][0]
    return None if turn is None else moment(turn)


# settle


def settle(
    tx: Tx, worker: int, settlements: Sequence[HookSettlement], *, now: datetime
) -> tuple[frozenset[int], list[HookDisable]]:
    """Settle what the worker owns; return the ids it no longer does, and what has disabled an endpoint just now.

    The caller holds the lock of the events, where there may be any of the latter.
    """
    tx.serialize(LOCK)
    at = micros(now)
    owned: dict[int, tuple[str, int | None]] = {}
    claims = {s.hook.id: s.hook.claim for s in settlements}
    for marks, piece in in_lists(sorted(claims)):
        for id_, attempts, claimed_at, url, message in tx.query(OWNED.format(ids=marks), (worker, *piece)):
            if claims[id_] == (id_, attempts, moment(claimed_at)):
                owned[id_] = (url, message)
    lost = frozenset(s.hook.id for s in settlements if s.hook.id not in owned)
    mine = [s for s in settlements if s.hook.id in owned]
    touched = {url for url, _ in owned.values()}
    retire = [s for s in mine if isinstance(s, HookRetire)]
    _retire(tx, retire, at)
    _put_back(tx, mine, at)
    disabled = [s for s in mine if isinstance(s, HookDisable) and tx.execute(DISABLE, (at, s.why, s.hook.url)) == 1]
    touched |= {s.url for s in mine if isinstance(s, HookMove)}
    messages = [message for _, message in (owned[s.hook.id] for s in retire) if message is not None]
    set_turns(tx, touched | unblock(tx, messages))
    return lost, disabled


def _retire(tx: Tx, settlements: Sequence[HookRetire], at: int) -> None:
    kept: list[Row] = []
    for s in settlements:
        until = micros(s.keep_until)
        if until > at:
            kept.append((at, until, s.outcome.value, dump_hook_results((*s.hook.results, s.result)), s.hook.id))
    retire_rows(tx, kept, [s.hook.id for s in settlements])


def _put_back(tx: Tx, settlements: Iterable[HookSettlement], at: int) -> None:
    retry: list[Row] = []
    give_back: list[Row] = []
    move: list[Row] = []
    slow: dict[str, int] = {}
    for s in settlements:
        id_ = s.hook.id
        match s:
            case HookRetry() | HookDisable():
                due = micros(s.next_attempt) if isinstance(s, HookRetry) else at
                retry.append((due, dump_hook_results((*s.hook.results, s.result)), id_))
                if isinstance(s, HookRetry) and s.slow_until is not None:
                    slow[s.hook.url] = max(micros(s.slow_until), slow.get(s.hook.url, 0))
            case HookGiveBack():
                give_back.append((at, id_))
            case HookMove():
                move.append((at, s.url, id_))
            case HookRetire():
                pass
    tx.executemany(RETRY, retry)
    tx.executemany(GIVE_BACK, give_back)
    tx.executemany(MOVE, move)
    tx.executemany(SLOW, [(until, url, until) for url, until in sorted(slow.items())])


def interrupt(tx: Tx, workers: Sequence[int], at: int) -> None:
    """End workers: what they had claimed is due, and their endpoints are free."""
    if not any(tx.query(OWNS.format(workers=marks), piece) for marks, piece in in_lists(workers)):
        return  # who has claimed a webhook has its endpoint
    tx.serialize(LOCK)
    rows: list[Row] = []
    urls: set[str] = set()
    for marks, piece in in_lists(workers):
        for id_, url, attempts, claimed_at, results in tx.query(OWNED_BY.format(workers=marks), piece):
            result = HookResult.interruption(attempts, moment(claimed_at))
            rows.append((at, dump_hook_results((*load_hook_results(results), result)), id_))
            urls.add(url)
        tx.executemany(FREE.format(workers=marks), [piece])
    tx.executemany(INTERRUPT, rows)
    set_turns(tx, urls)
