"""How messages leave: the `Transport` protocol, and the transports that ship with moxlib."""

from moxlib.queue.transport.base import Content, Delivery, ManagedTransport, Transport
from moxlib.queue.transport.fail import FailTransport
from moxlib.queue.transport.smtp import Security, SMTPTransport, SubmissionsTransport, SubmissionTransport

__all__ = [
    "Content",
    "Delivery",
    "FailTransport",
    "ManagedTransport",
    "SMTPTransport",
    "Security",
    "SubmissionTransport",
    "SubmissionsTransport",
    "Transport",
]
