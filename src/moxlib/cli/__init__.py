"""The command `moxlib`; needs the extra `localserve`.

This module alone loads without it, to say so.
"""

import sys
from collections.abc import Sequence

from moxlib.errors import MissingExtra, MoxlibError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Args:
        arguments: without the program's name; None takes those of the process.

    Raises:
        SystemExit: how click ends a command that ran, with the same meaning.
    """
    try:
        try:
            import click  # noqa: F401, PLC0415 - an extra: missing, it is reported here
        except ModuleNotFoundError as error:
            raise MissingExtra("localserve", "the command line") from error
        from moxlib.cli.commands import root  # noqa: PLC0415 - it needs click

        root.main(args=None if arguments is None else list(arguments), prog_name="moxlib")
    except MoxlibError as error:
        sys.stderr.write(f"moxlib: {error}\n")
        return 1
