"""What became of each recipient of one transaction, and of the connection. No I/O.

A recipient's result is one of four, and nothing guesses:

- `Accepted`: the peer took responsibility for it (RFC 5321 4.2.5).
- `Refused`: the peer said no, to this recipient or to the whole transaction.
- `NotSent`: it is certain that the peer did not get the message, though no reply says so: a local fault, or the
  connection ended before the whole message went out, with the final dot or by BDAT.
- `Unknown`: the whole message went out and no reply to it came, or none that says yes or no, so it may have been
  delivered.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, TypeAlias

if TYPE_CHECKING:
    from moxlib.errors import MoxlibError
    from moxlib.smtpclient.errors import SMTPError
    from moxlib.smtpclient.reply import Command, Reply

__all__ = ["Accepted", "DeliveryResult", "NotSent", "RecipientResult", "Refused", "Unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The peer has the message for `recipient`; `reply` is its answer to the end of the message."""

    recipient: str
    reply: "Reply"

    permanent: ClassVar[bool] = False

    @property
    def code(self) -> int:
        """The reply's code: 250, or another of its class."""
        return self.reply.code

    @property
    def enhanced(self) -> str:
        """The reply's enhanced code, such as "2.0.0", or nothing."""
        return self.reply.enhanced

    @property
    def lines(self) -> tuple[str, ...]:
        """The reply's lines, escaped."""
        return self.reply.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The peer refused: `reply` answered `command`.

    Attributes:
        command: RCPT for this recipient alone; MAIL, DATA, END_OF_DATA, ... for all that had been accepted until then.
        permanent: whether a later attempt must be expected to fail too. A 552 of `further_transaction` is not
            (RFC 5321 4.5.3.1.10); any other says that the mailbox is full.
        further_transaction: the peer takes no more recipients in this transaction (452 or 552 to other than the
            first, which had another answer): send to this one in a further transaction at once, it is not a failed
            attempt.
    """

    recipient: str
    command: "Command"
    reply: "Reply"
    permanent: bool
    further_transaction: bool = False

    @property
    def code(self) -> int:
        """The reply's code."""
        return self.reply.code

    @property
    def enhanced(self) -> str:
        """The reply's enhanced code, such as "5.1.1", or nothing."""
        return self.reply.enhanced

    @property
    def lines(self) -> tuple[str, ...]:
        """The reply's lines, escaped."""
        return self.reply.lines


@dataclass(frozen=True, slots=True, kw_only=True)
class NotSent:
    """The message did not reach the peer for `recipient`, and no reply says why: `error` does.

    Attributes:
        command: what was under way.
        local: the failure was made here (the peer lacks an extension, the content cannot be sent), without asking.
        permanent: whether a later attempt must be expected to fail too.
    """

    recipient: str
    command: "Command"
    error: "MoxlibError"
    local: bool
    permanent: bool = False

    code: ClassVar[int] = 0
    enhanced: ClassVar[str] = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What the peer said instead of a reply, if it did; escaped."""
        lines: tuple[str, ...] = getattr(self.error, "lines", ())
        return lines


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """The whole message went out, and then the connection failed: `recipient` may have it, or not."""

    recipient: str
    error: "SMTPError"

    permanent: ClassVar[bool] = False
    code: ClassVar[int] = 0
    enhanced: ClassVar[str] = ""

    @property
    def lines(self) -> tuple[str, ...]:
        """What the peer said instead of a reply, if it did; escaped."""
        lines: tuple[str, ...] = getattr(self.error, "lines", ())
        return lines


RecipientResult: TypeAlias = Accepted | Refused | NotSent | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryResult:
    """One transaction's outcome.

    Attributes:
        recipients: one result each, in the order given.
        rcpt_replies: what the peer answered to each RCPT TO, in the same order; None where nothing was.
        usable: whether the connection can carry another transaction.
        answered: whether the peer answered any command of this transaction, or may have the message without. If it did
            not, and `usable` is false, the connection had ended before: trying again at once on a new one is no second
            attempt.
        chunking_refused: the peer offered CHUNKING and does not know BDAT. Nothing can follow on this connection, and
            nobody has the message: try again at once on a new one, with `chunking=False`.
    """

    recipients: tuple[RecipientResult, ...]
    rcpt_replies: "tuple[Reply | None, ...]"
    usable: bool
    answered: bool
    chunking_refused: bool = False
