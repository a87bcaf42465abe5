"""An outgoing mail queue to embed: durable, fast, transactional, and able to explain itself.

`Queue` is where to begin. Names load what they need when they are first used.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib._clock import Clock, SystemClock
    from moxlib.queue.config import AccountConfig, DomainConfig, QueueConfig, WorkerConfig
    from moxlib.queue.congestion import Concurrency
    from moxlib.queue.dsn_config import DSNConfig
    from moxlib.queue.dsn_request import DSNRequest, Notify, RecipientDSN
    from moxlib.queue.errors import (
        ContentDamaged,
        IdempotencyConflict,
        InvalidConnection,
        InvalidFilter,
        InvalidSchedule,
        InvalidSubmission,
        MessageLimitReached,
        MessageTooLarge,
        QueueClosed,
        RecipientLimitReached,
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
    from moxlib.queue.feedback import IncomingEnvelope, RecordedFeedback, RecordedResult, ReportedStatus
    from moxlib.queue.fromid import FromIDConfig
    from moxlib.queue.hooks.config import HookConfig
    from moxlib.queue.incoming import NotFeedback
    from moxlib.queue.notify import Filed, MailboxTransport
    from moxlib.queue.observer import NullObserver, Observer
    from moxlib.queue.outcome import Deferred, Delivered, Failed, Outcome, Trace, Unknown
    from moxlib.queue.queue import Queue
    from moxlib.queue.reply_class import Classifier, ReplyClass, Rule, read_rules
    from moxlib.queue.routing import Route
    from moxlib.queue.schedule import MOX_SCHEDULE, RetrySchedule
    from moxlib.queue.selection import Cursor, HistoryFilter, MessageFilter, Page, Sort
    from moxlib.queue.sending import SendingLimits, Sent
    from moxlib.queue.shaping import Shaping, ShapingChange, ShapingRules
    from moxlib.queue.sources import Source, SourceSet
    from moxlib.queue.submission import Submission
    from moxlib.queue.suppression import Cause, Evidence, Expiry, Suppression, SuppressionPolicy
    from moxlib.queue.transport import (
        AttachedTransport,
        Content,
        Delivery,
        FailTransport,
        LMTPTransport,
        ManagedTransport,
        Security,
        Services,
        SMTPTransport,
        SubmissionsTransport,
        SubmissionTransport,
        Transport,
    )
    from moxlib.queue.transport.direct import DirectTransport, IPFamily
    from moxlib.queue.types import (
        AttemptResult,
        Event,
        EventType,
        FeedbackResult,
        FeedbackSource,
        HoldRule,
        Message,
        RequireTLS,
        ResultKind,
        Retired,
    )

__all__ = [
    "MOX_SCHEDULE",
    "AccountConfig",
    "AttachedTransport",
    "AttemptResult",
    "Cause",
    "Classifier",
    "Clock",
    "Concurrency",
    "Content",
    "ContentDamaged",
    "Cursor",
    "DSNConfig",
    "DSNRequest",
    "Deferred",
    "Delivered",
    "Delivery",
    "DirectTransport",
    "DomainConfig",
    "Event",
    "EventType",
    "Evidence",
    "Expiry",
    "Explanation",
    "FailTransport",
    "Failed",
    "FeedbackResult",
    "FeedbackSource",
    "Filed",
    "FromIDConfig",
    "HistoryFilter",
    "HoldRule",
    "HookConfig",
    "IPFamily",
    "IdempotencyConflict",
    "IncomingEnvelope",
    "InvalidConnection",
    "InvalidFilter",
    "InvalidSchedule",
    "InvalidSubmission",
    "LMTPTransport",
    "MailboxTransport",
    "ManagedTransport",
    "Message",
    "MessageFilter",
    "MessageLimitReached",
    "MessageTooLarge",
    "NotFeedback",
    "Notify",
    "NullObserver",
    "Observer",
    "Outcome",
    "Page",
    "Queue",
    "QueueClosed",
    "QueueConfig",
    "RecipientDSN",
    "RecipientLimitReached",
    "RecordedFeedback",
    "RecordedResult",
    "ReplyClass",
    "ReportedStatus",
    "RequireTLS",
    "ResultKind",
    "Retired",
    "RetrySchedule",
    "Route",
    "Rule",
    "SMTPTransport",
    "SchemaTooNew",
    "Security",
    "SendingLimits",
    "Sent",
    "Services",
    "Shaping",
    "ShapingChange",
    "ShapingRules",
    "Sort",
    "Source",
    "SourceSet",
    "State",
    "StorageBusy",
    "StorageDamaged",
    "StorageFull",
    "StorageReadOnly",
    "StorageUnavailable",
    "Submission",
    "SubmissionTransport",
    "SubmissionsTransport",
    "Suppression",
    "SuppressionPolicy",
    "SystemClock",
    "TooManyRecipients",
    "Trace",
    "Transport",
    "Unknown",
    "UnknownTransport",
    "WorkerConfig",
    "read_rules",
]

_CONFIG = "AccountConfig DomainConfig QueueConfig WorkerConfig"
_ERRORS = (
    "ContentDamaged IdempotencyConflict InvalidConnection InvalidFilter InvalidSchedule InvalidSubmission "
    "MessageLimitReached MessageTooLarge QueueClosed RecipientLimitReached SchemaTooNew StorageBusy StorageDamaged "
    "StorageFull StorageReadOnly "
    "StorageUnavailable TooManyRecipients UnknownTransport"
)
_FEEDBACK = "IncomingEnvelope RecordedFeedback RecordedResult ReportedStatus"
_TRANSPORT = (
    "AttachedTransport Content Delivery FailTransport LMTPTransport ManagedTransport SMTPTransport Security "
    "Services SubmissionTransport SubmissionsTransport Transport"
)
_TYPES = "AttemptResult Event EventType FeedbackResult FeedbackSource HoldRule Message RequireTLS ResultKind Retired"

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(("Clock", "SystemClock"), ".._clock"),
            **dict.fromkeys(_CONFIG.split(), ".config"),
            **dict.fromkeys(_ERRORS.split(), ".errors"),
            **dict.fromkeys(("Classifier", "ReplyClass", "Rule", "read_rules"), ".reply_class"),
            **dict.fromkeys(("DirectTransport", "IPFamily"), ".transport.direct"),
            **dict.fromkeys(("SendingLimits", "Sent"), ".sending"),
            **dict.fromkeys(("Shaping", "ShapingChange", "ShapingRules"), ".shaping"),
            **dict.fromkeys(("Source", "SourceSet"), ".sources"),
            **dict.fromkeys(("Cause", "Evidence", "Expiry", "Suppression", "SuppressionPolicy"), ".suppression"),
            **dict.fromkeys(_FEEDBACK.split(), ".feedback"),
            **dict.fromkeys(("DSNRequest", "Notify", "RecipientDSN"), ".dsn_request"),
            **dict.fromkeys(("Explanation", "State"), ".explain"),
            **dict.fromkeys(("NullObserver", "Observer"), ".observer"),
            **dict.fromkeys(("MOX_SCHEDULE", "RetrySchedule"), ".schedule"),
            **dict.fromkeys(("Cursor", "HistoryFilter", "MessageFilter", "Page", "Sort"), ".selection"),
            **dict.fromkeys(("Deferred", "Delivered", "Failed", "Outcome", "Trace", "Unknown"), ".outcome"),
            **dict.fromkeys(_TRANSPORT.split(), ".transport"),
            **dict.fromkeys(_TYPES.split(), ".types"),
            **dict.fromkeys(("Filed", "MailboxTransport"), ".notify"),
            "Concurrency": ".congestion",
            "DSNConfig": ".dsn_config",
            "FromIDConfig": ".fromid",
            "HookConfig": ".hooks.config",
            "NotFeedback": ".incoming",
            "Queue": ".queue",
            "Route": ".routing",
            "Submission": ".submission",
        },
    )
