"""`manage.py moxlib_worker`: deliver what is queued."""

import asyncio
from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from moxlib.contrib.django.database import find
from moxlib.contrib.django.options import Options
from moxlib.contrib.django.transports import transports_of_settings
from moxlib.errors import MoxlibError
from moxlib.queue import Queue

__all__ = ["Command"]


class Command(BaseCommand):
    """Deliver the mail in the queue, until SIGTERM or SIGINT; then finish what is under way, and leave the rest."""

    help = "Delivers the mail in the queue, until SIGTERM or SIGINT; then finishes what is under way."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Take a queue other than the setting's."""
        parser.add_argument("--queue", help="the queue's path or postgresql:// URL, instead of the settings'")
        parser.add_argument("--database", help="the alias of the database that the queue is in, likewise")
        parser.add_argument("--schema", help="the schema of the queue in PostgreSQL, likewise")

    def handle(self, *_: Any, **given: Any) -> None:
        """Run."""
        try:
            options = Options.read(**{name: given[name] for name in ("queue", "database", "schema")})
            place = find(options)
            named = options.load_transports()
            transports = transports_of_settings() if named is None else named
            queue = Queue.open(
                place.target,
                schema=place.schema,
                connections=options.connections,
                transports=transports,
                config=options.load_config(),
            )
            asyncio.run(self._work(queue, ", ".join(transports), say=given["verbosity"] > 0))
        except (ImproperlyConfigured, MoxlibError) as error:
            raise CommandError(str(error)) from error

    async def _work(self, queue: Queue, transports: str, *, say: bool) -> None:
        async with queue:
            if say:
                self.stdout.write(f"moxlib delivers by: {transports}")
            await queue.run_worker()
        if say:
            self.stdout.write("moxlib has stopped; what is left stays queued")
