"""What the types see to when they are made."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from moxlib.errors import InputError

__all__ = ["INT64", "check_number", "check_time", "keep_mapping", "nothing"]

INT64: Final = range(-(2**63), 2**63)  # what numbers are in mox


def nothing() -> Mapping[str, str]:
    """Return an empty mapping that stays so."""
    return MappingProxyType({})


def keep_mapping(record: object, name: str) -> None:
    """Give a record a mapping of its own."""
    object.__setattr__(record, name, MappingProxyType(dict(getattr(record, name))))


def check_number(record: object, name: str) -> None:
    """Refuse a number that JSON is not to have.

    Raises:
        InputError: it has no room in 64 bits.
    """
    if getattr(record, name) not in INT64:
        raise InputError(f"{type(record).__name__}.{name} has no room in 64 bits")


def check_time(record: object, name: str) -> None:
    """Refuse a time that may mean several; None is none.

    Raises:
        InputError: it has no zone.
    """
    time = getattr(record, name)
    if time is not None and time.tzinfo is None:
        raise InputError(f"{type(record).__name__}.{name} must be an aware datetime")
