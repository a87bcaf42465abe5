"""Telling senders by mail what became of their messages: delivery status notifications (RFC 3461, RFC 3464).

Of each settlement, `notice_of` decides whether its sender is to be told; `Notifier` reads the header that comes back,
writes the notification, and attaches it to the settlement, so that the same transaction stores both.
"""

from moxlib.queue.notify.decide import Notice, notice_of, operator_notice
from moxlib.queue.notify.mailbox import Filed, MailboxTransport
from moxlib.queue.notify.notifier import Notifier
from moxlib.queue.notify.operators import fail_and_tell
from moxlib.queue.notify.report import notification

__all__ = [
    "Filed",
    "MailboxTransport",
    "Notice",
    "Notifier",
    "fail_and_tell",
    "notice_of",
    "notification",
    "operator_notice",
]
