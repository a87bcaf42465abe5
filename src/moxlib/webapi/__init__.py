"""The webapi: HTTP and JSON to send and manage mail, as mox has it.

Client(base_url, username=..., password=...)   calls the methods of a server, mox or moxlib
Service(queue, accounts, mailbox=...)          does what they say, on a queue
asgi_app(service)                              serves them over HTTP
ConfiguredAccounts, SQLiteMailbox              who may log in; where messages are: simple ones, of protocols
SendRequest(...), SendResult, ...              what each method takes and gives: `moxlib.webapi.types`
Upload, Uploads, ByteStream                    files that go with a message; messages and parts that are streamed
Methods, METHODS                               what clients and services have; what is to be known of each method
WebAPIError, Code                              the error of a method; `moxlib.webapi.errors` has the others

The server's names load what they need when they are first used.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names
from moxlib.webapi.client import Client
from moxlib.webapi.codec import Codec
from moxlib.webapi.content import ByteStream, Upload, Uploads
from moxlib.webapi.errors import (
    CallError,
    CallFailed,
    CallTimeout,
    Code,
    InvalidAnswer,
    TooManyRequests,
    Unauthorized,
    UnexpectedStatus,
    UnknownMethod,
    WebAPIError,
)
from moxlib.webapi.methods import METHODS, Method, Methods
from moxlib.webapi.types import (
    Fault,
    File,
    Message,
    MessageDeleteRequest,
    MessageDeleteResult,
    MessageFlagsAddRequest,
    MessageFlagsAddResult,
    MessageFlagsRemoveRequest,
    MessageFlagsRemoveResult,
    MessageGetRequest,
    MessageGetResult,
    MessageMeta,
    MessageMoveRequest,
    MessageMoveResult,
    MessagePartGetRequest,
    MessageRawGetRequest,
    NameAddress,
    SendBatchRequest,
    SendBatchResult,
    SendRawRequest,
    SendRequest,
    SendResult,
    Structure,
    Submission,
    Suppression,
    SuppressionAddRequest,
    SuppressionAddResult,
    SuppressionListRequest,
    SuppressionListResult,
    SuppressionPresentRequest,
    SuppressionPresentResult,
    SuppressionRemoveRequest,
    SuppressionRemoveResult,
)

if TYPE_CHECKING:
    from moxlib.webapi.accounts import Account, Accounts, SenderAddress, SenderDomain
    from moxlib.webapi.asgi import asgi_app, peer_address
    from moxlib.webapi.configured_accounts import ConfiguredAccount, ConfiguredAccounts
    from moxlib.webapi.login_limit import LoginLimit
    from moxlib.webapi.mailbox import Mailbox
    from moxlib.webapi.observer import NullWebAPIObserver, WebAPIObserver
    from moxlib.webapi.password_hash import PasswordHash, hash_password
    from moxlib.webapi.request_body import BodyLimits
    from moxlib.webapi.service import Service
    from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

__all__ = [
    "METHODS",
    "Account",
    "Accounts",
    "BodyLimits",
    "ByteStream",
    "CallError",
    "CallFailed",
    "CallTimeout",
    "Client",
    "Code",
    "Codec",
    "ConfiguredAccount",
    "ConfiguredAccounts",
    "Fault",
    "File",
    "InvalidAnswer",
    "LoginLimit",
    "Mailbox",
    "Message",
    "MessageDeleteRequest",
    "MessageDeleteResult",
    "MessageFlagsAddRequest",
    "MessageFlagsAddResult",
    "MessageFlagsRemoveRequest",
    "MessageFlagsRemoveResult",
    "MessageGetRequest",
    "MessageGetResult",
    "MessageMeta",
    "MessageMoveRequest",
    "MessageMoveResult",
    "MessagePartGetRequest",
    "MessageRawGetRequest",
    "Method",
    "Methods",
    "NameAddress",
    "NullWebAPIObserver",
    "PasswordHash",
    "SQLiteMailbox",
    "SendBatchRequest",
    "SendBatchResult",
    "SendRawRequest",
    "SendRequest",
    "SendResult",
    "SenderAddress",
    "SenderDomain",
    "Service",
    "Structure",
    "Submission",
    "Suppression",
    "SuppressionAddRequest",
    "SuppressionAddResult",
    "SuppressionListRequest",
    "SuppressionListResult",
    "SuppressionPresentRequest",
    "SuppressionPresentResult",
    "SuppressionRemoveRequest",
    "SuppressionRemoveResult",
    "TooManyRequests",
    "Unauthorized",
    "UnexpectedStatus",
    "UnknownMethod",
    "Upload",
    "Uploads",
    "WebAPIError",
    "WebAPIObserver",
    "asgi_app",
    "hash_password",
    "peer_address",
]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    # Programs that only call a server need none of this, and no queue.
    __getattr__, _ = lazy_names(
        __name__,
        {
            "Account": ".accounts",
            "Accounts": ".accounts",
            "BodyLimits": ".request_body",
            "ConfiguredAccount": ".configured_accounts",
            "ConfiguredAccounts": ".configured_accounts",
            "LoginLimit": ".login_limit",
            "Mailbox": ".mailbox",
            "NullWebAPIObserver": ".observer",
            "PasswordHash": ".password_hash",
            "SQLiteMailbox": ".sqlite_mailbox",
            "SenderAddress": ".accounts",
            "SenderDomain": ".accounts",
            "Service": ".service",
            "WebAPIObserver": ".observer",
            "asgi_app": ".asgi",
            "hash_password": ".password_hash",
            "peer_address": ".asgi",
        },
    )

    def __dir__() -> list[str]:
        return sorted(__all__)
