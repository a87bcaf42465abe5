"""A transport that fails everything, as configured: to refuse mail for a route, and for tests."""

import re
from collections.abc import Sequence

from moxlib.errors import InputError
from moxlib.queue.outcome import Deferred, Failed, Outcome
from moxlib.queue.transport.base import Delivery

__all__ = ["FailTransport"]

TEMPORARY, PERMANENT = 4, 5
_ENHANCED = re.compile(r"[245](?:\.(?:0|[1-9][0-9]{0,2})){2}").fullmatch  # RFC 3463 2


class FailTransport:
    """Answers each delivery with one reply: a 4xx code defers it, a 5xx code fails it for good."""

    def __init__(self, code: int = 554, enhanced: str = "5.7.0", text: str = "delivery is disabled") -> None:
        if code // 100 not in (TEMPORARY, PERMANENT):
            raise InputError(f"the code must be 4xx or 5xx, not {code}")
        if enhanced and not _ENHANCED(enhanced):
            raise InputError(f"not an enhanced code: {enhanced!r}")
        if enhanced and not enhanced.startswith(f"{code // 100}."):
            raise InputError(f"the enhanced code {enhanced!r} is not of the class of {code}")
        self._outcome: Outcome
        if code // 100 == TEMPORARY:
            self._outcome = Deferred(code=code, enhanced=enhanced, text=text)
        else:
            self._outcome = Failed(code=code, enhanced=enhanced, text=text)

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        """Fail each recipient; touches no network."""
        return [self._outcome] * len(delivery.messages)
