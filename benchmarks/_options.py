"""What the command line asks of a benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Engine", "Options"]


class Engine(StrEnum):
    """What a queue can be kept in."""

    SQLITE = "sqlite"
    POSTGRES = "postgres"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to measure, and on what."""

    quick: bool = False
    """Few rounds of little work: does it run, not how fast."""
    engines: tuple[Engine, ...] = tuple(Engine)
    """For the benchmarks that are the same on each."""
