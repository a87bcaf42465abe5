"""How far messages are read."""

from dataclasses import dataclass

from moxlib.errors import InputError
from moxlib.message.header import MAX_HEADER

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far a message is read. What is beyond a limit is left as it is, and is no error.

    Attributes:
        max_header: octets of one header block; what follows counts as body. As much as may be submitted.
        max_depth: multiparts and messages within each other; deeper ones are not taken apart. As Dovecot and Postfix.
        max_parts: children that a multipart has, and parts that `walk` and `structure` come to; the last child has the
            rest. As Dovecot.
        max_message: octets of an embedded message that has a transfer encoding, which is decoded in memory; it ends
            there. More than most servers accept. Within each other, three such are decoded, and a fourth is not.

    Raises:
        InputError: a limit is below one.
    """

    max_header: int = MAX_HEADER
    max_depth: int = 100
    max_parts: int = 10_000
    max_message: int = 64 * 1024 * 1024

    def __post_init__(self) -> None:
        if min(self.max_header, self.max_depth, self.max_parts, self.max_message) < 1:
            raise InputError("a limit of reading messages is below one")
