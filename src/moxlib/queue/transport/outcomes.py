"""What a server's answers mean for the queue: results of the SMTP client to outcomes. Pure."""

from asyncio import CancelledError
from collections.abc import Mapping
from typing import Any, assert_never

from moxlib._making import maker
from moxlib.errors import MoxlibError
from moxlib.queue.outcome import NO_TRACE, Deferred, Delivered, Failed, Outcome, Trace
from moxlib.queue.outcome import Unknown as UnknownOutcome
from moxlib.smtpclient import (
    Accepted,
    AuthenticationFailed,
    Command,
    CommandTimeout,
    ConnectionLost,
    ExtensionMissing,
    InvalidContent,
    LocalAddressUnusable,
    MessageTooLarge,
    NotSent,
    RecipientResult,
    Refused,
    ReplyError,
    ResponseInjected,
    SMTPConnection,
    SMTPError,
    TLSFailed,
    Unknown,
)

__all__ = [
    "TLS_REQUIRED",
    "TLS_REQUIRED_LATER",
    "as_deferred",
    "as_failed",
    "enhanced_of",
    "is_settled",
    "no_session",
    "outcome_of",
    "tls_of",
    "with_known",
]

TLS_REQUIRED = "5.7.30"
"""RFC 8689 8.1: REQUIRETLS support required."""
TLS_REQUIRED_LATER = "4.7.30"
_make_delivered = maker(Delivered)
_LACKING = {
    "REQUIRETLS": TLS_REQUIRED_LATER,
    "SMTPUTF8": "4.6.7",  # RFC 6531 3.2: non-ASCII addresses not permitted for that recipient
    "8BITMIME": "4.6.3",  # conversion required but not supported
}


def outcome_of(
    result: RecipientResult,
    peer: str,
    trace: Trace = NO_TRACE,
    *,
    offers_dsn: bool | None = None,
    final: bool = False,
) -> Outcome:
    """Return what a recipient's result means; `final`: what the server accepts, it has delivered."""
    match result:
        case Accepted(code=code, enhanced=enhanced):
            return _make_delivered(
                code=code,
                enhanced=enhanced,
                text=_text(result),
                peer=peer,
                trace=trace,
                dsn=offers_dsn,
                final=final,
            )
        case Unknown():
            return UnknownOutcome(text=str(result.error), peer=peer, trace=trace)
        case Refused():
            command = result.command.value
            text = f"{command}: {_text(result)}"
            code, enhanced = result.code, result.enhanced
        case NotSent():
            command, text = "", str(result.error)
            code, enhanced = 0, _enhanced(result)
        case _:
            assert_never(result)
    class_ = Failed if result.permanent else Deferred
    return class_(code=code, enhanced=enhanced, text=text, peer=peer, command=command, trace=trace)


def enhanced_of(error: MoxlibError) -> str:
    """Return the enhanced status code of a failure that no reply tells of (RFC 3463), by its temporary class."""
    match error:
        case MessageTooLarge():
            return "4.3.4"  # message too big for system
        case ExtensionMissing():
            return _LACKING.get(error.extension, "4.5.0")
        case InvalidContent():
            return "4.6.0"  # other media error
        case TLSFailed() | ResponseInjected():
            return "4.7.5"  # cryptographic failure
        case AuthenticationFailed():
            return "4.7.8"  # RFC 4954 6: authentication credentials invalid
        case LocalAddressUnusable():
            return "4.3.5"  # system incorrectly configured: this one
        case ConnectionLost() | CommandTimeout():
            return "4.4.1" if error.command is Command.CONNECT else "4.4.2"  # no answer; bad connection
        case _:
            return "4.5.0"  # other protocol status


def _enhanced(result: NotSent) -> str:
    enhanced = enhanced_of(result.error)
    return f"5{enhanced[1:]}" if result.permanent else enhanced


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
    return Deferred(enhanced=enhanced_of(error), text=str(error), peer=peer, trace=trace)


def as_failed(outcome: Deferred) -> Failed:
    """Return the same, for good."""
    return Failed(**_said(outcome))


def as_deferred(outcome: Failed) -> Deferred:
    """Return the same, for now."""
    return Deferred(**_said(outcome))


def _said(outcome: Deferred | Failed) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in ("text", "code", "enhanced", "peer", "command", "trace")}


def is_settled(outcomes: Mapping[int, Outcome]) -> bool:
    """Say whether a recipient has an outcome that is final: it must not be forgotten, whatever comes of the others."""
    return not all(isinstance(outcome, Deferred) for outcome in outcomes.values())


def with_known(outcomes: Mapping[int, Outcome], count: int, error: BaseException, peer: str = "") -> list[Outcome]:
    """Return the outcomes of all recipients of a delivery that something cut short, as it is for the rest of them.

    What was raised would be taken for the outcome of all.
    """
    what = "it was cancelled" if isinstance(error, CancelledError) else f"{type(error).__name__}: {error}"
    rest = Deferred(text=f"after a transaction for other recipients: {what}", peer=peer)
    return [outcomes.get(index, rest) for index in range(count)]


def tls_of(connection: SMTPConnection) -> str:
    """Return what protects a connection, as the history says it: "tls1.3 dane", or nothing."""
    info = connection.tls_info
    return "" if info is None else f"{info.version} {info.by or 'unverified'}"


def _text(result: Accepted | Refused) -> str:
    """Return what the reply says beside its codes, which the history keeps on their own."""
    texts = [text.removeprefix(result.enhanced).lstrip() for text in result.reply.texts]
    return texts[0] if len(texts) == 1 else " / ".join([text for text in texts if text])
