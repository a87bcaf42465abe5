"""What a session says of its client: from where, over what, and who logged in. No I/O."""

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from inspect import isawaitable
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from moxlib.errors import InputError
from moxlib.smtp import InvalidAddress, parse_address

if TYPE_CHECKING:
    from aiosmtpd.smtp import SMTP, Session

__all__ = ["MaybeAwaitable", "Submitter", "authenticated", "received_field", "remote_ip", "resolved", "within_tls"]

T = TypeVar("T")
MaybeAwaitable: TypeAlias = T | Awaitable[T]
"""What a function of the host's returns, whether or not it is a coroutine function."""

_host = re.compile(r"[A-Za-z0-9_.:\[\]-]{1,255}").fullmatch
NOBODY: Final = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Who submits.

    Raises:
        InputError: the login is no address.
    """

    account: str = ""
    """Whose the messages are, as `Queue.submit` has it."""
    login: str | None = None
    """The address that was logged in with: by it, `QueueConfig.fromids` may want fromids."""

    def __post_init__(self) -> None:
        """Refuse what would fail with each message."""
        if self.login is not None:
            try:
                parse_address(self.login)
            except InvalidAddress as error:
                raise InputError(f"Submitter.login: {error}") from error


def authenticated(session: "Session") -> Submitter | None:
    """Return whom aiosmtpd has authenticated, for the empty account; None: nobody."""
    if not session.authenticated:
        return None
    login = getattr(session.auth_data, "login", None)
    try:
        name = login.decode() if isinstance(login, bytes) else str(login)
        parse_address(name)
    except (UnicodeDecodeError, InvalidAddress):
        return Submitter()
    return Submitter(login=name)


async def resolved(value: MaybeAwaitable[T]) -> T:
    """Return what a host's function returned, awaited if it is to be."""
    if isawaitable(value):
        found: T = await value
        return found
    return value


def remote_ip(session: "Session") -> str:
    """Return the client's IP address, the one that a proxy told if one did; "" where there is none: a Unix socket."""
    told = getattr(session.proxy_data, "src_addr", None)
    peer: object = session.peer
    address = told if told is not None else peer[0] if isinstance(peer, tuple) and peer else ""
    try:
        return str(ip_address(str(address).partition("%")[0]))  # without the zone of a link-local address
    except ValueError:
        return ""


def within_tls(server: "SMTP", session: "Session") -> bool:
    """Say whether the connection is in TLS, after STARTTLS or from its beginning."""
    transport = server.transport
    return session.ssl is not None or (transport is not None and transport.get_extra_info("sslcontext") is not None)


def received_field(
    session: "Session",
    *,
    tls: bool,
    smtputf8: bool,
    hostname: str,
    recipients: list[str],
    show_address: bool,
    now: datetime,
) -> bytes:
    """Return the trace field of what came in by a session (RFC 5321 4.4), its lines ended by CRLF."""
    greeted = session.host_name or ""
    source = greeted if _host(greeted) else NOBODY
    if show_address and (address := remote_ip(session)):
        source += f" ([{'IPv6:' if ':' in address else ''}{address}])"
    protocol = "SMTP"
    if session.extended_smtp:  # RFC 3848; RFC 6531 4.3
        protocol = ("UTF8SMTP" if smtputf8 else "ESMTP") + "S" * tls + "A" * bool(session.authenticated)
    lines = [f"Received: from {source}", f"by {hostname} with {protocol}"]
    if len(recipients) == 1 and recipients[0].isascii():  # of several, each would learn of the others
        lines.append(f"for <{recipients[0].removeprefix('<').removesuffix('>')}>")
    return ("\r\n\t".join(lines) + f";\r\n\t{format_datetime(now)}\r\n").encode("ascii")
