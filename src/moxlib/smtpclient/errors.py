"""What goes wrong between this client and its peer; each class says who is at fault and what a retry may do.

    MoxlibError
    ├── RemoteError
    │   └── SMTPError                 (command: what was under way)
    │       ├── ReplyError            the peer answered, and refused (reply, permanent)
    │       ├── ProtocolError         the peer did not speak SMTP (reason, lines)
    │       │   └── ResponseInjected  data came before the TLS handshake: someone is in the middle
    │       ├── ConnectionLost        the connection could not be made, or ended
    │       │   └── LocalAddressUnusable  not even from here: no fault of the peer's (address)
    │       ├── CommandTimeout        no reply in time (seconds; also a TimeoutError)
    │       ├── TLSFailed             the handshake or the certificate
    │       ├── AuthenticationFailed  no common mechanism, or a broken exchange (a refusal is a ReplyError)
    │       └── CannotCarry           the peer lacks what this message needs: found here, before anything was sent
    │           ├── ExtensionMissing  (extension)
    │           └── MessageTooLarge   (size, limit)
    └── InputError                    an address or a name that cannot be sent
        └── InvalidContent            the message has a bare CR or LF (where)

None of these is raised for one recipient's refusal: that is a result, see `moxlib.smtpclient.result`.
"""

from typing import TYPE_CHECKING, Any

from moxlib.errors import InputError, RemoteError

if TYPE_CHECKING:
    from collections.abc import Callable

    from moxlib.smtpclient.reply import Command, Reply

__all__ = [
    "AuthenticationFailed",
    "CannotCarry",
    "CommandTimeout",
    "ConnectionLost",
    "ExtensionMissing",
    "InvalidContent",
    "LocalAddressUnusable",
    "MessageTooLarge",
    "ProtocolError",
    "ReplyError",
    "ResponseInjected",
    "SMTPError",
    "TLSFailed",
]


def _rebuild(cls: "type[SMTPError]", fields: dict[str, Any], local_address: str, server: str) -> "SMTPError":
    error = cls(**fields)
    error.local_address, error.server = local_address, server
    return error


class SMTPError(RemoteError):
    """An SMTP session, or one command of it, failed.

    Attributes:
        command: the command that was under way.
        permanent: whether the same attempt must be expected to fail again.
        local_address: where the connection came from that `SMTPConnection.connect` made before it failed; as there.
        server: the text of the greeting that it had; as there.
    """

    permanent: bool = False

    def __init__(self, text: str, *, command: "Command") -> None:
        super().__init__(text)
        self.command = command
        self.local_address: str = ""
        self.server: str = ""

    def _fields(self) -> dict[str, Any]:
        """The constructor's keyword arguments, from which a pickled error is made again."""
        return {"text": str(self), "command": self.command}

    def __reduce__(self) -> "tuple[Callable[..., SMTPError], tuple[type[SMTPError], dict[str, Any], str, str]]":
        """Pickle by fields, not by text."""
        return _rebuild, (type(self), self._fields(), self.local_address, self.server)


class ReplyError(SMTPError):
    """The peer answered `command` with a refusal, so there is no session (or no RSET, or no TLS)."""

    def __init__(self, *, command: "Command", reply: "Reply", permanent: bool | None = None) -> None:
        super().__init__(f"{command.value}: {reply.text}", command=command)
        self.reply = reply
        self.permanent: bool = reply.permanent if permanent is None else permanent

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "reply": self.reply, "permanent": self.permanent}


class ProtocolError(SMTPError):
    """The peer sent something that is no SMTP reply, or a reply nobody asked for; the connection is of no more use.

    Attributes:
        reason: what is wrong with it, in our words.
        lines: what the peer sent, escaped and bounded.
    """

    def __init__(self, *, command: "Command", reason: str, lines: tuple[str, ...] = ()) -> None:
        said = f": {lines[0]}" if lines else ""
        super().__init__(f"{command.value}: {reason}{said}", command=command)
        self.reason = reason
        self.lines = lines

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "reason": self.reason, "lines": self.lines}


class ResponseInjected(ProtocolError):
    """Data followed the reply to STARTTLS before the handshake: it would have been taken for a protected reply."""


class ConnectionLost(SMTPError):
    """The connection could not be made, was closed or reset, or an earlier failure had ended it.

    Attributes:
        reason: what the operating system or the peer said.
    """

    def __init__(self, *, command: "Command", reason: str) -> None:
        super().__init__(f"{command.value}: {reason}", command=command)
        self.reason = reason

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "reason": self.reason}


class LocalAddressUnusable(ConnectionLost):
    """No connection can be made from the local address that was asked for: the fault is here, and no peer was dialled.

    Attributes:
        address: it.
        reason: what the operating system said: the address is none of this machine's, for example.
    """

    def __init__(self, *, command: "Command", address: str, reason: str) -> None:
        super().__init__(command=command, reason=f"cannot connect from {address}: {reason}")
        self.address = address
        self.reason = reason

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "address": self.address, "reason": self.reason}


class CommandTimeout(SMTPError, TimeoutError):
    """The peer did not answer `command`, or did not read what was sent, within `seconds`."""

    def __init__(self, *, command: "Command", seconds: float) -> None:
        super().__init__(f"{command.value}: no reply within {seconds:g} seconds", command=command)
        self.seconds = seconds

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "seconds": self.seconds}


class TLSFailed(SMTPError):
    """The TLS handshake failed, or the peer's certificate was not accepted.

    Attributes:
        reason: what OpenSSL said.
        certificate: whether it was the certificate.
    """

    def __init__(self, *, command: "Command", reason: str, certificate: bool = False) -> None:
        super().__init__(f"{command.value}: TLS failed: {reason}", command=command)
        self.reason = reason
        self.certificate = certificate

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "reason": self.reason, "certificate": self.certificate}


class AuthenticationFailed(SMTPError):
    """There is no mechanism both sides allow (permanent), or an exchange could not be completed.

    A peer that refuses the credentials raises `ReplyError` instead.

    Attributes:
        reason: what went wrong, in our words.
        offered: the mechanisms the peer announced, escaped and bounded.
        reply: the reply at which the exchange ended, if there is one.
    """

    def __init__(
        self,
        *,
        command: "Command",
        reason: str,
        permanent: bool,
        offered: tuple[str, ...] = (),
        reply: "Reply | None" = None,
    ) -> None:
        said = f": {reply.text}" if reply is not None else ""
        super().__init__(f"{command.value}: {reason}{said}", command=command)
        self.reason = reason
        self.permanent = permanent
        self.offered = offered
        self.reply = reply

    def _fields(self) -> dict[str, Any]:
        return {
            "command": self.command,
            "reason": self.reason,
            "permanent": self.permanent,
            "offered": self.offered,
            "reply": self.reply,
        }


class CannotCarry(SMTPError):
    """The peer cannot take this message, by what it announced; nothing was sent."""


class ExtensionMissing(CannotCarry):
    """The message needs an extension that the peer did not announce.

    Attributes:
        extension: "8BITMIME" (permanent), "SMTPUTF8" or "REQUIRETLS" (not: another host may have it).
    """

    def __init__(self, *, command: "Command", extension: str, permanent: bool) -> None:
        super().__init__(f"{command.value}: the server does not offer {extension}", command=command)
        self.extension = extension
        self.permanent = permanent

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "extension": self.extension, "permanent": self.permanent}


class MessageTooLarge(CannotCarry):
    """The message has `size` bytes, and the peer announced a maximum of `limit` (RFC 1870); permanent."""

    permanent = True

    def __init__(self, *, command: "Command", size: int, limit: int) -> None:
        super().__init__(f"{command.value}: {size} bytes, and the server takes {limit}", command=command)
        self.size = size
        self.limit = limit

    def _fields(self) -> dict[str, Any]:
        return {"command": self.command, "size": self.size, "limit": self.limit}


class InvalidContent(InputError):
    """A message has a CR or LF that is no line end: sent on, one receiver sees two messages where another sees one.

    Attributes:
        where: the offset of that byte in the message, from 0.
    """

    def __init__(self, where: int) -> None:
        super().__init__(f"a bare CR or LF at byte {where} of the message")
        self.where = where

    def __reduce__(self) -> "tuple[type[InvalidContent], tuple[int]]":
        """Pickle by fields, not by text."""
        return type(self), (self.where,)
