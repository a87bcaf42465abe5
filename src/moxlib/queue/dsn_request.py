"""What a submitter wants of delivery status notifications (RFC 3461): data, checked when it is made."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from moxlib.queue.errors import InvalidSubmission

__all__ = ["DSNRequest", "Notify", "RecipientDSN"]

MAX_ENVID: Final = 100  # characters in xtext (RFC 3461 4.4)
MAX_ORCPT: Final = 500  # characters in xtext, the type included (RFC 3461 4.2)
_printable = re.compile(r"[ -~]*").fullmatch
_orcpt = re.compile(r"[A-Za-z0-9-]+;[ -~\u00a1-\U0010ffff]+").fullmatch
_needs_code = re.compile(r"[^!-*,-<>-~]").findall  # what xtext writes as "+HH" (RFC 3461 4)


class Notify(StrEnum):
    """When a DSN is wanted (RFC 3461 4.1)."""

    NEVER = "NEVER"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    DELAY = "DELAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientDSN:
    """What is wanted for one recipient.

    Attributes:
        notify: when; empty: as the request says for all.
        orcpt: the original recipient, with its type, such as "rfc822;user@example.org"; empty: not given.

    Raises:
        InvalidSubmission: NEVER beside another, or an original recipient that is none.
    """

    notify: tuple[Notify, ...] = ()
    orcpt: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "notify", _checked(self.notify))
        if self.orcpt and not (_orcpt(self.orcpt) and _xtext_length(self.orcpt) <= MAX_ORCPT):
            raise InvalidSubmission(f"an original recipient is `type;address`, not {self.orcpt!a:.100}")


def _no_recipients() -> Mapping[str, RecipientDSN]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DSNRequest:
    """What is wanted for one submission.

    Attributes:
        ret: whether a DSN of a failure returns the message or only its header; empty: as who writes it likes.
        envid: the envelope identifier, which comes back with every DSN; empty: the queue makes one.
        notify: when, for all recipients; empty: as who writes them likes, which is on failure.
        recipients: what differs, by the address as it was submitted.

    Raises:
        InvalidSubmission: something in it cannot stand in SMTP.
    """

    ret: Literal["", "FULL", "HDRS"] = ""
    envid: str = ""
    notify: tuple[Notify, ...] = ()
    recipients: Mapping[str, RecipientDSN] = field(default_factory=_no_recipients)

    def __post_init__(self) -> None:
        object.__setattr__(self, "notify", _checked(self.notify))
        if self.ret not in ("", "FULL", "HDRS"):
            raise InvalidSubmission(f"DSNRequest.ret is FULL, HDRS or empty, not {self.ret!r:.100}")
        if not _printable(self.envid) or _xtext_length(self.envid) > MAX_ENVID:
            text = (
                f"an envelope identifier is at most {MAX_ENVID} characters of printable ASCII (fewer where many need a "
            )
            raise InvalidSubmission(f"{text}code), not {self.envid!a:.100}")

    def notify_for(self, recipient: str) -> str:
        """Return NOTIFY's value for a recipient; empty: none."""
        own = self.recipients.get(recipient)
        return ",".join(own.notify if own is not None and own.notify else self.notify)

    def orcpt_for(self, recipient: str) -> str:
        """Return ORCPT's value for a recipient, not encoded; empty: none."""
        own = self.recipients.get(recipient)
        return own.orcpt if own is not None else ""


def _checked(notify: Iterable[Notify | str]) -> tuple[Notify, ...]:
    try:
        known = tuple([Notify(item) for item in notify])
    except ValueError as error:
        raise InvalidSubmission(f"notify is of {', '.join(Notify)}: {error}") from error
    if Notify.NEVER in known and len(known) > 1:
        raise InvalidSubmission("NEVER stands alone (RFC 3461 4.1)")
    return tuple(dict.fromkeys(known))


def _xtext_length(text: str) -> int:
    return len(text) + 2 * len(_needs_code(text))
