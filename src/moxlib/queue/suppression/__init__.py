"""Addresses that must not be mailed any more: on which address, by which rules, for how long, and on what evidence.

Nothing here does I/O. A queue asks `decide` when a message has failed for good or a DSN came in, keeps what `suppress`
returns, and looks up `str(base_address(recipient, policy.base))` before it sends.
"""

from moxlib.queue.suppression.base import BASE_RULES, BaseRules, base_address, base_key, mox_base_address
from moxlib.queue.suppression.changes import add, lifted_by, suppress, suppression_by
from moxlib.queue.suppression.decision import Spare, Suppress, Verdict, decide, failures_in_a_row, judge
from moxlib.queue.suppression.entry import Cause, Evidence, InvalidSuppression, Suppression
from moxlib.queue.suppression.feedback import (
    Complaint,
    Failure,
    Feedback,
    Origin,
    Past,
    PastKind,
    diagnostic_codes,
    past_of,
)
from moxlib.queue.suppression.policy import DEFAULT_POLICY, Expiry, SuppressionPolicy
from moxlib.queue.suppression.table import InvalidTable, read_suppressions, write_suppressions

__all__ = [
    "BASE_RULES",
    "DEFAULT_POLICY",
    "BaseRules",
    "Cause",
    "Complaint",
    "Evidence",
    "Expiry",
    "Failure",
    "Feedback",
    "InvalidSuppression",
    "InvalidTable",
    "Origin",
    "Past",
    "PastKind",
    "Spare",
    "Suppress",
    "Suppression",
    "SuppressionPolicy",
    "Verdict",
    "add",
    "base_address",
    "base_key",
    "decide",
    "diagnostic_codes",
    "failures_in_a_row",
    "judge",
    "lifted_by",
    "mox_base_address",
    "past_of",
    "read_suppressions",
    "suppress",
    "suppression_by",
    "write_suppressions",
]
