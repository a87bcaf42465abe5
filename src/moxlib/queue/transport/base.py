"""The `Transport` protocol: what a delivery backend gets, and what it must answer.

A custom backend is any object with `async def deliver(self, delivery: Delivery) -> Sequence[Outcome]`.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from moxlib.mtasts import PolicyCache
from moxlib.queue.outcome import Outcome
from moxlib.queue.types import Message, RequireTLS
from moxlib.tlsrpt import Result

__all__ = ["AttachedTransport", "Content", "Delivery", "ManagedTransport", "Permit", "Services", "Transport"]


class Content(Protocol):
    """What is sent: the message's prefix and its stored content, CRLF line ends, not dot-stuffed."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    @property
    def data(self) -> bytes | None:
        """All of it, when it is small enough to be in memory already; else None: use `chunks()`."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Stream it from the start, in pieces of bounded size; may be called again for a second pass.

        Raises:
            ContentDamaged: while iterating: the file is not what was stored. Abort; the message must not be ended.
        """
        ...


class Permit(Protocol):
    """What a delivery needs to open connections, where their rate is limited."""

    async def granted(self) -> None:
        """Return when one more connection may be opened."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One attempt for one or more recipients of the same content at the same destination."""

    messages: tuple[Message, ...]
    """One per recipient, alike in sender, submission, attempts, transport and require-TLS."""
    content: Content
    transport: str
    """The name the transport was chosen by."""
    permit: Permit | None = field(default=None, compare=False, repr=False)
    """What `connecting` asks; None: the rate of connections is not limited."""

    async def connecting(self) -> None:
        """Call before opening a connection on behalf of this delivery: each one, also when the one before failed.

        Returns when the destination's `connections_per_minute` allows one more, over all workers; at once where there
        is no such limit. The wait is not part of the attempt: it is not counted towards `delivery_timeout`, and a
        delivery whose worker stops meanwhile, or that has waited for too long, is given back to the queue, uncounted.
        For that, `deliver` must let pass what this raises, and hold nothing that other deliveries wait for.
        """
        if self.permit is not None:
            await self.permit.granted()

    @property
    def sender(self) -> str:
        """MAIL FROM; empty for the null reverse-path."""
        return self.messages[0].mail_from or self.messages[0].sender

    @property
    def recipients(self) -> tuple[str, ...]:
        """RCPT TO, in the order of the outcomes to return."""
        return tuple([message.recipient for message in self.messages])

    @property
    def destination(self) -> str:
        """The destination all recipients share: their domain, unless configured otherwise."""
        return self.messages[0].destination

    @property
    def needs_8bit(self) -> bool:
        """Whether the content has bytes over 127."""
        return self.messages[0].needs_8bit

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address or a header needs SMTPUTF8 (RFC 6531)."""
        return self.messages[0].needs_smtputf8

    @property
    def require_tls(self) -> RequireTLS:
        """What the message asks of TLS."""
        return self.messages[0].require_tls

    @property
    def is_report(self) -> bool:
        """Whether it is a DMARC or TLS report."""
        return self.messages[0].is_report

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1."""
        return self.messages[0].attempts

    @property
    def is_last(self) -> bool:
        """Whether there is no further attempt after this one, as far as their number goes."""
        return self.messages[0].attempts >= self.messages[0].max_attempts


@runtime_checkable
class Transport(Protocol):
    """Delivers; one object serves many deliveries at once."""

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Try once, and say for each recipient, in order, what happened.

        What it raises defers the recipients of this delivery, and nothing else; so does taking longer than the queue's
        `delivery_timeout`, at which it is cancelled. Cancelled when some recipients have the message already, or may
        have it, it had better return at once what it knows, which counts: else they get it again. It leaves the count
        of cancellations alone (no `asyncio.Task.uncancel`), by which its caller sees that it was cancelled.
        """
        ...


@runtime_checkable
class ManagedTransport(Transport, Protocol):
    """A transport that holds connections or tasks: opened when the worker starts, closed when it has drained."""

    def running(self) -> AbstractAsyncContextManager[object]:
        """Return the context in which the transport is ready."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """What a queue offers to its transports."""

    policies: PolicyCache
    """Keeps MTA-STS policies, durably."""
    tls_results: Callable[[str, tuple[Result, ...]], None]
    """Tells the observer what was learned of TLS at a recipient domain's hosts (`Observer.tls_results`)."""


@runtime_checkable
class AttachedTransport(Transport, Protocol):
    """A transport that uses what the queue offers."""

    def attach(self, services: Services) -> None:
        """Take it; called before the transport runs."""
        ...
