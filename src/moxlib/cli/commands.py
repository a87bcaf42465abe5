"""The subcommands of `moxlib`: what they are called and what they take."""

import asyncio
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import click

from moxlib import __version__
from moxlib.cli.demo.load import Sample, load, shipped
from moxlib.errors import InputError, MissingExtra

__all__ = ["demo", "root"]


def _server(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, int, int] | None:
    """Read `HOST:PORT:BACK`."""
    if value is None:
        return None
    host, _, ports = value.partition(":")
    port, _, back = ports.partition(":")
    if not (host and port.isdecimal() and back.isdecimal()):
        raise click.BadParameter(f"{value!r} is not HOST:PORT:BACK")
    return host, int(port), int(back)


@click.group()
@click.version_option(__version__, message="moxlib %(version)s")
def root() -> None:
    """Tools around moxlib, the outgoing mail queue to embed."""


@root.command()
@click.argument("mail", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--recipients",
    type=click.IntRange(4, 10_000),
    default=8,
    show_default=True,
    help="How many recipients each message goes to.",
)
@click.option(
    "--keep",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Keep the queue's files in this directory, to look at them afterwards.",
)
@click.option(
    "--bounce-server",
    callback=_server,
    metavar="HOST:PORT:BACK",
    help="Get a bounce from this mail server, which takes mail for later.example, cannot deliver it, and "
    "sends mail for demo.example to port BACK of this machine; without it, the demo has a server of its own for that.",
)
def demo(mail: Path | None, recipients: int, keep: Path | None, bounce_server: tuple[str, int, int] | None) -> None:
    """Watch a queue deliver, retry, hold and give up, suppress, hear of a bounce, and tell of all of it.

    MAIL is a directory of .eml files, a single one, or an mbox file; without it, messages that come with moxlib are
    used. They go through a queue of their own to SMTP servers on this machine; nothing leaves it.

    Exits with 0 only if every message ended as planned, the servers received it once and unchanged, and what came back
    was matched and told.
    """
    for module in ("aiosmtpd", "aiohttp", "rich"):
        if find_spec(module) is None:
            raise MissingExtra("localserve", "moxlib demo")
    try:
        samples = shipped() if mail is None else load(mail)
    except InputError as error:
        raise click.BadParameter(str(error), param_hint="MAIL") from error
    if keep is not None:
        sys.exit(_run(samples, recipients, _new_queue_file(keep), bounce_server, kept=True))
    with TemporaryDirectory(prefix="moxlib-demo-") as directory:
        sys.exit(_run(samples, recipients, Path(directory, "demo.db"), bounce_server, kept=False))


def _new_queue_file(directory: Path) -> Path:
    path = directory / "demo.db"
    if path.exists():
        raise click.BadParameter(f"{path} exists already", param_hint="--keep")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.BadParameter(f"{directory}: {error.strerror or error}", param_hint="--keep") from error
    return path


def _run(
    samples: tuple[Sample, ...], recipients: int, path: Path, server: tuple[str, int, int] | None, *, kept: bool
) -> int:
    from moxlib.cli.demo.run import BounceServer, run  # noqa: PLC0415 - it needs what was only just found to be there
    from moxlib.cli.demo.show import display, printable  # noqa: PLC0415

    bounces = None if server is None else BounceServer(host=server[0], port=server[1], returns_to=server[2])
    with display() as show:
        story = asyncio.run(run(samples, recipients=recipients, path=path, show=show, bounces=bounces))
    for line in story.lines():
        click.echo(printable(line))
    if kept:
        click.echo(f"The queue is kept in {path}.")
    return 1 if story.problems() else 0
