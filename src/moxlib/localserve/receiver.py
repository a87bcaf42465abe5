"""`LoopbackReceiver`: an HTTP server (aiohttp) on 127.0.0.1 that verifies webhooks, and keeps what they carry."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from moxlib.errors import MissingExtra, StateError
from moxlib.webhook import MAX_BODY, ReceivedItem, Secret, WebhookError, receive

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["LoopbackReceiver"]


class LoopbackReceiver:
    """A receiver of webhooks on loopback, as an async context manager; the system chooses its port.

        async with LoopbackReceiver(secrets=[secret]) as receiver:
            config = QueueConfig(webhook=HookConfig(url=receiver.url, secrets=(secret,), allow_private=True))

    Args:
        secrets: one of them has to have signed a call; none: calls of anybody are taken.

    Raises:
        MissingExtra: aiohttp is not installed.
    """

    def __init__(self, *, secrets: Sequence[Secret | str] = ()) -> None:
        try:
            from aiohttp import web  # noqa: PLC0415 - an extra: missing, it is reported here and not on import
        except ModuleNotFoundError as error:
            raise MissingExtra("localserve", "a receiver of webhooks on loopback") from error
        self._application = web.Application(client_max_size=MAX_BODY)
        self._application.router.add_post("/webhook", self._call)
        self._runner = web.AppRunner(self._application, access_log=None, shutdown_timeout=1.0)
        self._new_site = web.TCPSite
        self._respond = web.Response
        self._secrets = tuple(secrets)
        self._items: list[ReceivedItem] = []
        self._refused: list[str] = []
        self._changed = asyncio.Condition()
        self._port: int | None = None

    @property
    def url(self) -> str:
        """Where calls go.

        Raises:
            StateError: it is not running.
        """
        if self._port is None:
            raise StateError("the receiver is not running: use it inside `async with`")
        return f"http://127.0.0.1:{self._port}/webhook"

    @property
    def received(self) -> tuple[ReceivedItem, ...]:
        """What came in verified calls, in order, each time that it came."""
        return tuple(self._items)

    @property
    def refused(self) -> tuple[str, ...]:
        """Why other calls were refused."""
        return tuple(self._refused)

    async def wait_for(self, count: int) -> tuple[ReceivedItem, ...]:
        """Return what came, once that is `count` at least."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self._items) >= count)
        return self.received

    async def __aenter__(self) -> Self:
        """Listen."""
        await self._runner.setup()
        await self._new_site(self._runner, "127.0.0.1", 0).start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop listening."""
        self._port = None
        await self._runner.cleanup()

    async def _call(self, request: "web.Request") -> "web.Response":
        body = await request.read()
        try:
            call = receive(request.headers, body, secrets=self._secrets, unverified=not self._secrets)
        except WebhookError as error:
            self._refused.append(str(error))
            return self._respond(status=error.status, text=f"{error}\n")
        async with self._changed:
            self._items += call.items
            self._changed.notify_all()
        return self._respond(text="taken\n")
