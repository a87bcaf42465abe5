"""A deliverer that stops where it stands, once, after a statement of a certain kind; the server waits for the next."""

import asyncio
import os
import signal
from typing import Any

import psycopg
from tests.crash.programs import deliverer
from tests.crash.programs.mail import Settings, be_quiet
from tests.crash.programs.steps import said


def stop_after(statement: str) -> None:
    """Have the process stopped after the first statement that begins so."""
    done = False

    def watch(name: str) -> None:
        original = getattr(psycopg.Cursor, name)

        def watched(cursor: Any, sql: str | bytes, *args: Any, **options: Any) -> Any:
            nonlocal done
            result = original(cursor, sql, *args, **options)
            if said(sql).startswith(statement) and not done:
                done = True
                os.kill(os.getpid(), signal.SIGSTOP)
            return result

        setattr(psycopg.Cursor, name, watched)

    for name in ("execute", "executemany"):
        watch(name)


if __name__ == "__main__":
    be_quiet()
    given = Settings.given()
    stop_after(given.stop_at)
    asyncio.run(deliverer.main(given))
