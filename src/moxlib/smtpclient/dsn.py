"""What a transaction asks of delivery status notifications (RFC 3461), as its commands say it. No I/O.

Everything is checked when it is made, and encoded when it is sent, so that nothing in it can end a parameter or a
command.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

from moxlib.errors import InputError
from moxlib.smtp import encode_utf8_address, encode_xtext

__all__ = ["DSNParameters", "RecipientParameters"]

MAX_ENVID: Final = 100  # characters in xtext (RFC 3461 4.4)
MAX_ORCPT: Final = 500  # characters encoded, with the type (RFC 3461 4.2)
_NEVER: Final = "NEVER"
_NOTIFY: Final = frozenset({_NEVER, "SUCCESS", "FAILURE", "DELAY"})
_printable = re.compile(r"[ -~]*").fullmatch
_type = re.compile(r"[A-Za-z0-9-]{1,100}").fullmatch  # RFC 3461 4.2: an atom; those registered are of these
_UTF8: Final = "utf-8"
# As in other paths: C1 controls and lone surrogates cannot be sent.
_no_address = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]").search


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipientParameters:
    """What RCPT TO asks for.

    Attributes:
        notify: when a DSN is wanted: any of "SUCCESS", "FAILURE" and "DELAY", or "NEVER" alone. Empty: as the server
            likes, which is on failure, and perhaps on delay (RFC 3461 4.1).
        orcpt: the original recipient as `type;address`, such as "rfc822;user@example.org"; not encoded. What is beyond
            ASCII needs the type utf-8 (RFC 6533 3). Empty: not given.

    Raises:
        InputError: one of them is none, or too long.
    """

    notify: tuple[str, ...] = ()
    orcpt: str = ""

    def __post_init__(self) -> None:
        if not _NOTIFY.issuperset(self.notify) or len(set(self.notify)) != len(self.notify):
            raise InputError(f"notify is of {', '.join(sorted(_NOTIFY))}, each once: {self.notify!a:.100}")
        if _NEVER in self.notify and len(self.notify) > 1:
            raise InputError("NEVER stands alone (RFC 3461 4.1)")
        if self.orcpt:
            kind, _, address = self.orcpt.partition(";")
            if not _type(kind) or not address or _no_address(address):
                raise InputError(f"an original recipient is `type;address`: {self.orcpt!a:.100}")
            if not address.isascii() and kind.lower() != _UTF8:
                raise InputError(f"an original recipient beyond ASCII has the type utf-8: {self.orcpt!a:.100}")
            if len(_orcpt(self.orcpt, smtputf8=False)) > MAX_ORCPT:
                raise InputError(f"an original recipient of more than {MAX_ORCPT} characters, encoded")

    def parameters(self, *, smtputf8: bool) -> str:
        """Return the parameters of RCPT TO, with a blank before each; `smtputf8`: the transaction is one of UTF-8."""
        notify = f" NOTIFY={','.join(self.notify)}" if self.notify else ""
        return f"{notify} ORCPT={_orcpt(self.orcpt, smtputf8=smtputf8)}" if self.orcpt else notify


def _fits(envid: str) -> bool:
    return len(envid) * 3 <= MAX_ENVID or len(encode_xtext(envid)) <= MAX_ENVID  # xtext makes three of one at most


def _orcpt(orcpt: str, *, smtputf8: bool) -> str:
    kind, _, address = orcpt.partition(";")
    is_utf8 = kind.lower() == _UTF8
    return f"{kind};{encode_utf8_address(address, smtputf8=smtputf8) if is_utf8 else encode_xtext(address)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DSNParameters:
    """What one transaction asks for. Servers that do not offer DSN are not asked.

    Attributes:
        ret: whether a DSN about a failure shall return the whole message or its header; None: as the server likes.
        envid: the envelope identifier, which comes back in every DSN: printable ASCII, at most 100 characters encoded
            as xtext. Empty: none.
        recipients: what differs between the recipients: one for each, in the order in which they are delivered to.
            Empty: nothing is asked for any of them.

    Raises:
        InputError: one of them is none, or too long.
    """

    ret: Literal["FULL", "HDRS"] | None = None
    envid: str = ""
    recipients: tuple[RecipientParameters, ...] = ()

    def __post_init__(self) -> None:
        if self.ret not in (None, "FULL", "HDRS"):
            raise InputError(f"ret is FULL, HDRS or None: {self.ret!a:.100}")
        if not _printable(self.envid) or not _fits(self.envid):
            raise InputError(f"an envelope identifier is up to {MAX_ENVID} printable characters: {self.envid!a:.100}")

    def parameters(self) -> str:
        """Return the parameters of MAIL FROM, with a blank before each."""
        ret = f" RET={self.ret}" if self.ret is not None else ""
        return f"{ret} ENVID={encode_xtext(self.envid)}" if self.envid else ret
