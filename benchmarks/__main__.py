"""`python -m benchmarks [options] NAME...`: print each figure of the named benchmarks as a line of JSON."""

from __future__ import annotations

import argparse
import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import benchmarks
from benchmarks._options import Engine, Options
from benchmarks._report import Figure, emit

if TYPE_CHECKING:
    from collections.abc import Iterable


def names() -> list[str]:
    """Return the benchmarks there are: each is a module with `figures(options)`, which yields `Figure`s."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name[0] != "_")


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--quick", action="store_true", help="few rounds of little work: does it run, not how fast")
    parser.add_argument(
        "--engine",
        choices=[str(engine) for engine in Engine],
        help="what queues are kept in, where that matters; both, one after the other, if not given",
    )
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.names if name not in names()]:
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(names())}")
    engines = (Engine(arguments.engine),) if arguments.engine else tuple(Engine)
    options = Options(quick=arguments.quick, engines=engines)
    for name in arguments.names:
        figures: Iterable[Figure] = import_module(f"benchmarks.{name}").figures(options)
        for figure in figures:
            emit(figure)


if __name__ == "__main__":
    main()
