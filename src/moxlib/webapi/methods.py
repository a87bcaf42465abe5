"""The methods: `Methods`, what clients and services have, and `METHODS`, what is to be known of each one."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from moxlib.webapi import types as t
from moxlib.webapi.content import NO_UPLOADS, ByteStream, Uploads
from moxlib.webapi.errors import Code
from moxlib.webapi.examples import example_json

__all__ = ["BY_NAME", "METHODS", "Method", "Methods"]


class Methods(Protocol):
    """The webapi's methods for one login: of a client, or of a service.

    Each raises `WebAPIError` where it cannot do what it is asked for; `METHODS` has the codes. A client raises
    `CallError` where it does not get an answer.
    """

    async def send(
        self, request: t.SendRequest, *, uploads: Uploads = NO_UPLOADS, idempotency_key: str | None = None
    ) -> t.SendResult:
        """Compose a message and queue it for each recipient. It is on disk when this returns.

        Args:
            request: the message.
            uploads: files that go with it, behind those in the request.
            idempotency_key: of your choice, 1 to 255 printable ASCII characters. What is sent again under the same key
                is not queued again, but gets the first one's result; anything else is a conflict. mox has no such keys.
        """
        ...

    async def send_batch(self, request: t.SendBatchRequest, *, idempotency_key: str | None = None) -> t.SendBatchResult:
        """Compose and queue many messages in one commit. A message that cannot be sent does not keep others back.

        Args:
            request: the messages.
            idempotency_key: as in `send()`, for the batch as a whole.
        """
        ...

    async def send_raw(self, request: t.SendRawRequest, *, idempotency_key: str | None = None) -> t.SendResult:
        """Queue a finished message as it is. It is on disk when this returns.

        Args:
            request: the message.
            idempotency_key: as in `send()`.
        """
        ...

    async def suppression_list(self, request: t.SuppressionListRequest) -> t.SuppressionListResult:
        """Return the account's suppressions."""
        ...

    async def suppression_add(self, request: t.SuppressionAddRequest) -> t.SuppressionAddResult:
        """Suppress an address: messages to it fail at once."""
        ...

    async def suppression_remove(self, request: t.SuppressionRemoveRequest) -> t.SuppressionRemoveResult:
        """Take an address off the list."""
        ...

    async def suppression_present(self, request: t.SuppressionPresentRequest) -> t.SuppressionPresentResult:
        """Return whether an address is suppressed."""
        ...

    async def message_get(self, request: t.MessageGetRequest) -> t.MessageGetResult:
        """Return a message of the mailbox, read."""
        ...

    def message_raw_get(self, request: t.MessageRawGetRequest) -> AbstractAsyncContextManager[ByteStream]:
        """Return a context, `async with`, of a message's octets as they came, header and body."""
        ...

    def message_part_get(self, request: t.MessagePartGetRequest) -> AbstractAsyncContextManager[ByteStream]:
        """Return a context, `async with`, of the octets of a part's decoded body."""
        ...

    async def message_delete(self, request: t.MessageDeleteRequest) -> t.MessageDeleteResult:
        """Remove a message for good, not into a folder for what is deleted."""
        ...

    async def message_flags_add(self, request: t.MessageFlagsAddRequest) -> t.MessageFlagsAddResult:
        """Set flags on a message; those it has stay."""
        ...

    async def message_flags_remove(self, request: t.MessageFlagsRemoveRequest) -> t.MessageFlagsRemoveResult:
        """Clear flags on a message; the others stay."""
        ...

    async def message_move(self, request: t.MessageMoveRequest) -> t.MessageMoveResult:
        """Put a message into another folder, which has to exist."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What is to be known of a method."""

    name: str
    """In URLs, such as `MessageRawGet`."""
    attribute: str
    """In `Methods`, such as `message_raw_get`."""
    request: type
    result: type | None
    """None for octets, a `ByteStream`."""
    summary: str
    """What it does, in a sentence."""
    codes: tuple[Code, ...] = ()
    """Of the errors it answers with, beside user, server and protocol."""
    takes_uploads: bool = False
    takes_key: bool = False
    """Whether an Idempotency-Key means something to it."""
    addition: bool = False
    """Whether mox does not have it."""

    @property
    def example_request(self) -> str:
        """A request of which everything is empty, as JSON for people to read and change."""
        return example_json(self.request)

    @property
    def example_result(self) -> str | None:
        """A result, likewise; None for octets."""
        return None if self.result is None else example_json(self.result)


_SEND: Final = (
    Code.MISSING_BODY,
    Code.MULTIPLE_FROM,
    Code.BAD_ADDRESS,
    Code.DOMAIN_DISABLED,
    Code.BAD_FROM,
    Code.NO_RECIPIENTS,
    Code.MESSAGE_LIMIT_REACHED,
    Code.RECIPIENT_LIMIT_REACHED,
    Code.MALFORMED_MESSAGE_ID,
    Code.MESSAGE_TOO_LARGE,
    Code.SENT_OVER_QUOTA,
    Code.IDEMPOTENCY_CONFLICT,
)
_SEND_RAW: Final = tuple(
    code
    for code in _SEND
    if code not in (Code.MISSING_BODY, Code.MULTIPLE_FROM, Code.MALFORMED_MESSAGE_ID, Code.SENT_OVER_QUOTA)
)
_ADDRESS: Final = (Code.BAD_ADDRESS,)
_MESSAGE: Final = (Code.MESSAGE_NOT_FOUND,)

METHODS: Final = (
    Method(
        name="Send",
        attribute="send",
        request=t.SendRequest,
        result=t.SendResult,
        summary="Compose a message, sign it, and queue it for each recipient.",
        codes=_SEND,
        takes_uploads=True,
        takes_key=True,
    ),
    Method(
        name="SendBatch",
        attribute="send_batch",
        request=t.SendBatchRequest,
        result=t.SendBatchResult,
        summary="Compose and queue many messages at once; each has a result or an error of its own.",
        codes=(Code.IDEMPOTENCY_CONFLICT,),
        takes_key=True,
        addition=True,
    ),
    Method(
        name="SendRaw",
        attribute="send_raw",
        request=t.SendRawRequest,
        result=t.SendResult,
        summary="Queue a finished message as it is.",
        codes=_SEND_RAW,
        takes_key=True,
        addition=True,
    ),
    Method(
        name="SuppressionList",
        attribute="suppression_list",
        request=t.SuppressionListRequest,
        result=t.SuppressionListResult,
        summary="List the addresses that the account's messages are not sent to.",
    ),
    Method(
        name="SuppressionAdd",
        attribute="suppression_add",
        request=t.SuppressionAddRequest,
        result=t.SuppressionAddResult,
        summary="Suppress an address: messages to it fail at once.",
        codes=_ADDRESS,
    ),
    Method(
        name="SuppressionRemove",
        attribute="suppression_remove",
        request=t.SuppressionRemoveRequest,
        result=t.SuppressionRemoveResult,
        summary="Take an address off the suppression list.",
        codes=_ADDRESS,
    ),
    Method(
        name="SuppressionPresent",
        attribute="suppression_present",
        request=t.SuppressionPresentRequest,
        result=t.SuppressionPresentResult,
        summary="Tell whether an address is suppressed.",
        codes=_ADDRESS,
    ),
    Method(
        name="MessageGet",
        attribute="message_get",
        request=t.MessageGetRequest,
        result=t.MessageGetResult,
        summary="Get a message of the mailbox, read: its addresses, text, HTML and structure.",
        codes=_MESSAGE,
    ),
    Method(
        name="MessageRawGet",
        attribute="message_raw_get",
        request=t.MessageRawGetRequest,
        result=None,
        summary="Get a message of the mailbox as it came, header and body.",
        codes=_MESSAGE,
    ),
    Method(
        name="MessagePartGet",
        attribute="message_part_get",
        request=t.MessagePartGetRequest,
        result=None,
        summary="Get the decoded body of one part of a message.",
        codes=(Code.MESSAGE_NOT_FOUND, Code.PART_NOT_FOUND),
    ),
    Method(
        name="MessageDelete",
        attribute="message_delete",
        request=t.MessageDeleteRequest,
        result=t.MessageDeleteResult,
        summary="Remove a message for good.",
        codes=_MESSAGE,
    ),
    Method(
        name="MessageFlagsAdd",
        attribute="message_flags_add",
        request=t.MessageFlagsAddRequest,
        result=t.MessageFlagsAddResult,
        summary="Set flags on a message; those it has stay.",
        codes=_MESSAGE,
    ),
    Method(
        name="MessageFlagsRemove",
        attribute="message_flags_remove",
        request=t.MessageFlagsRemoveRequest,
        result=t.MessageFlagsRemoveResult,
        summary="Clear flags on a message; the others stay.",
        codes=_MESSAGE,
    ),
    Method(
        name="MessageMove",
        attribute="message_move",
        request=t.MessageMoveRequest,
        result=t.MessageMoveResult,
        summary="Put a message into another folder, which has to exist.",
        codes=_MESSAGE,
    ),
)
"""All of them."""

BY_NAME: Final = MappingProxyType({method.name: method for method in METHODS})
"""The same, by name."""
