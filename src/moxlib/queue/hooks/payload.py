"""Events as webhooks: which of them are sent, and what is sent. Pure."""

from types import MappingProxyType

from moxlib.queue.hooks.records import HookPlan, NewHook
from moxlib.queue.types import Event, EventType
from moxlib.webhook import Outgoing, OutgoingEvent, encode

__all__ = ["hook_of_event", "outgoing_event"]

_OUTGOING = MappingProxyType({event.value: event for event in OutgoingEvent})


def outgoing_event(type_: EventType) -> OutgoingEvent | None:
    """Return the event as it is called in webhooks; None: it is of the queue's own, and is not sent."""
    return _OUTGOING.get(type_.value)


def hook_of_event(plan: HookPlan, event: Event) -> NewHook:
    """Return the webhook that tells of an event, to go where a plan says."""
    payload = Outgoing(
        event=event.type.value,
        dsn=event.dsn,
        suppressing=event.suppressing,
        queue_msg_id=event.message,
        from_id=event.from_id,
        message_id=event.message_id,
        subject=event.subject,
        webhook_queued=event.at,
        smtp_code=event.code,
        smtp_enhanced_code=event.enhanced if event.code else "",  # it belongs to a reply
        error="" if event.dsn else event.error,  # as mox; the texts of DSNs are in the history and the event log
        extra=event.extra,
    )
    return NewHook(
        plan=plan,
        account=event.account,
        event=event.type.value,
        payload=encode(payload),
        queued=event.at,
        event_id=event.id,
        message=event.message,
    )
