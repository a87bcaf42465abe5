"""What was seen of a recipient: how a message failed, complaints, and how earlier messages ended. Pure data."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.types import AttemptResult, EventType, FeedbackResult, ResultKind

__all__ = ["Complaint", "Failure", "Feedback", "Origin", "Past", "PastKind", "diagnostic_codes", "past_of", "shown"]

MAX_COMMAND: Final = 50  # characters; the longest that we send is "message content"
PERMANENT: Final = range(500, 600)
NULL_MX_CODE: Final = 556  # RFC 7504 4
NULL_MX_DETAIL: Final = "1.10"  # RFC 7505 4.2

# RFC 3463 2: no leading zeros, up to three digits. Anything else says nothing.
_enhanced_code = re.compile(r"[245]\.((?:0|[1-9][0-9]{0,2})\.(?:0|[1-9][0-9]{0,2}))").fullmatch
_diagnostic = re.compile(r"([2-5][0-9]{2})[ -](?:([245]\.[0-9]{1,3}\.[0-9]{1,3})(?![^\s]))?").match


class Origin(StrEnum):
    """Where it was found out that a message failed."""

    REPLY = "reply"
    """The next server refused a command."""
    DSN = "dsn"
    """A delivery status notification says so."""
    LOCAL = "local"
    """On this side: names that are not there, connections, TLS, configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A message failed for one recipient, for good or at the end of its schedule.

    Texts are a peer's, and as it wrote them; what keeps them bounds and escapes them.
    """

    origin: Origin
    code: int = 0
    """The reply code; of a DSN, that in its Diagnostic-Code, else 400 or 500 by its Status; 0: none."""
    enhanced: str = ""
    """The enhanced status code with its class, from the same place; "" for none."""
    command: str = ""
    """What the reply answered, as `Failed.command` says: "RCPT TO", "DATA", "end of data", "MAIL FROM"..."""
    text: str = ""
    reply_class: ReplyClass | None = None

    @classmethod
    def of_attempt(cls, result: AttemptResult) -> Self:
        """Return what the last attempt of a message says."""
        return cls(
            origin=Origin.REPLY if result.command else Origin.LOCAL,
            code=result.code,
            enhanced=result.enhanced,
            command=result.command,
            text=result.text,
            reply_class=result.reply_class,
        )

    @classmethod
    def of_feedback(cls, result: FeedbackResult) -> Self:
        """Return what a DSN, or a bounce of another form, says."""
        return cls(
            origin=Origin.DSN,
            code=result.code,
            enhanced=result.enhanced,
            text=result.text,
            reply_class=result.reply_class,
        )

    @property
    def detail(self) -> str:
        """The enhanced code without its class, `"1.1"`; "" if there is none, or one that is none by RFC 3463."""
        match = _enhanced_code(self.enhanced)
        return match[1] if match else ""

    @property
    def subject(self) -> str:
        """The subject of the enhanced code, `"7"` for security or policy; "" if there is none."""
        return self.detail.partition(".")[0]

    @property
    def is_permanent(self) -> bool:
        """Whether the reply code is a 5xx."""
        return self.code in PERMANENT

    @property
    def is_null_mx(self) -> bool:
        """Whether it was found here that the domain says that it takes no mail (RFC 7505)."""
        return self.origin is Origin.LOCAL and self.code == NULL_MX_CODE and self.detail == NULL_MX_DETAIL

    @property
    def summary(self) -> str:
        """Where from, the codes and the command: `reply 550 5.1.1 to RCPT TO`."""
        codes = " ".join([part for part in (str(self.code or ""), self.enhanced if self.detail else "") if part])
        to = f" to {shown(self.command, MAX_COMMAND)}" if self.command else ""
        return f"{self.origin} {codes or 'without a code'}{to}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """The recipient called a message spam: an abuse report (RFC 5965) says so."""

    text: str = ""


Feedback = Failure | Complaint


class PastKind(StrEnum):
    """How an earlier message to the recipient ended."""

    DELIVERED = "delivered"
    FAILED = "failed"
    BOUNCED = "bounced"
    """It was delivered to the next server, and a DSN said later that it failed."""
    CANCELED = "canceled"
    SUPPRESSED = "suppressed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """An earlier message of this account to the recipient."""

    kind: PastKind
    failure: Failure | None = None
    """How it failed, where that is still known."""


def past_of(event: EventType, results: Sequence[AttemptResult], feedback: Sequence[FeedbackResult] = ()) -> Past:
    """Return how a message of the history ended.

    Args:
        event: the event it ended with.
        results: its attempts, in order.
        feedback: what came in about it later, in order.
    """
    bounces = [result for result in feedback if result.event is EventType.FAILED]
    if event is EventType.DELIVERED and bounces:
        return Past(kind=PastKind.BOUNCED, failure=Failure.of_feedback(bounces[-1]))
    last = results[-1] if results else None
    match event:
        case EventType.DELIVERED:
            return Past(kind=PastKind.DELIVERED)
        case EventType.SUPPRESSED:
            return Past(kind=PastKind.SUPPRESSED)
        case EventType.FAILED if last is None or last.kind is not ResultKind.CANCELED:
            return Past(kind=PastKind.FAILED, failure=None if last is None else Failure.of_attempt(last))
        case _:
            return Past(kind=PastKind.CANCELED)


def diagnostic_codes(text: str) -> tuple[int, str]:
    """Return the reply code and the enhanced code that a reply's text begins with, as in a DSN's Diagnostic-Code.

    `"550 5.1.1 no such user"` gives 550 and "5.1.1". A reply code alone, without a text, is not taken for one; nor are
    numbers that no server answers with. What is not there is 0 and "".
    """
    match = _diagnostic(text)
    return (int(match[1]), match[2] or "") if match else (0, "")


def shown(text: str, limit: int) -> str:
    """Return a text of a peer bounded, with what is not printable escaped; what this returned stays as it is."""
    text = text[:limit]
    if text.isprintable():
        return text
    return "".join(map(_escaped, text))[:limit]


def _escaped(char: str) -> str:
    if char.isprintable():
        return char
    return " " if unicodedata.category(char) == "Zs" else char.encode("unicode_escape").decode("ascii")
