"""What the webapi's methods take and give: one request and one result for each, and what is in them.

The names are Python's. Those of the JSON are mox's, and follow from them by rule (`moxlib.webapi.wire`). Times are
aware; files and messages are octets, which the JSON has in base64.

A result holds what the server said; that a server of mox leaves out a value or says null of it shows as the empty one.
"""

from moxlib.webapi.types.mailbox import (
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
)
from moxlib.webapi.types.sending import (
    Fault,
    File,
    Message,
    SendBatchRequest,
    SendBatchResult,
    SendRawRequest,
    SendRequest,
    SendResult,
    Submission,
)
from moxlib.webapi.types.suppressions import (
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
from moxlib.webhook import NameAddress, Structure

__all__ = [
    "Fault",
    "File",
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
    "NameAddress",
    "SendBatchRequest",
    "SendBatchResult",
    "SendRawRequest",
    "SendRequest",
    "SendResult",
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
]
