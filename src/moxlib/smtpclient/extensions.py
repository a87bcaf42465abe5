"""What a server announced in its reply to EHLO. No I/O.

RFC 5321 4.1.1.1, and per extension: PIPELINING RFC 2920, SIZE RFC 1870, 8BITMIME RFC 6152, SMTPUTF8 RFC 6531,
STARTTLS RFC 3207, ENHANCEDSTATUSCODES RFC 2034, AUTH RFC 4954, REQUIRETLS RFC 8689, LIMITS RFC 9422, CHUNKING and
BINARYMIME RFC 3030, DSN RFC 3461, FUTURERELEASE RFC 4865. Others, such as MT-PRIORITY (RFC 6710), are passed over.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moxlib.smtpclient.reply import Reply

__all__ = ["Extensions", "FutureRelease", "parse_extensions"]

_LIMIT = re.compile(r" ([A-Z0-9_-]+)=([!-:<-~]+)")  # RFC 9422 4: value characters are visible ASCII but for ";"
_MAX_SIZE_DIGITS = 20  # RFC 1870 3
# RFC 4865 3: seconds of up to nine digits, and a date-time of RFC 3339; years from 1, as `datetime` has them.
_FUTURE_RELEASE = re.compile(
    r"([1-9][0-9]{0,8}) "
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2}))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FutureRelease:
    """For how long, and until when, the server keeps a message back that asks for it (RFC 4865 3)."""

    max_interval: timedelta
    max_datetime: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """The extensions of one session; all absent until EHLO was answered, and forgotten when TLS starts.

    Attributes:
        size: the largest message taken, in bytes; 0: SIZE is offered without a fixed maximum; None: not offered.
        auth: the SASL mechanisms in upper case, in the order announced.
        binary_mime: noted only: the client never sends a message as BINARYMIME.
        future_release: None when FUTURERELEASE is not offered or malformed.
        limits: LIMITS as pairs of name and value in upper case; None when not offered or malformed.
        mail_max: transactions per connection, by LIMITS MAILMAX.
        rcpt_max: recipients per transaction, by LIMITS RCPTMAX.
        rcpt_domain_max: recipient domains per connection, by LIMITS RCPTDOMAINMAX.
    """

    pipelining: bool = False
    eight_bit_mime: bool = False
    smtputf8: bool = False
    starttls: bool = False
    enhanced_status_codes: bool = False
    require_tls: bool = False
    chunking: bool = False
    binary_mime: bool = False
    dsn: bool = False
    future_release: FutureRelease | None = None
    size: int | None = None
    auth: tuple[str, ...] = ()
    limits: tuple[tuple[str, str], ...] | None = None
    mail_max: int | None = None
    rcpt_max: int | None = None
    rcpt_domain_max: int | None = None


def parse_extensions(reply: "Reply") -> Extensions:
    """Read the 250 reply to EHLO; what is unknown or malformed is passed over."""
    flags: set[str] = set()
    size: int | None = None
    auth: tuple[str, ...] = ()
    limits: dict[str, str] = {}
    future_release: FutureRelease | None = None
    for line in reply.texts[1:]:  # the first one names the server
        text = line.strip().upper()
        keyword, _, parameters = text.partition(" ")
        match keyword:
            case "SIZE":
                size = int(parameters) if _is_size(parameters) else 0
            case "AUTH":
                auth = tuple(parameters.split())
            case "LIMITS":
                limits = _parse_limits(text.removeprefix("LIMITS"))
            case "FUTURERELEASE":
                future_release = _future_release(parameters)
            case "SMTPUTF8":  # RFC 6531 3.1: parameters are to be ignored
                flags.add(keyword)
            case _ if not parameters:
                flags.add(keyword)
    return Extensions(
        pipelining="PIPELINING" in flags,
        eight_bit_mime="8BITMIME" in flags,
        smtputf8="SMTPUTF8" in flags,
        starttls="STARTTLS" in flags,
        enhanced_status_codes="ENHANCEDSTATUSCODES" in flags,
        require_tls="REQUIRETLS" in flags,
        chunking="CHUNKING" in flags,
        binary_mime="BINARYMIME" in flags,
        dsn="DSN" in flags,
        future_release=future_release,
        size=size,
        auth=auth,
        limits=tuple(limits.items()) or None,
        mail_max=_limit(limits, "MAILMAX"),
        rcpt_max=_limit(limits, "RCPTMAX"),
        rcpt_domain_max=_limit(limits, "RCPTDOMAINMAX"),
    )


def _is_size(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS


def _future_release(text: str) -> FutureRelease | None:
    match = _FUTURE_RELEASE.fullmatch(text)
    if match is None:
        return None
    try:
        return FutureRelease(
            max_interval=timedelta(seconds=int(match[1])), max_datetime=datetime.fromisoformat(match[2])
        )
    except ValueError:  # such as a 13th month
        return None


def _parse_limits(text: str) -> dict[str, str]:
    """Return the limits in `text` (with its leading space); none on any error of syntax (RFC 9422 4.1)."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _LIMIT.match(text, position)
        if match is None or match[1] in found:
            return {}
        found[match[1]] = match[2]
        position = match.end()
    return found


def _limit(limits: dict[str, str], name: str) -> int | None:
    """RFC 9422 4: one to six digits, not beginning with 0; another value is as if absent."""
    value = limits.get(name, "")
    return int(value) if re.fullmatch(r"[1-9][0-9]{0,5}", value) else None
