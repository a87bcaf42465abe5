"""The suppression list: addresses that the account's messages are not sent to."""

from dataclasses import dataclass
from datetime import datetime

from moxlib.webapi.types._checks import check_number, check_time

__all__ = [
    "Suppression",
    "SuppressionAddRequest",
    "SuppressionAddResult",
    "SuppressionListRequest",
    "SuppressionListResult",
    "SuppressionPresentRequest",
    "SuppressionPresentResult",
    "SuppressionRemoveRequest",
    "SuppressionRemoveResult",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """An address that the account's messages are not sent to.

    Raises:
        InputError: an id that has no room in 64 bits, or a time without a zone.
    """

    id: int
    created: datetime
    account: str
    base_address: str
    """What addresses are compared by: without what follows a separator, and with other spellings made alike."""
    original_address: str
    """The address that led to it."""
    manual: bool = False
    """Whether it was added on purpose, and not by what became of messages."""
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse what has no JSON."""
        check_number(self, "id")
        check_time(self, "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionListRequest:
    """Ask for the account's suppressions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionListResult:
    """The account's suppressions."""

    suppressions: tuple[Suppression, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionAddRequest:
    """Have an address suppressed."""

    email_address: str
    manual: bool = False
    """Whether to list it as added on purpose."""
    reason: str = ""
    """For those who read the list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionAddResult:
    """The address is suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRemoveRequest:
    """Have an address no longer suppressed."""

    email_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionRemoveResult:
    """The address is not suppressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPresentRequest:
    """Ask whether an address is suppressed."""

    email_address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SuppressionPresentResult:
    """Whether the address is suppressed."""

    present: bool
