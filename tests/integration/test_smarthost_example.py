"""examples/smarthost.py against a submission server with TLS and a login, which it needs arguments for."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from moxlib.localserve.server import Received

EXAMPLE = Path(__file__).parents[2] / "examples" / "smarthost.py"


class Handler:
    def __init__(self) -> None:
        self.received: list[Received] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        assert session.ssl is not None
        assert session.authenticated
        self.received.append(
            Received(sender=envelope.mail_from, recipients=tuple(envelope.rcpt_tos), content=envelope.content)
        )
        return "250 2.0.0 OK"


def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    assert isinstance(data, LoginPassword)
    return AuthResult(success=(mechanism, data.login, data.password) == ("PLAIN", b"ann", b"sesame"), handled=False)


@contextmanager
def submission_server(authority: trustme.CA, handler: Handler) -> Iterator[int]:
    """Run the server in a thread of its own, for the example makes its own event loop."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    loop = asyncio.new_event_loop()

    def connection() -> SMTP:
        return SMTP(
            handler,
            hostname="smarthost.example",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
            loop=loop,
        )

    async def start() -> asyncio.Server:
        return await loop.create_server(connection, "127.0.0.1", 0)

    async def stop() -> None:
        server.close()
        await server.wait_closed()

    server = loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@pytest.mark.parametrize(("password", "delivered"), [("sesame", True), ("wrong", False)])
def test_it_delivers_with_the_right_password_alone(
    password: str,
    delivered: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMTP_PASSWORD", password)
    authority, handler = trustme.CA(), Handler()
    tls_context = ssl.create_default_context()
    authority.configure_trust(tls_context)
    arguments = ["127.0.0.1", "ann", "ann@example.org", "bob@example.com"]
    with submission_server(authority, handler) as port:
        run_path(str(EXAMPLE))["main"](arguments, port=port, tls_context=tls_context)
    shown = capsys.readouterr().out
    if delivered:
        assert shown.startswith("message 1 to bob@example.com: delivered\n")
        [received] = handler.received
        assert (received.sender, received.recipients) == ("ann@example.org", ("bob@example.com",))
        assert received.content.endswith(b"\r\n\r\nHello from moxlib.\r\n")
    else:
        assert shown.startswith("message 1 to bob@example.com: waiting\n")
        assert "535" in shown
        assert handler.received == []
