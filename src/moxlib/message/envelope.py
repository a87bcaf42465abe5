"""Who a message is from and for, by its header, as `smtplib.SMTP.send_message` decides it (RFC 5322 3.6.2, 3.6.6)."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from moxlib.message.errors import InvalidMessage

__all__ = ["AddressFields", "Envelope"]

Envelope: TypeAlias = tuple[str, tuple[str, ...]]
"""The sender's addr-spec (empty if the header names none) and the recipients', in order, each once."""

_RESENT = "resent-"


class AddressFields:
    """The address fields of one header, in its order.

    Args:
        fields: names in lower case and the addr-specs in each; also `resent-date`, with none, to count resendings.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Iterable[tuple[str, Sequence[str]]]) -> None:
        self._fields = tuple(fields)

    def addresses(self, *names: str) -> tuple[str, ...]:
        """Return the addr-specs in the fields of these names, by name and then in order, each once."""
        return tuple(
            dict.fromkeys(spec for wanted in names for name, specs in self._fields if name == wanted for spec in specs)
        )

    def sender(self, prefix: str) -> str:
        """Return the first addr-spec of Sender, else of From, with `prefix` before these names; empty if none."""
        return next(iter(self.addresses(prefix + "sender", prefix + "from")), "")

    def recipients(self, prefix: str) -> tuple[str, ...]:
        """Return the addr-specs of To, Cc and Bcc, with `prefix` before these names."""
        return self.addresses(prefix + "to", prefix + "cc", prefix + "bcc")

    def envelope(self) -> Envelope:
        """Return sender and recipients, from the Resent- fields if there is a Resent-Date.

        Raises:
            InvalidMessage: there are several, so that it is not known which fields are of the last resending.
        """
        resendings = sum(name == "resent-date" for name, _ in self._fields)
        if resendings > 1:
            raise InvalidMessage("resent more than once: pass sender and recipients")
        prefix = _RESENT if resendings else ""
        return self.sender(prefix), self.recipients(prefix)
