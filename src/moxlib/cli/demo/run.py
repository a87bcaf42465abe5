"""The demo at work: servers, queue and worker in one event loop."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from moxlib.cli.demo.feedback import LATER, NEWS, Mailbox, news_account, send_bounce, tell
from moxlib.cli.demo.load import Sample
from moxlib.cli.demo.plan import (
    HELD_DOMAIN,
    SERVERS,
    Greylisting,
    KnownUsers,
    Planned,
    make_plan,
    quick_schedule,
)
from moxlib.cli.demo.report import Story
from moxlib.cli.demo.show import Display
from moxlib.contrib.aiosmtpd import IncomingHandler
from moxlib.errors import InputError
from moxlib.localserve import AcceptAll, LoopbackReceiver, LoopbackServer, Rules
from moxlib.queue import (
    AccountConfig,
    AttemptResult,
    DSNConfig,
    HoldRule,
    Message,
    MessageFilter,
    NullObserver,
    Queue,
    QueueConfig,
    Retired,
    Route,
    SMTPTransport,
    Submission,
    Transport,
)
from moxlib.webhook import Secret

__all__ = ["BounceServer", "run"]

LOOK: Final = 0.05  # seconds between two looks at how far the queue is
PATIENCE: Final = 30.0  # seconds without any attempt after which something must be wrong
PAGE: Final = 1000


class _Attempts(NullObserver):
    """Counts attempts, to see that there still are some."""

    def __init__(self) -> None:
        self.made = 0

    def attempted(self, message: Message, result: AttemptResult) -> None:  # noqa: ARG002 - as any observer
        """Count it."""
        self.made += 1


@dataclass(slots=True)
class _Run:
    """What is known while the demo runs."""

    queue: Queue
    show: Display
    attempts: _Attempts
    total: int
    submissions: dict[str, Submission] = field(default_factory=dict)
    """By recipient."""
    refused: list[str] = field(default_factory=list)
    """Messages that the queue would not take, with its reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BounceServer:
    """A real mail server that accepts mail for later.example, and bounces it."""

    host: str
    port: int
    returns_to: int
    """The port of this machine that it sends mail for demo.example to."""


async def run(
    samples: Sequence[Sample], *, recipients: int, path: Path, show: Display, bounces: BounceServer | None = None
) -> Story:
    """Run the demo and return all that happened.

    Args:
        samples: the messages.
        recipients: how many recipients each of them gets.
        path: the queue's file, which must not exist yet.
        show: where to tell of it meanwhile.
        bounces: a server to get a bounce from; None: one of the demo's own.

    Raises:
        StorageError: the queue's file cannot be made.
    """
    began = time.monotonic()
    plan = make_plan(samples, recipients)
    async with AsyncExitStack() as stack:
        rules: tuple[Rules, ...] = (KnownUsers(), Greylisting(), AcceptAll())
        servers = {
            domain: await stack.enter_async_context(LoopbackServer(each, hostname=f"mx.{domain}"))
            for domain, each in zip(SERVERS, rules, strict=True)
        }
        for domain, server in servers.items():
            show.say(f"The mail server of {domain} listens on 127.0.0.1, port {server.port}.")
        later = await stack.enter_async_context(LoopbackServer(hostname=f"mx.{LATER}"))
        secret, mailbox, attempts = Secret.generate(), Mailbox(), _Attempts()
        receiver = await stack.enter_async_context(LoopbackReceiver(secrets=[secret]))
        relay = ("127.0.0.1", later.port) if bounces is None else (bounces.host, bounces.port)
        transports = _transports({domain: ("127.0.0.1", server.port) for domain, server in servers.items()})
        transports |= _transports({LATER: relay}) | {"mailbox": mailbox.transport()}
        config = _config(news_account(receiver.url, secret))
        queue = await stack.enter_async_context(
            Queue.open(path, transports=transports, config=config, observer=attempts)
        )
        listen = 0 if bounces is None else bounces.returns_to
        incoming = await stack.enter_async_context(
            LoopbackServer(port=listen, handler=IncomingHandler(queue, accept=_is_ours))
        )
        state = _Run(queue=queue, show=show, attempts=attempts, total=sum(map(len, plan)))
        await _deliver(state, plan)
        history = await _history(queue)

        async def bounce() -> None:
            await send_bounce(later.received[-1], f"mx.{LATER}", incoming.port)

        async with queue.worker():
            feedback = await tell(
                queue, receiver=receiver, mailbox=mailbox, bounce=None if bounces else bounce, show=show
            )
        return Story(
            feedback=feedback,
            plan=plan,
            history=history,
            held=frozenset(recipient for recipient, receipt in state.submissions.items() if receipt.hold),
            refused=tuple(state.refused),
            received=tuple(message for server in servers.values() for message in server.received),
            seconds=time.monotonic() - began,
        )


def _is_ours(address: str) -> bool:
    return address.endswith("@demo.example")


def _transports(servers: Mapping[str, tuple[str, int]]) -> dict[str, Transport]:
    return {
        domain: SMTPTransport(host, port, security="none", ehlo_name="demo.example")
        for domain, (host, port) in servers.items()
    }


def _config(news: AccountConfig) -> QueueConfig:
    return QueueConfig(
        schedule=quick_schedule,
        routes=tuple(Route(transport=domain, recipient_domains=(domain,)) for domain in (*SERVERS, LATER)),
        hostname="demo.example",
        accounts={NEWS: news},
        dsn=DSNConfig.off(),
    )


async def _deliver(state: _Run, plan: Sequence[Sequence[Planned]]) -> None:
    """Submit all, wait until only what is held is left, release that, and wait for it."""
    queue, show = state.queue, state.show
    rule, _ = await queue.add_hold_rule(recipient_domain=HELD_DOMAIN)
    show.say(f"A rule holds what goes to {HELD_DOMAIN}.")
    async with queue.worker():
        began = time.monotonic()
        await asyncio.gather(*(_submit(state, group) for group in plan))
        taken = 1000 * (time.monotonic() - began)
        show.say(
            f"{len(plan) - len(state.refused)} messages for {len(state.submissions)} recipients are on disk, "
            f"{taken:.0f} ms after the first was submitted."
        )
        await _wait(state, MessageFilter(hold=False))
        await _release(state, rule)
        await _wait(state, MessageFilter())


async def _submit(state: _Run, group: Sequence[Planned]) -> None:
    sample = group[0].sample
    try:
        receipts = await state.queue.submit(
            sample.content,
            account="demo",
            recipients=[planned.recipient for planned in group],
            extra={"file": sample.name},
        )
    except InputError as error:
        state.refused.append(f"{sample.name}: the queue does not take it: {error}")
        return
    state.submissions |= {receipt.recipient: receipt for receipt in receipts}


async def _release(state: _Run, rule: HoldRule) -> None:
    """Take the rule back, and release what it held."""
    queue = state.queue
    held = await queue.list_messages(MessageFilter(hold=True))
    for message in held.items:
        explanation = await queue.explain(message.id)
        if explanation is not None:
            state.show.say(f"\nAll else is done. Why not message {message.id} to {message.recipient}?")
            state.show.say(f"  It is {explanation.reason}.")
    await queue.remove_hold_rule(rule)
    released = await queue.release(MessageFilter(hold=True))
    state.show.say(f"  Released: {released}.")


async def _wait(state: _Run, where: MessageFilter) -> None:
    """Return once no message matches, or once nothing has happened for long."""
    made, since = state.attempts.made, time.monotonic()
    while left := await state.queue.count_messages(where):
        queued = await state.queue.count_messages()
        done = state.total - queued
        state.show.progress(done, state.total, f"{state.attempts.made} attempts made, {left} to go on with")
        if state.attempts.made != made:
            made, since = state.attempts.made, time.monotonic()
        elif time.monotonic() - since > PATIENCE:
            state.show.say(f"Nothing has happened for {PATIENCE:.0f} seconds.")
            return
        await asyncio.sleep(LOOK)


async def _history(queue: Queue) -> dict[str, Retired]:
    """Return how all finished messages ended, by recipient."""
    found: dict[str, Retired] = {}
    page = await queue.list_history(limit=PAGE)
    while True:
        found |= {retired.recipient: retired for retired in page.items}
        if page.next is None:
            return found
        page = await queue.list_history(limit=PAGE, after=page.next)
