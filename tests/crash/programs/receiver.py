"""A receiver of webhooks that is a log: what is written there, it has got."""

import asyncio
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from types import TracebackType
from typing import Self

from tests.crash.programs.mail import Log, Settings

from moxlib.queue.hooks import CallResult, HookConfig, Retry, Success
from moxlib.webhook import Call

__all__ = ["LogCaller"]


class LogCaller:
    """Stands where the HTTP caller does; some first attempts fail after the receiver has got them, if it defers."""

    def __init__(self, settings: Settings, step: Callable[[str], None] = lambda _: None) -> None:
        self._log = Log(settings.log)
        self._settings = settings
        self._step = step
        self._random = Random(os.getpid())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    async def call(self, config: HookConfig, call: Call) -> CallResult:
        started = datetime.now(UTC)
        self._step("before the receiver is called")
        await asyncio.sleep(self._random.uniform(0, self._settings.pause))
        [id_] = call.ids
        payload = json.loads(call.body)
        self._log.write(
            webhook=id_,
            attempt=call.attempt,
            message=payload["QueueMsgID"],
            event=payload["Event"],
            at=payload["WebhookQueued"],
            url=config.url,
            pid=os.getpid(),
        )
        self._step("after the receiver has it")
        await asyncio.sleep(self._random.uniform(0, self._settings.pause))
        good = not self._settings.defer or id_ % 7 or call.attempt > 1
        return CallResult(
            started=started,
            duration=timedelta(0),
            status=200 if good else 500,
            verdict=Success() if good else Retry(),
            error="" if good else "HTTP status 500",
        )
