"""A measured figure, and how one is measured beside its peers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Figure", "compare", "emit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of ours: the median of its rounds, the extremes, and the medians of its peers in the same rounds."""

    name: str
    unit: str
    value: float
    """The median."""
    low: float
    high: float
    peers: dict[str, float] = field(default_factory=dict)
    """For each peer, its median, in the same unit."""
    ratio: dict[str, float] = field(default_factory=dict)
    """For each peer, ours by its: the median of the ratios of each round, which a slow spell of the machine spares."""


def compare(
    ours: Callable[[], float],
    peers: Mapping[str, Callable[[], float]] | None = None,
    rounds: int = 7,
    *,
    name: str,
    unit: str,
) -> Figure:
    """Call `ours` and each of `peers` in turn, `rounds` times, each returning its figure in `unit`."""
    callables = {"": ours, **(peers or {})}
    figures: dict[str, list[float]] = {key: [] for key in callables}
    for _ in range(rounds):
        for key, measure in callables.items():
            figures[key].append(measure())
    mine = figures.pop("")
    return Figure(
        name=name,
        unit=unit,
        value=median(mine),
        low=min(mine),
        high=max(mine),
        peers={key: median(values) for key, values in figures.items()},
        ratio={
            key: median(own / other for own, other in zip(mine, values, strict=True)) for key, values in figures.items()
        },
    )


def emit(figure: Figure) -> None:
    """Print `figure` as a line of JSON, four digits a number."""
    print(json.dumps(_rounded(asdict(figure))), flush=True)


def _rounded(value: object) -> object:
    if isinstance(value, dict):
        return {key: _rounded(one) for key, one in value.items()}
    return float(f"{value:.4g}") if isinstance(value, float) else value
