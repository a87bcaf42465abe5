"""A server of the webapi in a process of its own: `python -m benchmarks._webapi_server PLACE`.

It has a queue in PLACE, one account without limits, and no worker: what is measured is sending, not delivery. It prints
its port, and serves until its input ends.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Self

import uvicorn

from moxlib.dns import parse_domain
from moxlib.queue import Queue
from moxlib.smtp import parse_address
from moxlib.webapi.accounts import Account, SenderAddress, SenderDomain
from moxlib.webapi.asgi import asgi_app
from moxlib.webapi.configured_accounts import ConfiguredAccount, ConfiguredAccounts
from moxlib.webapi.password_hash import PasswordHash, hash_password
from moxlib.webapi.service import Service

if TYPE_CHECKING:
    from types import TracebackType

LOGIN = "mjl@client.example"
PASSWORD = "test1234test"
STOP_SECONDS = 10


async def serve(place: str) -> None:
    """Serve until the input ends."""
    # With the protocol named, as asyncio sends answers without delay on such sockets alone.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        print(listening.getsockname()[1], flush=True)
        async with Queue.open(place) as queue:
            app = asgi_app(Service(queue, accounts()))
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off"))
            serving = asyncio.create_task(server.serve(sockets=[listening]))
            await asyncio.to_thread(sys.stdin.buffer.read)
            server.should_exit = True
            await serving


def accounts() -> ConfiguredAccounts:
    """Return the account, with the password's hash as it is by default: it is checked once, and remembered."""
    address, domain = parse_address(LOGIN), parse_domain("client.example")
    account = Account(
        name="mjl",
        addresses=(SenderAddress(domain=domain, localpart=address.localpart.value),),
        domains={domain.ascii: SenderDomain(domain=domain)},
        max_messages_per_day=None,
        max_first_time_recipients_per_day=None,
    )
    return ConfiguredAccounts(
        [ConfiguredAccount(account=account, password=PasswordHash.parse(hash_password(PASSWORD)))]
    )


class Server:
    """Runs one: `with Server(place) as server:`."""

    def __init__(self, place: str) -> None:
        self._place = place

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks._webapi_server", self._place]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port: int = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, class_: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._process.communicate("", timeout=STOP_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1]))
