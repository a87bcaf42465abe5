"""An outgoing mail queue to embed: durable, fast, transactional, and able to explain itself.

`Queue` is where to begin. Names load what they need when they are first used.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib._clock import Clock, SystemClock
    from moxlib.queue.config import AccountConfig, DomainConfig, QueueConfig, WorkerConfig
    from moxlib.queue.errors import (
        ContentDamaged,
        IdempotencyConflict,
        InvalidConnection,
        InvalidFilter,
        InvalidSchedule,
        InvalidSubmission,
        MessageTooLarge,
        QueueClosed,
        SchemaTooNew,
        StorageBusy,
        StorageDamaged,
        StorageFull,
        StorageReadOnly,
        StorageUnavailable,
        TooManyRecipients,
        UnknownTransport,
    )
    from moxlib.queue.explain import Explanation, State
    from moxlib.queue.observer import NullObserver, Observer
    from moxlib.queue.queue import Queue
    from moxlib.queue.routing import Route
    from moxlib.queue.schedule import MOX_SCHEDULE, RetrySchedule
    from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
    from moxlib.queue.transport import (
        Content,
        Delivery,
        FailTransport,
        ManagedTransport,
        Security,
        SMTPTransport,
        SubmissionsTransport,
        SubmissionTransport,
        Transport,
    )
    from moxlib.queue.types import (
        AttemptResult,
        Deferred,
        Delivered,
        Event,
        EventType,
        Failed,
        HoldRule,
        Message,
        Outcome,
        RequireTLS,
        ResultKind,
        Retired,
        Submission,
        Unknown,
    )

__all__ = [
    "MOX_SCHEDULE",
    "AccountConfig",
    "AttemptResult",
    "Clock",
    "Content",
    "ContentDamaged",
    "Cursor",
    "Deferred",
    "Delivered",
    "Delivery",
    "DomainConfig",
    "Event",
    "EventType",
    "Explanation",
    "FailTransport",
    "Failed",
    "HistoryFilter",
    "HoldRule",
    "IdempotencyConflict",
    "InvalidConnection",
    "InvalidFilter",
    "InvalidSchedule",
    "InvalidSubmission",
    "ManagedTransport",
    "Message",
    "MessageFilter",
    "MessageTooLarge",
    "NullObserver",
    "Observer",
    "Outcome",
    "Page",
    "Queue",
    "QueueClosed",
    "QueueConfig",
    "RequireTLS",
    "ResultKind",
    "Retired",
    "RetrySchedule",
    "Route",
    "SMTPTransport",
    "SchemaTooNew",
    "Security",
    "Sort",
    "State",
    "StorageBusy",
    "StorageDamaged",
    "StorageFull",
    "StorageReadOnly",
    "StorageUnavailable",
    "Submission",
    "SubmissionTransport",
    "SubmissionsTransport",
    "SystemClock",
    "TooManyRecipients",
    "Transport",
    "Unknown",
    "UnknownTransport",
    "WorkerConfig",
]

_CONFIG = "AccountConfig DomainConfig QueueConfig WorkerConfig"
_ERRORS = (
    "ContentDamaged IdempotencyConflict InvalidConnection InvalidFilter InvalidSchedule InvalidSubmission "
    "MessageTooLarge QueueClosed SchemaTooNew StorageBusy StorageDamaged StorageFull StorageReadOnly "
    "StorageUnavailable TooManyRecipients UnknownTransport"
)
_TRANSPORT = (
    "Content Delivery FailTransport ManagedTransport SMTPTransport Security SubmissionTransport SubmissionsTransport "
    "Transport"
)
_TYPES = (
    "AttemptResult Deferred Delivered Event EventType Failed HoldRule Message Outcome RequireTLS ResultKind Retired "
    "Submission Unknown"
)

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(("Clock", "SystemClock"), ".._clock"),
            **dict.fromkeys(_CONFIG.split(), ".config"),
            **dict.fromkeys(_ERRORS.split(), ".errors"),
            **dict.fromkeys(("Explanation", "State"), ".explain"),
            **dict.fromkeys(("NullObserver", "Observer"), ".observer"),
            **dict.fromkeys(("MOX_SCHEDULE", "RetrySchedule"), ".schedule"),
            **dict.fromkeys(("Cursor", "HistoryFilter", "MessageFilter", "Page", "Sort"), ".selection"),
            **dict.fromkeys(_TRANSPORT.split(), ".transport"),
            **dict.fromkeys(_TYPES.split(), ".types"),
            "Queue": ".queue",
            "Route": ".routing",
        },
    )
