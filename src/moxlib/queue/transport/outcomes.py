"""What a server's answers mean for the queue: results of the SMTP client to outcomes. Pure."""

from typing import assert_never

from moxlib.queue.types import NO_TRACE, Deferred, Delivered, Failed, Outcome, Trace
from moxlib.queue.types import Unknown as UnknownOutcome
from moxlib.smtpclient import (
    Accepted,
    ExtensionMissing,
    NotSent,
    RecipientResult,
    Refused,
    ReplyError,
    SMTPConnection,
    SMTPError,
    Unknown,
)

__all__ = ["TLS_REQUIRED", "as_deferred", "as_failed", "no_session", "outcome_of", "tls_of"]

TLS_REQUIRED = "5.7.30"
"""RFC 8689 8.1: REQUIRETLS support required."""
_TLS_REQUIRED_LATER = "4.7.30"
_FAILED = 554
_NOT_NOW = 454


def outcome_of(result: RecipientResult, peer: str, trace: Trace = NO_TRACE) -> Outcome:
    """Return what a recipient's result means."""
    match result:
        case Accepted():
            return Delivered(code=result.code, enhanced=result.enhanced, text=_text(result), peer=peer, trace=trace)
        case Unknown():
            return UnknownOutcome(text=str(result.error), peer=peer, trace=trace)
        case Refused():
            command = result.command.value
            text = f"{command}: {_text(result)}"
            code, enhanced = result.code, result.enhanced
        case NotSent():
            command, text = "", str(result.error)
            code, enhanced = _local_code(result)
        case _:
            assert_never(result)
    class_ = Failed if result.permanent else Deferred
    return class_(code=code, enhanced=enhanced, text=text, peer=peer, command=command, trace=trace)


def _local_code(result: NotSent) -> tuple[int, str]:
    """Return the codes of a failure that was found here; most have none."""
    if isinstance(result.error, ExtensionMissing) and result.error.extension == "REQUIRETLS":
        return (_FAILED, TLS_REQUIRED) if result.permanent else (_NOT_NOW, _TLS_REQUIRED_LATER)
    return result.code, result.enhanced


def no_session(error: SMTPError, peer: str, trace: Trace = NO_TRACE) -> Deferred:
    """Return the outcome of a session that never began, as a temporary one."""
    if isinstance(error, ReplyError):
        reply = error.reply
        return Deferred(
            code=reply.code,
            enhanced=reply.enhanced,
            text=str(error),
            peer=peer,
            command=error.command.value,
            trace=trace,
        )
    return Deferred(text=str(error), peer=peer, trace=trace)


def as_failed(outcome: Deferred) -> Failed:
    """Return the same, for good."""
    return Failed(
        code=outcome.code,
        enhanced=outcome.enhanced,
        text=outcome.text,
        peer=outcome.peer,
        command=outcome.command,
        trace=outcome.trace,
    )


def as_deferred(outcome: Failed) -> Deferred:
    """Return the same, for now."""
    return Deferred(
        code=outcome.code,
        enhanced=outcome.enhanced,
        text=outcome.text,
        peer=outcome.peer,
        command=outcome.command,
        trace=outcome.trace,
    )


def tls_of(connection: SMTPConnection) -> str:
    """Return what protects a connection, as the history says it: "tls1.3 dane", or nothing."""
    info = connection.tls_info
    return "" if info is None else f"{info.version} {info.by or 'unverified'}"


def _text(result: Accepted | Refused) -> str:
    """Return what the reply says beside its codes, which the history keeps on their own."""
    texts = (text.removeprefix(result.enhanced).lstrip() for text in result.reply.texts)
    return " / ".join(text for text in texts if text)
