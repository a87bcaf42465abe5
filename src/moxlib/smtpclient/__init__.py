"""An SMTP client: a state machine without I/O, and an asyncio connection on it.

`SMTPConnection` opens a connection and delivers messages over it, with an outcome for each recipient. `Session` is the
machine under it, for those who bring their own I/O. Names load the module they live in when they are first used, so the
machine does not cost an import of asyncio.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.smtpclient.connection import SMTPConnection
    from moxlib.smtpclient.dialing import Dialed, DialFailed, DialFailure, dial
    from moxlib.smtpclient.dsn import DSNParameters, RecipientParameters
    from moxlib.smtpclient.errors import (
        AuthenticationFailed,
        CannotCarry,
        CommandTimeout,
        ConnectionLost,
        ExtensionMissing,
        InvalidContent,
        LocalAddressUnusable,
        MessageTooLarge,
        ProtocolError,
        ReplyError,
        ResponseInjected,
        SMTPError,
        TLSFailed,
    )
    from moxlib.smtpclient.extensions import Extensions, FutureRelease
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
    from moxlib.smtpclient.socks import Proxy, SOCKS5Proxy
    from moxlib.smtpclient.timeouts import Timeouts
    from moxlib.smtpclient.tls import (
        CheckCertificates,
        TLSInfo,
        TLSMode,
        peer_chain,
        unverified_context,
        verified_context,
    )
    from moxlib.smtpclient.transaction import Transaction

__all__ = [
    "Accepted",
    "Addresses",
    "AuthenticationFailed",
    "CannotCarry",
    "CheckCertificates",
    "Command",
    "CommandTimeout",
    "ConnectionLost",
    "DSNParameters",
    "DeliveryResult",
    "DialFailed",
    "DialFailure",
    "Dialed",
    "Exchange",
    "ExtensionMissing",
    "Extensions",
    "FutureRelease",
    "GatherError",
    "Hosts",
    "InvalidContent",
    "LocalAddressUnusable",
    "Login",
    "LookupFailed",
    "MessageTooLarge",
    "NoAddresses",
    "NoHosts",
    "NoSuchDomain",
    "NotSent",
    "NullMX",
    "ProtocolError",
    "Proxy",
    "RecipientParameters",
    "RecipientResult",
    "Refused",
    "Reply",
    "ReplyError",
    "ReplyParser",
    "ResponseInjected",
    "SMTPConnection",
    "SMTPError",
    "SOCKS5Proxy",
    "Session",
    "TLSARecords",
    "TLSFailed",
    "TLSInfo",
    "TLSMode",
    "Timeouts",
    "Transaction",
    "Unknown",
    "dane_applies",
    "dial",
    "gather_hosts",
    "gather_ips",
    "gather_tlsa",
    "peer_chain",
    "tlsa_names",
    "unverified_context",
    "verified_context",
]

_ERRORS = (
    "AuthenticationFailed CannotCarry CommandTimeout ConnectionLost ExtensionMissing InvalidContent "
    "LocalAddressUnusable MessageTooLarge ProtocolError ReplyError ResponseInjected SMTPError TLSFailed"
)
_GATHER = "Addresses Hosts TLSARecords dane_applies gather_hosts gather_ips gather_tlsa tlsa_names"
_GATHER_ERRORS = "GatherError LookupFailed NoAddresses NoHosts NoSuchDomain NullMX"
_RESULTS = "Accepted DeliveryResult NotSent RecipientResult Refused Unknown"
_TLS = "CheckCertificates TLSInfo TLSMode peer_chain unverified_context verified_context"

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
            **dict.fromkeys(("DSNParameters", "RecipientParameters"), ".dsn"),
            **dict.fromkeys(("Exchange", "Session"), ".session"),
            **dict.fromkeys(("DialFailed", "DialFailure", "Dialed", "dial"), ".dialing"),
            **dict.fromkeys(("Proxy", "SOCKS5Proxy"), ".socks"),
            **dict.fromkeys(("Extensions", "FutureRelease"), ".extensions"),
            "Login": ".login",
            "ReplyParser": ".parser",
            "SMTPConnection": ".connection",
            "Timeouts": ".timeouts",
            "Transaction": ".transaction",
        },
    )
