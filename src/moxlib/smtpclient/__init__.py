"""An SMTP client: a state machine without I/O, and an asyncio connection on it.

`SMTPConnection` opens a connection and delivers messages over it, with an outcome for each recipient. `Session` is the
machine under it, for those who bring their own I/O. Names load the module they live in when they are first used, so the
machine does not cost an import of asyncio.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.smtpclient.connection import SMTPConnection
    from moxlib.smtpclient.errors import (
        AuthenticationFailed,
        CannotCarry,
        CommandTimeout,
        ConnectionLost,
        ExtensionMissing,
        InvalidContent,
        MessageTooLarge,
        ProtocolError,
        ReplyError,
        ResponseInjected,
        SMTPError,
        TLSFailed,
    )
    from moxlib.smtpclient.extensions import Extensions
    from moxlib.smtpclient.gather import (
        Addresses,
        Hosts,
        TLSARecords,
        dane_applies,
        gather_hosts,
        gather_ips,
        gather_tlsa,
        tlsa_names,
    )
    from moxlib.smtpclient.gather_errors import (
        GatherError,
        LookupFailed,
        NoAddresses,
        NoHosts,
        NoSuchDomain,
        NullMX,
    )
    from moxlib.smtpclient.login import Login
    from moxlib.smtpclient.parser import ReplyParser
    from moxlib.smtpclient.reply import Command, Reply
    from moxlib.smtpclient.result import Accepted, DeliveryResult, NotSent, RecipientResult, Refused, Unknown
    from moxlib.smtpclient.session import Exchange, Session
    from moxlib.smtpclient.timeouts import Timeouts
    from moxlib.smtpclient.tls import TLSInfo, TLSMode, unverified_context, verified_context
    from moxlib.smtpclient.transaction import Transaction

__all__ = [
    "Accepted",
    "Addresses",
    "AuthenticationFailed",
    "CannotCarry",
    "Command",
    "CommandTimeout",
    "ConnectionLost",
    "DeliveryResult",
    "Exchange",
    "ExtensionMissing",
    "Extensions",
    "GatherError",
    "Hosts",
    "InvalidContent",
    "Login",
    "LookupFailed",
    "MessageTooLarge",
    "NoAddresses",
    "NoHosts",
    "NoSuchDomain",
    "NotSent",
    "NullMX",
    "ProtocolError",
    "RecipientResult",
    "Refused",
    "Reply",
    "ReplyError",
    "ReplyParser",
    "ResponseInjected",
    "SMTPConnection",
    "SMTPError",
    "Session",
    "TLSARecords",
    "TLSFailed",
    "TLSInfo",
    "TLSMode",
    "Timeouts",
    "Transaction",
    "Unknown",
    "dane_applies",
    "gather_hosts",
    "gather_ips",
    "gather_tlsa",
    "tlsa_names",
    "unverified_context",
    "verified_context",
]

_ERRORS = (
    "AuthenticationFailed CannotCarry CommandTimeout ConnectionLost ExtensionMissing InvalidContent MessageTooLarge "
    "ProtocolError ReplyError ResponseInjected SMTPError TLSFailed"
)
_GATHER = "Addresses Hosts TLSARecords dane_applies gather_hosts gather_ips gather_tlsa tlsa_names"
_GATHER_ERRORS = "GatherError LookupFailed NoAddresses NoHosts NoSuchDomain NullMX"
_RESULTS = "Accepted DeliveryResult NotSent RecipientResult Refused Unknown"
_TLS = "TLSInfo TLSMode unverified_context verified_context"

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_ERRORS.split(), ".errors"),
            **dict.fromkeys(_GATHER.split(), ".gather"),
            **dict.fromkeys(_GATHER_ERRORS.split(), ".gather_errors"),
            **dict.fromkeys(_RESULTS.split(), ".result"),
            **dict.fromkeys(_TLS.split(), ".tls"),
            **dict.fromkeys(("Command", "Reply"), ".reply"),
            **dict.fromkeys(("Exchange", "Session"), ".session"),
            "Extensions": ".extensions",
            "Login": ".login",
            "ReplyParser": ".parser",
            "SMTPConnection": ".connection",
            "Timeouts": ".timeouts",
            "Transaction": ".transaction",
        },
    )
