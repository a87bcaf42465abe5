"""A webapi with an account in it, and the ways to it: its methods themselves, over a Unix socket, and over HTTP."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import aiohttp
import uvicorn

from moxlib.dkim import PrivateKey, Selector, Signer, generate_ed25519_key, record_for
from moxlib.dns import parse_domain
from moxlib.message import read_message
from moxlib.queue import FromIDConfig, Message, Queue, QueueConfig
from moxlib.smtp import parse_address
from moxlib.testing import FakeClock, MemoryStorage, MockResolver
from moxlib.webapi import Client, Methods
from moxlib.webapi.accounts import Account, LoggedIn, SenderAddress, SenderDomain
from moxlib.webapi.asgi import asgi_app, peer_address
from moxlib.webapi.configured_accounts import ConfiguredAccount, ConfiguredAccounts
from moxlib.webapi.mailbox import Mailbox
from moxlib.webapi.password_hash import PasswordHash, Scrypt, hash_password
from moxlib.webapi.service import Service
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

if TYPE_CHECKING:
    from starlette.types import ASGIApp

PASSWORD = "correct horse"
LOGIN = "me@here.example"
WAYS = ("service", "app", "http")
Way = Literal["service", "app", "http"]


@cache
def key() -> PrivateKey:
    return generate_ed25519_key()


@cache
def password() -> PasswordHash:
    return PasswordHash.parse(hash_password(PASSWORD, Scrypt(log_n=4, p=1)))  # quick: it is not hidden here


def resolver() -> MockResolver:
    """Return a DNS that knows the domain's key."""
    return MockResolver(txt={"s1._domainkey.here.example": [str(record_for(key()))]})


def account(clock: FakeClock, **options: Any) -> Account:
    """Return an account with two addresses, and a third in a domain that is disabled."""
    here, disabled = parse_domain("here.example"), parse_domain("disabled.example")
    signer = Signer([Selector(domain=here, name="s1", private_key=key())], clock=clock)
    domains = {
        here.ascii: SenderDomain(domain=here, signer=signer),
        disabled.ascii: SenderDomain(domain=disabled, disabled=True),
    }
    return Account(
        name="me",
        full_name="Me Myself",
        addresses=tuple([SenderAddress(domain=here, localpart=each) for each in ("me", "info")]),
        domains=domains,
        **options,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What there is."""

    queue: Queue
    clock: FakeClock
    service: Service
    login: LoggedIn
    methods: Methods
    app: "ASGIApp"

    async def queued(self) -> tuple[Message, ...]:
        return (await self.queue.list_messages(limit=1000)).items

    async def raw(self, message: Message) -> bytes:
        return b"".join([chunk async for chunk in self.queue.dump(message.id)])

    @property
    def mailbox(self) -> SQLiteMailbox:
        assert isinstance(self.service.mailbox, SQLiteMailbox)
        return self.service.mailbox


@asynccontextmanager
async def world(
    directory: Path,
    way: Way = "service",
    *,
    queue: Path | None = None,
    transactions: Literal["thread", "loop"] = "thread",
    mailbox: Mailbox | Literal["sqlite"] | None = "sqlite",
    config: Mapping[str, Any] | None = None,
    service: Mapping[str, Any] | None = None,
    **options: Any,
) -> AsyncIterator[World]:
    """Make one.

    Args:
        directory: for files.
        way: to its methods.
        queue: the SQLite file of its queue; None for one in memory.
        transactions: where that file's are run.
        mailbox: where messages are.
        config: more of the queue's configuration.
        service: more options of the service.
        options: of the account.
    """
    clock = FakeClock()
    fromids = FromIDConfig.of(["me+ids@here.example"], {"here.example": ["+"]})
    settings = QueueConfig(hostname="mail.here.example", fromids=fromids, **(config or {}))
    me = account(clock, **options)
    accounts = ConfiguredAccounts([ConfiguredAccount(account=me, password=password())])
    async with AsyncExitStack() as stack:
        opened = (
            Queue(MemoryStorage(), config=settings, clock=clock)
            if queue is None
            else Queue.open(queue, config=settings, clock=clock, transactions=transactions)
        )
        await stack.enter_async_context(opened)
        if mailbox == "sqlite":
            mailbox = await stack.enter_async_context(SQLiteMailbox(directory / "mailbox.db", clock=clock))
        given = {"mailbox": mailbox, "clock": clock} | dict(service or {})
        served = Service(opened, accounts, **given)
        login = LoggedIn(account=me, address=parse_address("me+ids@here.example"))
        app = asgi_app(served, remote_ip=lambda scope: peer_address(scope) or "127.0.0.1")
        methods: Methods = served.methods(login)
        if way != "service":
            methods = await stack.enter_async_context(client(app, way, directory))
        yield World(queue=opened, clock=clock, service=served, login=login, methods=methods, app=app)


@asynccontextmanager
async def client(app: "ASGIApp", way: Way, directory: Path) -> AsyncIterator[Client]:
    """Serve an application and return a client of it."""
    login: dict[str, Any] = {"username": "me+ids@here.example", "password": PASSWORD}
    if way == "app":
        path = str(directory / "socket")
        async with serving(app, uds=path), aiohttp.ClientSession(connector=aiohttp.UnixConnector(path)) as session:
            yield Client("http://localhost/v0/", session=session, **login)
    else:
        async with serving(app) as base, Client(f"{base}/v0/", **login) as made:
            yield made


@asynccontextmanager
async def serving(
    app: "ASGIApp", *, uds: str | None = None, lifespan: Literal["auto", "on"] = "on"
) -> AsyncIterator[str]:
    """Run an application on loopback, on a port of the system's or a Unix socket; return the URL."""
    config = uvicorn.Config(app, uds=uds, log_config=None, lifespan=lifespan)
    config.load()
    server = uvicorn.Server(config)
    server.lifespan = config.lifespan_class(config)
    listener = None if uds else socket.create_server(("127.0.0.1", 0))
    await server.startup(sockets=None if listener is None else [listener])
    port = "" if listener is None else f":{listener.getsockname()[1]}"
    try:
        yield f"http://127.0.0.1{port}"
    finally:
        await server.shutdown(sockets=None if listener is None else [listener])


def header(raw: bytes, name: str) -> list[str]:
    """Return the values of a field."""
    return [value.strip() for value in read_message(raw).values(name)]
