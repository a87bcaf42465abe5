"""A transaction's MAIL FROM and RCPT TO: what may stand in them, and whether the peer can take it. No I/O."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from moxlib.errors import InputError
from moxlib.smtpclient.errors import CannotCarry, ExtensionMissing, MessageTooLarge
from moxlib.smtpclient.reply import Command

if TYPE_CHECKING:
    from moxlib.smtpclient.dsn import DSNParameters
    from moxlib.smtpclient.session import Session

__all__ = ["check_addresses", "mail_parameters", "rcpt_commands"]

MAX_ADDRESS: Final = 1_000  # characters. RFC 5321 4.5.3.1.3 says 256 octets; what a server takes, it may say itself.

# What would end the command or the path. Within a quoted localpart blanks and angle brackets are in order.
_bad_character = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search
_bad_unquoted = re.compile(r"[\x00-\x20\x7f-\x9f\ud800-\udfff<>]").search


def check_addresses(mail_from: str, recipients: Sequence[str], dsn: "DSNParameters | None") -> bool:
    """Return whether all addresses are ASCII.

    Raises:
        InputError: one of them cannot stand in a command, there are no recipients, or `dsn` has others.
    """
    if not recipients:
        raise InputError("a transaction needs at least one recipient")
    if dsn is not None and dsn.recipients and len(dsn.recipients) != len(recipients):
        raise InputError(f"DSN parameters for {len(dsn.recipients)} recipients of {len(recipients)}")
    ascii_only = _checked(mail_from) if mail_from else True
    for recipient in recipients:
        if not recipient:
            raise InputError("a recipient's address is empty")
        ascii_only &= _checked(recipient)
    return ascii_only


def _checked(address: str) -> bool:
    """Return whether an address is ASCII; raise `InputError` when it cannot stand in a command."""
    quoted = address.startswith('"')
    if (_bad_character if quoted else _bad_unquoted)(address) or len(address) > MAX_ADDRESS:
        raise InputError(f"not an address to send to or from: {address[:100]!r}")
    return address.isascii()


def mail_parameters(
    session: "Session",
    *,
    size: int,
    needs_8bit: bool,
    needs_smtputf8: bool,
    require_tls: bool,
    dsn: "DSNParameters | None",
) -> tuple[CannotCarry | None, str]:
    """Return what the peer lacks, or else the parameters of MAIL FROM."""
    extensions = session.extensions
    if needs_8bit and not extensions.eight_bit_mime:
        return ExtensionMissing(command=Command.EHLO, extension="8BITMIME", permanent=True), ""
    if needs_smtputf8 and not extensions.smtputf8:  # Not for good: another of the domain's hosts may have it.
        return ExtensionMissing(command=Command.EHLO, extension="SMTPUTF8", permanent=False), ""
    if require_tls and not (extensions.require_tls and session.tls):
        return ExtensionMissing(command=Command.EHLO, extension="REQUIRETLS", permanent=False), ""
    if extensions.size and size > extensions.size:
        return MessageTooLarge(command=Command.EHLO, size=size, limit=extensions.size), ""
    parameters = f" SIZE={size}" if extensions.size is not None else ""
    if extensions.eight_bit_mime:
        parameters += " BODY=8BITMIME" if needs_8bit else " BODY=7BIT"
    if needs_smtputf8:
        parameters += " SMTPUTF8"
    if require_tls:
        parameters += " REQUIRETLS"
    if dsn is not None:
        parameters += dsn.parameters()
    return None, parameters


def rcpt_commands(recipients: Sequence[str], dsn: "DSNParameters | None", *, smtputf8: bool) -> list[str]:
    """Return the command for each recipient; `smtputf8`: MAIL FROM has that parameter."""
    if dsn is None or not dsn.recipients:
        return [f"RCPT TO:<{recipient}>\r\n" for recipient in recipients]
    return [
        f"RCPT TO:<{recipient}>{wanted.parameters(smtputf8=smtputf8)}\r\n"
        for recipient, wanted in zip(recipients, dsn.recipients, strict=True)
    ]
