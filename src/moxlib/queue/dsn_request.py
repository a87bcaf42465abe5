"""What a submitter wants of delivery status notifications (RFC 3461): data, checked when it is made."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final, Literal

from moxlib.errors import InputError
from moxlib.queue.errors import InvalidSubmission
from moxlib.smtpclient import DSNParameters, RecipientParameters

__all__ = ["NO_REQUEST", "DSNRequest", "Notify", "RecipientDSN"]


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
        with _as_submission():
            object.__setattr__(self, "notify", _known(self.notify))
            RecipientParameters(notify=self.notify, orcpt=self.orcpt)


def _no_recipients() -> Mapping[str, RecipientDSN]:
    return MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class DSNRequest:
    """What is wanted for one submission.

    Attributes:
        ret: whether a DSN of a failure returns the message or only its header; empty: as who writes it likes.
        envid: the envelope identifier, which comes back with every DSN; empty: the queue makes one.
        notify: when, for all recipients; empty: as who writes them likes, which is on failure.
        recipients: what differs, by the address as it was submitted, or in its ASCII form.

    Raises:
        InvalidSubmission: something in it cannot stand in SMTP.
    """

    ret: Literal["", "FULL", "HDRS"] = ""
    envid: str = ""
    notify: tuple[Notify, ...] = ()
    recipients: Mapping[str, RecipientDSN] = field(default_factory=_no_recipients)

    def __post_init__(self) -> None:
        with _as_submission():
            object.__setattr__(self, "notify", _known(self.notify))
            RecipientParameters(notify=self.notify)
            DSNParameters(ret=self.ret or None, envid=self.envid)
        if not all(isinstance(wish, RecipientDSN) for wish in self.recipients.values()):
            raise InvalidSubmission("what differs for a recipient is a RecipientDSN")
        object.__setattr__(self, "recipients", MappingProxyType(dict(self.recipients)))

    def notify_for(self, recipient: str) -> str:
        """Return NOTIFY's value for a recipient; empty: none."""
        own = self.recipients.get(recipient)
        return ",".join(own.notify if own is not None and own.notify else self.notify)

    def orcpt_for(self, recipient: str) -> str:
        """Return ORCPT's value for a recipient, not encoded; empty: none."""
        own = self.recipients.get(recipient)
        return own.orcpt if own is not None else ""


@contextmanager
def _as_submission() -> Iterator[None]:
    """Let what cannot stand in SMTP be told as what the submitter gave."""
    try:
        yield
    except InputError as error:
        raise InvalidSubmission(str(error)) from error


def _known(notify: Iterable[Notify | str]) -> tuple[Notify, ...]:
    """Return the values as such, each once."""
    try:
        return tuple(dict.fromkeys([Notify(item) for item in notify]))
    except ValueError as error:
        raise InputError(f"notify is of {', '.join(Notify)}: {error}") from error


NO_REQUEST: Final = DSNRequest()
"""Nothing is asked."""
