"""A server of the webapi as the vectors' one is set up, called without a network; for the areas webapi_*."""

import asyncio
import base64
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from moxlib.dkim import PrivateKey, Selector, Signer, generate_rsa_key
from moxlib.dns import parse_domain
from moxlib.queue import FromIDConfig, Queue, QueueConfig, SuppressionPolicy
from moxlib.smtp import parse_address
from moxlib.testing import FakeClock, MemoryStorage
from moxlib.webapi.accounts import Account, SenderAddress, SenderDomain
from moxlib.webapi.asgi import asgi_app
from moxlib.webapi.configured_accounts import ConfiguredAccount, ConfiguredAccounts
from moxlib.webapi.password_hash import PasswordHash, Scrypt, hash_password
from moxlib.webapi.service import Service
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

PASSWORD = "test1234test"
HOSTNAME = "mox.example"
MAX_SIZE = 102400
BASE = "/webapi"
NAMES = {"mjl": "Mjl Full Näme"}
ADDRESSES = {
    "mjl": (
        "mjl@mox.example",
        "mjl@nodkim.example",
        "mjl@münchen.example",
        "mjl@disabled.example",
        '"a b"@nodkim.example',
        "møx@mox.example",
    ),
    "msglimit": ("msglimit@mox.example",),
    "rcptlimit": ("rcptlimit@mox.example",),
    "quota": ("quota@mox.example",),
    "disabled": ("disabled@mox.example",),
}
LIMITS: Mapping[str, Mapping[str, int]] = {
    "msglimit": {"max_messages_per_day": 1},
    "rcptlimit": {"max_first_time_recipients_per_day": 1},
    "quota": {"quota": 2000},
}


@cache
def key() -> PrivateKey:
    return generate_rsa_key()


@cache
def password() -> PasswordHash:
    return PasswordHash.parse(hash_password(PASSWORD, Scrypt(log_n=4, p=1)))  # quick: it is not hidden here


def domains(clock: FakeClock) -> dict[str, SenderDomain]:
    selector = Selector(domain=parse_domain(HOSTNAME), name="testsel", private_key=key(), headers_if_present=())
    signer = Signer([selector], clock=clock)
    given: dict[str, dict[str, Any]] = {
        "mox.example": {"signer": signer},
        "nodkim.example": {"separators": ("-",)},
        "münchen.example": {},
        "disabled.example": {"disabled": True},
    }
    return {
        parse_domain(name).ascii: SenderDomain(domain=parse_domain(name), **options) for name, options in given.items()
    }


def accounts(clock: FakeClock) -> ConfiguredAccounts:
    known = domains(clock)
    return ConfiguredAccounts(
        [
            ConfiguredAccount(
                account=Account(
                    name=name,
                    full_name=NAMES.get(name, ""),
                    addresses=tuple([_address(text, known) for text in addresses]),
                    domains=known,
                    max_message_size=MAX_SIZE,
                    **LIMITS.get(name, {}),
                ),
                password=password(),
                login_disabled="login is disabled for this account" if name == "disabled" else "",
            )
            for name, addresses in ADDRESSES.items()
        ]
    )


def _address(text: str, known: Mapping[str, SenderDomain]) -> SenderAddress:
    address = parse_address(text)
    localpart = known[address.domain.ascii].canonical(address.localpart)
    return SenderAddress(domain=address.domain, localpart=localpart)


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass
class Host:
    queue: Queue
    mailbox: SQLiteMailbox
    clock: FakeClock
    app: Any

    async def call(
        self, method: str, path: str, *, headers: Sequence[Sequence[str]] = (), body: bytes = b"", ip: str = "127.0.0.1"
    ) -> Answer:
        """Make a request; `path` is below where the webapi is."""
        route, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "root_path": BASE,
            "path": f"{BASE}{route}",
            "query_string": query.encode(),
            "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
            "client": (ip, 1),
            "server": ("127.0.0.1", 80),
        }
        events = [{"type": "http.request", "body": body, "more_body": False}]
        answer = Answer()

        async def receive() -> dict[str, Any]:
            return events.pop() if events else {"type": "http.disconnect"}

        async def send(event: Mapping[str, Any]) -> None:
            if event["type"] == "http.response.start":
                answer.status = event["status"]
                answer.headers = {name.decode(): value.decode("latin-1") for name, value in event["headers"]}
            else:
                answer.body += event["body"]

        await self.app(scope, receive, send)
        return answer


@asynccontextmanager
async def hosting() -> AsyncIterator[Host]:
    """Run a host with nothing in it; its webapi takes messages as mox does."""
    clock = FakeClock()
    fromids = FromIDConfig.of(
        ["mjl+fromid@mox.example", "mjl-fromid@nodkim.example"], {"mox.example": ["+"], "nodkim.example": ["-"]}
    )
    config = QueueConfig(
        hostname=HOSTNAME,
        suppression=SuppressionPolicy.mox(),
        fromids=fromids,
        add_missing_headers=False,
        max_message_size=2 * MAX_SIZE,
    )
    with tempfile.TemporaryDirectory() as directory:
        async with (
            Queue(MemoryStorage(), config=config, clock=clock) as queue,
            SQLiteMailbox(Path(directory) / "mailbox.db", clock=clock) as mailbox,
        ):
            service = Service(queue, accounts(clock), mailbox=mailbox, mox=True, clock=clock)
            yield Host(queue, mailbox, clock, asgi_app(service))


def authorization(login: str) -> tuple[str, str]:
    return "Authorization", "Basic " + base64.b64encode(f"{login}:{PASSWORD}".encode()).decode()


def run(coroutine: Any) -> Any:
    return asyncio.run(coroutine)
