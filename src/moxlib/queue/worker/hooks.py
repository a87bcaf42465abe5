"""`HookWorker`: the part of a worker that sends webhooks: claims them, calls, settles, until it is told to stop.

For each endpoint at work there are runners, as many as its calls at once. Webhooks of one message are claimed one after
the other, so nothing here has to mind their order. An answer that says "later" or "never again" sends back what was
claimed ahead for that endpoint. An error of the disk is reported, waited out and tried again; nothing that a receiver
does ends the worker.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from types import TracebackType
from typing import Protocol, Self

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.config import QueueConfig
from moxlib.queue.hooks.caller import CallResult
from moxlib.queue.hooks.config import HookConfig
from moxlib.queue.hooks.records import INCOMING, Hook, HookKey
from moxlib.queue.hooks.settlement import (
    HookDisable,
    HookGiveBack,
    HookMove,
    HookRetry,
    HookSettlement,
    decide,
    journalled_wait,
)
from moxlib.queue.hooks.verdict import HOOK_SCHEDULE, Retry
from moxlib.queue.storage.hooks import HookClaim, HookClaimRequest, HookStorage
from moxlib.queue.worker.group import finish, task_group
from moxlib.queue.worker.hook_lanes import MIN_AHEAD, HookLane
from moxlib.queue.worker.settler import Settler
from moxlib.queue.worker.telling import TROUBLE_SECONDS
from moxlib.webhook import Call

__all__ = ["HookWorker", "MakesCalls", "Tenure"]

log: logging.Logger = logging.getLogger("moxlib.queue")

CLAIM_BATCH = 500  # webhooks in one claim at most
MAX_CLAIMED = 2000  # claimed and not settled
MAX_BYTES = 16 * 1024 * 1024  # of payloads in one claim; with `MAX_CLAIMED`, it bounds what they take of memory


class MakesCalls(Protocol):
    """What calls endpoints: a `HookCaller`, or what a test has in its place."""

    async def __aenter__(self) -> Self:
        """Get ready to call."""
        ...

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close all connections."""
        ...

    async def call(self, config: HookConfig, call: Call) -> CallResult:
        """Make a call, and say what became of it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Tenure:
    """What the worker around it knows of its lease, and hears of."""

    id: Callable[[], int]
    """Under which it is registered now."""
    is_still: Callable[[int], Awaitable[bool]]
    """Whether what was claimed under an id is still the worker's."""
    lost: Callable[[int], None]
    """So many webhooks had been taken back by others."""
    trouble: Callable[[str, Exception], None]


class HookWorker:
    """Sends a queue's webhooks; one object for one run."""

    def __init__(
        self,
        storage: HookStorage,
        caller: MakesCalls,
        *,
        config: QueueConfig,
        clock: Clock,
        random: Random,
        tenure: Tenure,
    ) -> None:
        self._storage = storage
        self._caller = caller
        self._config = config
        self._clock = clock
        self._random = random
        self._tenure = tenure
        self._settler: Settler[HookSettlement] = Settler(
            storage, clock, config.worker.settle_gather, settled=self._on_settled, trouble=tenure.trouble
        )
        self._places = asyncio.Semaphore(config.worker.webhook_calls)
        self._lanes: dict[str, HookLane] = {}
        self._claimed: Counter[HookKey] = Counter()
        """Claimed and not settled; twice, where the lease was lost while the first call was under way."""
        self._in_doubt = False  # the last claim seemed to fail
        self._full = False
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._progress = asyncio.Condition()
        self._looks = 0
        self._found_nothing = 0
        self._group: asyncio.TaskGroup | None = None
        self._runners: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def stop(self) -> None:
        """Begin to drain. Idempotent."""
        self._stopping.set()
        self._wake.set()

    async def wait_idle(self) -> None:
        """Wait until nothing is due: a look that began after this call found nothing, and all calls are settled."""
        begun = self._looks
        self.wake()
        async with self._progress:
            await self._progress.wait_for(lambda: self._found_nothing > begun or self._stopping.is_set())

    async def run(self) -> None:
        """Work until `stop()`, then drain. Cancelled, it cancels the calls under way and settles them as such."""
        settling = asyncio.create_task(self._settler.run(), name="moxlib webhooks settle")
        settling.add_done_callback(lambda _: self.stop())  # should it fail, there is no use in going on
        try:
            async with self._caller, task_group() as group:
                self._group = group
                await self._claim_loop()
                await self._drain()
        finally:
            self._group = None
            self.stop()
            for lane in self._lanes.values():
                self._give_back(lane)
            self._settler.close(self._config.worker.drain_timeout)
            await finish(settling)
            async with self._progress:
                self._progress.notify_all()

    # claiming

    async def _claim_loop(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            self._wake.clear()
            self._looks += 1
            idle = not self._claimed
            try:
                claim = await self._claim()
            except StorageError as error:
                self._in_doubt = True
                self._tenure.trouble("claiming webhooks", error)
                await self._pause(TROUBLE_SECONDS[min(tries, len(TROUBLE_SECONDS) - 1)])
                tries += 1
                continue
            tries = 0
            if idle and not self._claimed:
                await self._note_idle()
            if claim is None or not claim.hooks:
                await self._pause(self._seconds_to(claim.next_turn if claim else None))

    async def _note_idle(self) -> None:
        async with self._progress:
            self._found_nothing = self._looks
            self._progress.notify_all()

    async def _claim(self) -> HookClaim | None:
        """Claim once, if there is room; None if there is none."""
        limit = self._room()
        self._full = not limit
        if self._full:
            return None
        release = [url for url, lane in self._lanes.items() if lane.idle]
        worker = self._tenure.id()
        request = HookClaimRequest(
            now=self._clock.now(),
            limit=limit,
            max_bytes=MAX_BYTES,
            wait=self._wait,
            default_room=MIN_AHEAD,
            room={url: lane.room for url, lane in self._lanes.items() if not lane.idle},
            release=release,
            held=frozenset(self._claimed) if self._in_doubt else None,
        )
        claim = await self._claim_whole(worker, request)
        self._in_doubt = False
        for url in release:
            del self._lanes[url]
        self._dispatch(worker, claim, request)
        return claim

    def _room(self) -> int:
        """Return how many webhooks may be claimed now: 0 while it is less than half a batch."""
        room = min(CLAIM_BATCH, MAX_CLAIMED - len(self._claimed))
        return room if room >= CLAIM_BATCH // 2 else 0

    async def _claim_whole(self, worker: int, request: HookClaimRequest) -> HookClaim:
        """Claim; when cancelled meanwhile, wait for the claim all the same and give back what it brought."""
        claiming = asyncio.ensure_future(self._storage.claim(worker, request))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            if not claiming.cancelled() and claiming.exception() is None:
                hooks = claiming.result().hooks
                self._claimed.update(hook.claim for hook in hooks)
                self._settler.add(worker, [HookGiveBack(hook=hook) for hook in hooks])
            raise

    def _dispatch(self, worker: int, claim: HookClaim, request: HookClaimRequest) -> None:
        if worker != self._tenure.id():
            return  # its lease was lost meanwhile, and what it claimed is taken back
        self._claimed.update(hook.claim for hook in claim.hooks)
        self._settler.expected = len(self._claimed)
        now = self._clock.monotonic()
        cut = len(claim.hooks) >= request.limit
        by_url: dict[str, list[Hook]] = {}
        for hook in claim.hooks:
            by_url.setdefault(hook.url, []).append(hook)
        for url, hooks in by_url.items():
            lane = self._lanes.setdefault(url, HookLane(url))
            lane.fill(hooks, room=request.room.get(url, request.default_room), now=now, cut=cut)
            self._start_runners(lane)

    def _start_runners(self, lane: HookLane) -> None:
        assert self._group is not None
        config = self._config_of(lane.waiting[0])
        most = 1 if config is None else config.max_at_once
        for _ in range(min(most - lane.running, len(lane.waiting))):
            lane.running += 1
            task = self._group.create_task(self._run_lane(lane), name="moxlib webhooks")
            self._runners.add(task)
            task.add_done_callback(self._runners.discard)

    def _seconds_to(self, turn: datetime | None) -> float:
        poll = self._config.worker.poll_interval.total_seconds()
        return poll if turn is None else min(poll, max(0.0, (turn - self._clock.now()).total_seconds()))

    async def _pause(self, seconds: float) -> None:
        """Wait until something may be due: woken, or after so many seconds."""
        if self._wake.is_set() or self._stopping.is_set():
            return
        try:
            async with self._clock.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    # the configuration of the moment

    def _config_of(self, hook: Hook) -> HookConfig | None:
        if hook.event == INCOMING:
            return self._config.incoming_webhook_for(hook.account)
        return self._config.webhook_for(hook.account)

    def _wait(self, account: str, attempt: int) -> timedelta:
        config = self._config.webhook_for(account) or self._config.incoming_webhook_for(account)
        return journalled_wait(HOOK_SCHEDULE if config is None else config.schedule, attempt)

    # calling

    async def _run_lane(self, lane: HookLane) -> None:
        try:
            while lane.waiting:
                async with self._places:
                    if self._stopping.is_set() or not lane.waiting:
                        return
                    await self._serve(lane)
                if lane.wants_more(self._clock.monotonic()):
                    self._wake.set()
        finally:
            lane.running -= 1
            if lane.idle:
                self._wake.set()  # for the endpoint to be given back

    async def _serve(self, lane: HookLane) -> None:
        """Make the next call, and have what it carried settled."""
        worker = self._tenure.id()
        config, batch = self._next(lane)
        started = self._clock.now()
        try:
            if not await self._tenure.is_still(worker):
                self._forget(lane, batch)
                return
            if config is not None and config.url != lane.url:
                self._settler.add(worker, [HookMove(hook=hook, url=config.url) for hook in batch])
                return
            result = await self._call(config, batch, started)
        except asyncio.CancelledError:
            cut = self._unanswered("the worker ended while the call was under way", started=started)
            self._settle(worker, lane, batch, cut)
            raise
        self._settle(worker, lane, batch, result)

    def _next(self, lane: HookLane) -> tuple[HookConfig | None, tuple[Hook, ...]]:
        config = self._config_of(lane.waiting[0])

        def is_alike(hook: Hook) -> bool:
            return self._config_of(hook) is config

        return config, lane.pop(config, is_alike)

    async def _call(self, config: HookConfig | None, batch: tuple[Hook, ...], started: datetime) -> CallResult:
        if config is None:
            return self._unanswered(f"account {batch[0].account!a:.100} has no webhook any more", started=started)
        call = config.call([(hook.id, hook.payload) for hook in batch], attempt=max(hook.attempts for hook in batch))
        try:
            return await self._caller.call(config, call)
        except Exception as error:
            log.exception("calling a webhook raised; it will be tried again")
            return self._unanswered(f"the caller raised {type(error).__name__}", started=started)

    def _unanswered(self, error: str, *, started: datetime) -> CallResult:
        return CallResult(started=started, duration=self._clock.now() - started, verdict=Retry(), error=error)

    def _settle(self, worker: int, lane: HookLane, batch: tuple[Hook, ...], result: CallResult) -> None:
        config = self._config_of(batch[0])
        schedule = HOOK_SCHEDULE if config is None else config.schedule
        now, jitter = self._clock.now(), self._random.uniform(-1.0, 1.0)
        settlements = [
            decide(
                hook,
                result,
                schedule,
                retention=self._config.webhook_retention(hook.account),
                now=now,
                jitter=jitter,
            )
            for hook in batch
        ]
        self._settler.add(worker, settlements)
        if _ends_calls(settlements[0]):
            self._give_back(lane)

    # ending

    def lease_lost(self) -> None:
        """Drop what waits: it was claimed under an id that is no more, and is others' to claim."""
        for lane in self._lanes.values():
            self._forget(lane, lane.clear())

    def _forget(self, lane: HookLane, hooks: Sequence[Hook]) -> None:
        self._uncount(hooks)
        lane.owed -= len(hooks)
        self._settler.expected = len(self._claimed)

    def _uncount(self, hooks: Iterable[Hook]) -> None:
        for hook in hooks:
            self._claimed[hook.claim] -= 1
            if not self._claimed[hook.claim]:
                del self._claimed[hook.claim]

    def _give_back(self, lane: HookLane) -> None:
        self._settler.add(self._tenure.id(), [HookGiveBack(hook=hook) for hook in lane.clear()])

    def _on_settled(self, settlements: Sequence[HookSettlement], lost: frozenset[int]) -> None:
        self._uncount(settlement.hook for settlement in settlements)
        for settlement in settlements:
            lane = self._lanes.get(settlement.hook.url)
            if lane is not None:
                lane.owed -= 1
                if lane.idle:
                    self._wake.set()
        self._settler.expected = len(self._claimed)
        if lost:
            self._tenure.lost(len(lost))
        if not self._claimed or (self._full and self._room()):
            self._wake.set()

    async def _drain(self) -> None:
        """Give back what has not begun; wait for what has, then cancel it."""
        for lane in self._lanes.values():
            self._give_back(lane)
        if not self._runners:
            return
        try:
            async with self._clock.timeout(self._config.worker.drain_timeout.total_seconds()):
                await asyncio.wait(set(self._runners))
        except TimeoutError:
            for task in self._runners:
                task.cancel()


def _ends_calls(settlement: HookSettlement) -> bool:
    """Say whether a receiver wants no further call, now or for good."""
    match settlement:
        case HookDisable():
            return True
        case HookRetry():
            return settlement.slow_until is not None
        case _:
            return False
