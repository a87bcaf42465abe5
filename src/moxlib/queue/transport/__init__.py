"""How messages leave: the `Transport` protocol, and the transports that ship with moxlib.

`DirectTransport` is in `direct`, so that who only relays does not load what it needs.
"""

from moxlib.queue.transport.base import AttachedTransport, Content, Delivery, ManagedTransport, Services, Transport
from moxlib.queue.transport.fail import FailTransport
from moxlib.queue.transport.smtp import (
    LMTPTransport,
    Security,
    SMTPTransport,
    SubmissionsTransport,
    SubmissionTransport,
)

__all__ = [
    "AttachedTransport",
    "Content",
    "Delivery",
    "FailTransport",
    "LMTPTransport",
    "ManagedTransport",
    "SMTPTransport",
    "Security",
    "Services",
    "SubmissionTransport",
    "SubmissionsTransport",
    "Transport",
]
