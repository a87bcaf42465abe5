"""`Worker`: claims, delivers and settles until it is told to stop, then drains.

Tasks in one group: claiming, settling, keeping the lease (and taking back what dead workers left), purging old
history, watching for attempts that take too long; and for each destination at work, runners, one per delivery slot. An
error of the disk is reported, waited out and tried again; nothing that a single delivery does ends the worker.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from random import Random

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.config import QueueConfig
from moxlib.queue.hooks.caller import HookCaller
from moxlib.queue.notify.notifier import NOTHING_RETURNED, Notifier
from moxlib.queue.observer import Observer
from moxlib.queue.storage.base import Storage
from moxlib.queue.storage.claims import Claim, ClaimRequest, ClaimResult
from moxlib.queue.storage.settlement import GiveBack, Settlement
from moxlib.queue.transport.base import AttachedTransport, ManagedTransport, Services, Transport
from moxlib.queue.worker.attempt import Attempts
from moxlib.queue.worker.group import finish, task_group
from moxlib.queue.worker.hooks import HookWorker, MakesCalls, Tenure
from moxlib.queue.worker.lanes import Lane, group_claims
from moxlib.queue.worker.lease import Lease
from moxlib.queue.worker.limits import limits_of
from moxlib.queue.worker.permits import NoPermit, Permits
from moxlib.queue.worker.settler import Settler
from moxlib.queue.worker.telling import TROUBLE_SECONDS, Telling
from moxlib.queue.worker.widening import Widening

__all__ = ["Worker"]


class Worker:
    """Delivers a queue's messages; one object for one run."""

    def __init__(
        self,
        storage: Storage,
        transports: Mapping[str, Transport],
        *,
        config: QueueConfig,
        clock: Clock,
        observer: Observer,
        random: Random,
        token: Callable[[], str],
        caller: MakesCalls | None = None,
        logged: Callable[[], None] = lambda: None,
    ) -> None:
        self._storage = storage
        self._transports = transports
        self._config = config
        self._settings = config.worker
        self._clock = clock
        self._telling = Telling(observer, clock)
        self._lease = Lease(storage, config, clock, self._telling, lost=self._lease_lost, taken=self._wake_all)
        self._attempts = Attempts(storage, transports, config, clock, random)
        self._notifier = Notifier(storage, config, clock, token)
        self._settler: Settler[Settlement] = Settler(
            storage, clock, config.worker.settle_gather, settled=self._on_settled, trouble=self._telling.trouble
        )
        self._limits = limits_of(config)
        self._lanes: dict[str, Lane] = {}
        self._claimed = 0
        self._full = False  # the last look had no room for another claim
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._ready = asyncio.Event()
        self._progress = asyncio.Condition()
        self._looks = 0
        self._found_nothing = 0  # the last look that did, begun and ended with all attempts settled
        self._permits = Permits(
            storage,
            self._limits,
            clock,
            self._attempts.deadlines,
            patience=config.worker.delivery_timeout.total_seconds(),
            stopping=self._stopping,
        )
        self._logged = logged
        self._hooks: HookWorker | None = None
        if config.has_webhooks:
            tenure = Tenure(
                id=lambda: self._lease.id,
                is_still=self._lease.is_still,
                lost=self._tell_lost,
                trouble=self._telling.trouble,
            )
            self._hooks = HookWorker(
                storage.hooks,
                caller or HookCaller(clock=clock),
                config=config,
                clock=clock,
                random=random,
                tenure=tenure,
            )
        self._group: asyncio.TaskGroup | None = None
        self._runners: set[asyncio.Task[None]] = set()
        self._widening = Widening(self._start_runner)

    @property
    def id(self) -> int:
        """The id under which it is registered now; 0 before it runs."""
        return self._lease.id

    def wake(self) -> None:
        """Something may be due: look now rather than at the next poll."""
        self._wake.set()

    def wake_webhooks(self) -> None:
        """A webhook may be due: likewise."""
        if self._hooks is not None:
            self._hooks.wake()

    def _wake_all(self) -> None:
        self.wake()
        self.wake_webhooks()

    def stop(self) -> None:
        """Begin to drain: claim no more, give back what has not begun, let attempts under way finish. Idempotent."""
        self._stopping.set()
        self._wake.set()
        if self._hooks is not None:
            self._hooks.stop()

    async def ready(self) -> None:
        """Wait until it is registered and its transports run."""
        await self._ready.wait()

    async def ended(self) -> None:
        """Wait until it was told to stop, or ended by itself."""
        await self._stopping.wait()

    async def wait_idle(self) -> None:
        """Wait until nothing is due: a look that began after this call found nothing, and all attempts are settled.

        So it is with webhooks then.
        """
        begun = self._looks
        self.wake()
        async with self._progress:
            await self._progress.wait_for(lambda: self._found_nothing > begun or self._stopping.is_set())
        if self._hooks is not None:
            await self._hooks.wait_idle()

    async def run(self) -> None:
        """Work until `stop()`, then drain and unregister. May be called once.

        Cancelled, it cancels the attempts under way and settles them as interrupted before it ends.

        Raises:
            StorageError: the queue could not be read or written at the start, or still could not be written a
                `drain_timeout` after the end of the work.
        """
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._tell_end)
            services = Services(policies=self._storage.policies, tls_results=self._telling.tls_results)
            for transport in dict.fromkeys(self._transports.values()):
                if isinstance(transport, AttachedTransport):
                    transport.attach(services)
                if isinstance(transport, ManagedTransport):
                    await stack.enter_async_context(transport.running())
            await self._lease.take_back()
            try:
                await self._lease.register()
                self._ready.set()
                await self._work()
            finally:
                await self._lease.unregister()

    async def _tell_end(self) -> None:
        self.stop()
        async with self._progress:
            self._progress.notify_all()  # nobody else would wake those that wait for it to be idle

    async def _work(self) -> None:
        async with task_group() as background:
            helpers = [
                background.create_task(self._lease.keep(), name="moxlib lease"),
                background.create_task(self._storage.watch(self._wake_all), name="moxlib watch"),
                background.create_task(self._purge(), name="moxlib purge"),
                background.create_task(self._attempts.deadlines.watch(), name="moxlib deadlines"),
            ]
            try:
                if self._hooks is None:
                    await self._deliver()
                else:
                    await self._deliver_and_call(self._hooks)
            finally:
                for task in helpers:
                    task.cancel()

    async def _deliver_and_call(self, hooks: HookWorker) -> None:
        async with task_group() as both:
            calling = both.create_task(hooks.run(), name="moxlib webhooks")
            calling.add_done_callback(lambda _: self.stop())  # should it fail, there is no use in going on
            await self._deliver()

    async def _deliver(self) -> None:
        """Claim and deliver until stopped or cancelled; ends when all that was claimed is settled."""
        settling = asyncio.create_task(self._settler.run(), name="moxlib settle")
        settling.add_done_callback(lambda _: self.stop())  # should it fail, there is no use in going on
        try:
            async with task_group() as group:
                self._group = group
                try:
                    await self._claim_loop()
                finally:
                    self._widening.stop()
                await self._drain()
        finally:
            self._group = None
            self._give_back()
            self._settler.close(self._settings.drain_timeout)
            await finish(settling)

    # claiming

    async def _claim_loop(self) -> None:
        tries = 0
        while not self._stopping.is_set():
            self._wake.clear()
            self._looks += 1
            idle = not self._claimed
            try:
                result = await self._claim()
            except StorageError as error:
                self._telling.trouble("claiming messages", error)
                await self._pause(TROUBLE_SECONDS[min(tries, len(TROUBLE_SECONDS) - 1)])
                tries += 1
                continue
            tries = 0
            if idle and not self._claimed:  # what is claimed takes room, for lack of which a look finds nothing too
                await self._note_idle()
            await self._pause(self._seconds_to(result.next_turn if result else None))

    async def _note_idle(self) -> None:
        async with self._progress:
            self._found_nothing = self._looks
            self._progress.notify_all()

    async def _claim(self) -> ClaimResult | None:
        """Claim once, if there is room; None if there is none."""
        limit = self._room()
        self._full = not limit
        if self._full:
            return None
        release = [name for name, lane in self._lanes.items() if lane.idle and lane.slots]
        request = ClaimRequest(
            now=self._clock.now(),
            limit=limit,
            limits=self._limits,
            room={name: lane.room for name, lane in self._lanes.items()},
            release=release,
        )
        result = await self._claim_whole(request)
        for name in release:
            self._lanes[name].slots = 0
        self._dispatch(result, request)
        for name in release:
            if (lane := self._lanes.get(name)) is not None and lane.idle and not lane.slots:
                del self._lanes[name]
        return result

    def _room(self) -> int:
        """Return how many messages may be claimed now: 0 while it is less than half a batch."""
        most = min(self._settings.claim_batch, self._settings.max_claimed)
        room = min(most, self._settings.max_claimed - self._claimed)
        return room if room >= max(1, most // 2) else 0

    async def _claim_whole(self, request: ClaimRequest) -> ClaimResult:
        """Claim; when cancelled meanwhile, wait for the claim all the same and give back what it brought."""
        worker = self._lease.id
        claiming = asyncio.ensure_future(self._storage.claim(worker, request))
        try:
            return await asyncio.shield(claiming)
        except asyncio.CancelledError:
            await asyncio.wait([claiming])
            if not claiming.cancelled() and claiming.exception() is None:
                claims = claiming.result().claims
                self._claimed += len(claims)
                self._settler.add(worker, [GiveBack(message=claim.message) for claim in claims])
            raise

    def _dispatch(self, result: ClaimResult, request: ClaimRequest) -> None:
        self._claimed += len(result.claims)
        self._settler.expected = self._claimed
        full = len(result.claims) >= request.limit
        now = self._clock.monotonic()
        for name, deliveries in group_claims(result.claims).items():
            lane = self._lanes.setdefault(name, Lane(name))
            cut = full or self._limits.message_rate(name) is not None
            room = request.room.get(name, request.default_room)
            lane.fill(deliveries, room=room, slots=result.slots[name], now=now, cut=cut)
            self._widening.begin(lane)

    def _start_runner(self, lane: Lane) -> None:
        assert self._group is not None
        lane.running += 1
        task = self._group.create_task(self._run_lane(lane), name=f"moxlib {lane.name}")
        self._runners.add(task)
        task.add_done_callback(self._runners.discard)

    def _seconds_to(self, turn: datetime | None) -> float:
        poll = self._settings.poll_interval.total_seconds()
        if turn is None:
            return poll
        return min(poll, max(0.0, (turn - self._clock.now()).total_seconds()))

    async def _pause(self, seconds: float) -> None:
        """Wait until something may be due: woken, or after so many seconds."""
        if self._wake.is_set() or self._stopping.is_set():
            return
        try:
            async with self._clock.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    # delivering

    async def _run_lane(self, lane: Lane) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            # A transport may have answered a cancellation with what it knew: that is settled, and nothing else begun.
            while not task.cancelling() and not self._stopping.is_set() and (claims := lane.pop()) is not None:
                if not (self._lease.lasts or await self._lease.holds()):
                    self._forget(claims)
                    continue
                await self._run_delivery(claims)
                lane.ended += 1
                if lane.wants_more(self._clock.monotonic()):
                    self._wake.set()
        finally:
            lane.running -= 1

    async def _run_delivery(self, claims: tuple[Claim, ...]) -> None:
        worker = self._lease.id
        started = self._clock.now()
        permit = self._permits.of(claims[0].message.destination, still_owned=partial(self._lease.is_still, worker))
        try:
            settlements = await self._attempts.run(claims, permit, started=started)
        except asyncio.CancelledError:
            self._settler.add(worker, self._attempts.interrupted(claims, started=started))
            raise
        except (StorageError, NoPermit) as error:  # nothing was sent
            try:
                await self._wait_out(error)
            finally:
                self._settler.add(worker, [GiveBack(message=claim.message) for claim in claims])
            return
        self._telling.attempts(settlements)
        notices = self._notifier.notices(settlements)
        if not notices:
            self._settler.add(worker, settlements)
            return
        returned = NOTHING_RETURNED
        try:
            returned = await self._notifier.returned(notices, claims)
        finally:  # cancelled or not: what is known of an attempt is settled
            self._settler.add(worker, self._notifier.attached(settlements, notices, returned))

    async def _wait_out(self, error: StorageError | NoPermit) -> None:
        """Report the storage's trouble, if it is that, and wait before what could not begin is tried again."""
        if isinstance(error, StorageError):
            self._telling.trouble("reading content", error)
        elif isinstance(error.__cause__, StorageError):
            self._telling.trouble("counting connections", error.__cause__)
        else:
            return
        await self._telling.wait_out(1)

    def _forget(self, claims: tuple[Claim, ...]) -> None:
        """Drop claims that another worker has taken back."""
        self._claimed -= len(claims)
        self._settler.expected = self._claimed

    def _give_back(self) -> None:
        for lane in self._lanes.values():
            self._settler.add(self._lease.id, [GiveBack(message=claim.message) for claim in lane.clear()])

    def _on_settled(self, settlements: Sequence[Settlement], lost: frozenset[int]) -> None:
        self._claimed -= len(settlements)
        self._settler.expected = self._claimed
        self._logged()
        self.wake_webhooks()
        if lost:
            self._tell_lost(len(lost))
        if not self._claimed or (self._full and self._room()):
            self._wake.set()

    def _tell_lost(self, lost: int) -> None:
        self._telling.lease_lost(self._lease.id, lost)

    async def _drain(self) -> None:
        """Give back what has not begun; wait for what has, then cancel it."""
        self._give_back()
        if not self._runners:
            return
        try:
            async with self._clock.timeout(self._settings.drain_timeout.total_seconds()):
                await asyncio.wait(set(self._runners))
        except TimeoutError:
            for task in self._runners:
                task.cancel()

    def _lease_lost(self) -> None:
        for lane in self._lanes.values():
            self._forget(tuple(lane.clear()))
        if self._hooks is not None:
            self._hooks.lease_lost()

    async def _purge(self) -> None:
        while True:
            await self._telling.retrying("purging history", self._purge_once)
            await self._clock.sleep(self._settings.purge_interval.total_seconds())

    async def _purge_once(self) -> None:
        now = self._clock.now()
        purged = 1
        while purged:
            purged = await self._storage.purge(now=now, events_before=now - self._config.keep_events)
