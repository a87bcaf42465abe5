"""When an address is suppressed, as data: the default rules, and mox's. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self

from moxlib.errors import InputError
from moxlib.queue.reply_class import ReplyClass
from moxlib.queue.suppression.base import BASE_RULES, BaseRules
from moxlib.queue.suppression.feedback import PERMANENT, Failure, Origin, PastKind

__all__ = ["DEFAULT_POLICY", "Expiry", "SuppressionPolicy"]

# Replies that say of themselves that there is no such mailbox, or that nothing will be taken for it.
NO_MAILBOX_CODES: Final = frozenset((521, 550, 551, 553, 556))
# No such mailbox, no such system, bad syntax, moved, disabled, null MX (RFC 3463 3.2 and 3.3, RFC 7505 4.2).
NO_MAILBOX_DETAILS: Final = frozenset(("1.1", "1.2", "1.3", "1.6", "2.1", "1.10"))
# The receiving system, the way to it, and what it thinks of the sender: not the mailbox (RFC 3463 3.4, 3.5, 3.8).
NOT_OF_THE_MAILBOX: Final = frozenset(("3", "4", "7"))
ABOUT_THE_RECIPIENT: Final = frozenset(("RCPT TO", "DATA", "message content", "end of data"))

MAX_IN_A_ROW: Final = 1000  # earlier outcomes are read one by one
LONGEST: Final = timedelta(days=36_500)  # a century, which is "never", and no datetime overflows


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """How long an automatic suppression lasts, and how that grows when the address fails again afterwards.

    Raises:
        InputError: a first duration that is not over 0, a factor under 1, a maximum under the first or over a century.
    """

    first: timedelta = timedelta(days=30)
    factor: float = 2.0
    max: timedelta = timedelta(days=720)

    def __post_init__(self) -> None:
        """Refuse what does not last, or shrinks."""
        if not timedelta(0) < self.first <= self.max <= LONGEST:
            raise InputError("Expiry.first must be over 0, and Expiry.max at least that and at most a century")
        if not 1.0 <= self.factor <= 1e6:  # noqa: PLR2004 - "not" refuses NaN as well
            raise InputError("Expiry.factor must be from 1 to a million")

    def duration(self, repeats: int) -> timedelta:
        """Return how long a suppression lasts, after so many earlier ones: each `factor` times as long as the last."""
        try:
            return min(self.first * self.factor**repeats, self.max)
        except OverflowError:
            return self.max

    def until(self, since: datetime, repeats: int) -> datetime:
        """Return when a suppression that begins now ends."""
        return since + self.duration(repeats)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPolicy:
    """When a failure leads to a suppression, on which address, and for how long.

    The defaults suppress on what says that the mailbox is not there or closed, and on the third failure in a row; not
    on what is about the sender, the way, or the receiving system. `SuppressionPolicy.mox()` is mox's rule.

    Raises:
        InputError: a number of failures in a row that is negative or over 1,000.
    """

    codes: frozenset[int] = NO_MAILBOX_CODES
    """Reply codes that suppress at once without an enhanced code."""
    codes_decide: bool = False
    """These codes suppress whatever the enhanced code beside them is."""
    details: frozenset[str] = NO_MAILBOX_DETAILS
    """Enhanced codes, without their class, that suppress at once with any 5xx."""
    never_subjects: frozenset[str] = NOT_OF_THE_MAILBOX
    """Subjects of enhanced codes (the second number) whose failures say nothing of the recipient: they neither suppress
    nor count."""
    never_classes: frozenset[ReplyClass] = frozenset()
    """Likewise, by what the text of the failure means. Empty by default, since that is a guess from words."""
    commands: frozenset[str] | None = ABOUT_THE_RECIPIENT
    """Commands whose refusal says something of the recipient; None: any."""
    local: bool = False
    """Failures found on this side count like replies."""
    codeless: bool = True
    """A failure without a reply code counts: a DSN may have none."""
    null_mx: bool = True
    """A domain that says that it takes no mail suppresses, though that is found on this side."""
    in_a_row: int = 3
    """So many failures in a row suppress, whatever their codes; 0: never."""
    counted: frozenset[PastKind] = frozenset((PastKind.FAILED, PastKind.BOUNCED))
    """Earlier outcomes that count as failures."""
    ends_row: frozenset[PastKind] = frozenset((PastKind.DELIVERED,))
    """Earlier outcomes before which nothing counts. What is in neither set is passed over."""
    complaints: bool = False
    """An abuse report suppresses."""
    base: BaseRules = BASE_RULES
    """What address a suppression is on."""
    expiry: Expiry | None = None
    """How long it lasts; None: until it is removed."""
    remove_on_success: bool = False
    """A later delivery to the address removes an automatic suppression."""

    def __post_init__(self) -> None:
        """Refuse what cannot be counted."""
        if not 0 <= self.in_a_row <= MAX_IN_A_ROW:
            raise InputError(f"SuppressionPolicy.in_a_row must be from 0 to {MAX_IN_A_ROW}")

    @classmethod
    def mox(cls) -> Self:
        """Return mox's rule: five codes at once, six enhanced codes with any other 5xx, any command, local codes too.

        Of its three failures in a row it counts cancelled and suppressed messages, and no bounces. That it counts those
        of other accounts as well is not in here: pass only this account's.
        """
        return cls(
            codes_decide=True,
            details=frozenset(("1.1", "1.2", "1.3", "1.6", "2.1", "7.1")),
            never_subjects=frozenset(),
            commands=None,
            local=True,
            codeless=False,
            counted=frozenset((PastKind.FAILED, PastKind.CANCELED, PastKind.SUPPRESSED)),
            ends_row=frozenset((PastKind.DELIVERED, PastKind.BOUNCED)),
            base=BaseRules.mox(),
        )

    def says_nothing(self, failure: Failure) -> str:
        """Return why a failure tells nothing about the recipient, in words; "" if it does."""
        if failure.is_null_mx and self.null_mx:
            return ""
        if failure.origin is Origin.LOCAL and not self.local:
            return "it was found on this side"
        if not failure.code and not self.codeless:
            return "it has no code"
        if failure.origin is Origin.REPLY and self.commands is not None and failure.command not in self.commands:
            return "the reply is not about the recipient"
        if failure.subject in self.never_subjects:
            return f"X.{failure.subject}.x is about the receiving system, the way there, or the sender"
        if failure.reply_class in self.never_classes:
            return f"failures of the class {failure.reply_class} are left out"
        return ""

    def at_once(self, failure: Failure) -> str:
        """Return what it is in a failure that suppresses at once, in words; "" if nothing does.

        This is about its codes only; ask `says_nothing` first.
        """
        if failure.is_null_mx and self.null_mx:
            return "the domain says that it takes no mail"
        if failure.code in self.codes and (self.codes_decide or not failure.detail):
            return f"code {failure.code}" + ("" if failure.detail else " without an enhanced code")
        if failure.code in PERMANENT and failure.detail in self.details:
            return f"enhanced code {failure.enhanced} with {failure.code}"
        return ""


DEFAULT_POLICY: Final = SuppressionPolicy()
"""The default rules, without expiry."""
