r"""Parameters of MAIL FROM and RCPT TO that aiosmtpd does not know: DSN, FUTURERELEASE and REQUIRETLS. Pure.

split_parameters(argument, names)    takes them out of a command, which aiosmtpd then parses as it does
MailParameters.read(options)         RET, ENVID (RFC 3461), HOLDFOR, HOLDUNTIL (RFC 4865), REQUIRETLS (RFC 8689)
read_recipient(options)              NOTIFY, ORCPT (RFC 3461, RFC 6533)
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal

from moxlib.contrib.aiosmtpd.replies import Refused
from moxlib.errors import InputError
from moxlib.queue import DSNRequest, RecipientDSN
from moxlib.smtp import decode_xtext

__all__ = ["MAIL_NAMES", "RCPT_NAMES", "MailParameters", "read_recipient", "split_parameters"]

MAIL_NAMES: Final = frozenset({"RET", "ENVID", "HOLDFOR", "HOLDUNTIL", "REQUIRETLS"})
RCPT_NAMES: Final = frozenset({"NOTIFY", "ORCPT"})
_FOREVER: Final = timedelta(days=36500)  # more than is ever taken, and datetime can still add it

# "FROM:" or "TO:", and a path, in which blanks and ">" are quoted (RFC 5321 4.1.1.2). Atomic groups: linear.
_command = re.compile(r'([A-Za-z]+:[ \t]*+<(?>(?:"(?>(?:[^"\\]|\\.)*)"|[^">])*)>)(.*)', re.DOTALL).fullmatch
_seconds = re.compile(r"[0-9]{1,9}").fullmatch  # RFC 4865 4
# RFC 4865 4: Internet-style-date-time, with seconds; Python's own parser takes much more.
_date_time = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})", re.IGNORECASE
).fullmatch
_embedded = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")  # RFC 6533 3
_HIGHEST: Final = 0x10FFFF


def split_parameters(argument: str, names: frozenset[str]) -> tuple[str, tuple[str, ...]]:
    """Return a command's argument without the parameters of these names, and those, as the client wrote them.

    Args:
        argument: what is behind MAIL or RCPT, such as `FROM:<a@example.org> ENVID=1 SIZE=7`.
        names: in capitals.
    """
    match = _command(argument)
    if match is None or " " not in match[2]:
        return argument, ()  # aiosmtpd knows what is wrong with it, if anything is
    kept: list[str] = []
    taken: list[str] = []
    for parameter in match[2].split(" "):
        (taken if parameter.partition("=")[0].upper() in names else kept).append(parameter)
    return match[1] + " ".join(kept), tuple(taken)


@dataclass(frozen=True, slots=True, kw_only=True)
class MailParameters:
    """What a transaction asks."""

    ret: Literal["", "FULL", "HDRS"] = ""
    envid: str = ""
    hold_for: timedelta | None = None
    hold_until: datetime | None = None
    require_tls: bool = False

    @classmethod
    def read(cls, options: Iterable[str]) -> "MailParameters":
        """Read the parameters of a MAIL FROM; those of other names are passed over.

        Raises:
            Refused: 501 5.5.4.
        """
        values = _values(options, MAIL_NAMES)
        ret = values.get("RET", "").upper()
        if "RET" in values and ret not in ("FULL", "HDRS"):
            raise _invalid("RET is FULL or HDRS")
        if values.get("REQUIRETLS"):
            raise _invalid("REQUIRETLS has no value")
        if "HOLDFOR" in values and "HOLDUNTIL" in values:
            raise _invalid("HOLDFOR and HOLDUNTIL exclude each other")  # RFC 4865 4
        envid = _decoded("ENVID", values["ENVID"]) if "ENVID" in values else ""
        try:
            DSNRequest(envid=envid)
        except InputError as error:
            raise _invalid(f"ENVID: {error}") from error
        return cls(
            ret="FULL" if ret == "FULL" else "HDRS" if ret else "",
            envid=envid,
            hold_for=_hold_for(values["HOLDFOR"]) if "HOLDFOR" in values else None,
            hold_until=_hold_until(values["HOLDUNTIL"]) if "HOLDUNTIL" in values else None,
            require_tls="REQUIRETLS" in values,
        )

    def not_before(self, now: datetime) -> datetime | None:
        """Return before when it is not to be delivered; None: at once."""
        return now + min(self.hold_for, _FOREVER) if self.hold_for is not None else self.hold_until


def read_recipient(options: Iterable[str]) -> RecipientDSN | None:
    """Read the parameters of a RCPT TO; None where it has none.

    Raises:
        Refused: 501 5.5.4.
    """
    values = _values(options, RCPT_NAMES)
    if not values:
        return None
    if "NOTIFY" in values and not values["NOTIFY"]:
        raise _invalid("NOTIFY has no value")
    wanted = values["NOTIFY"].upper().split(",") if "NOTIFY" in values else []
    try:
        # What is none of Notify is refused there, with what they are.
        return RecipientDSN(notify=tuple(wanted), orcpt=_orcpt(values.get("ORCPT")))  # type: ignore[arg-type]
    except InputError as error:
        raise error if isinstance(error, Refused) else _invalid(str(error)) from error


def _values(options: Iterable[str], names: frozenset[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for option in options:
        name, _, value = option.partition("=")
        if (known := name.upper()) in names:
            if known in values:
                raise _invalid(f"{known} is given twice")
            values[known] = value
    return values


def _invalid(text: str) -> Refused:
    return Refused(501, "5.5.4", text)  # RFC 3461 4; RFC 3463: invalid command arguments


def _decoded(name: str, value: str) -> str:
    if not value:
        raise _invalid(f"{name} has no value")
    try:
        return decode_xtext(value)
    except InputError as error:
        raise _invalid(f"{name}: {error}") from error


def _orcpt(value: str | None) -> str:
    if value is None:
        return ""
    kind, _, address = value.partition(";")
    if kind.lower() != "utf-8":
        return f"{kind};{_decoded('ORCPT', address)}"
    if any(int(code, 16) > _HIGHEST for code in _embedded.findall(address)):
        raise _invalid("ORCPT has an escape beyond Unicode")
    return f"{kind};{_embedded.sub(lambda match: chr(int(match[1], 16)), address)}"


def _hold_for(value: str) -> timedelta:
    if not _seconds(value):
        raise _invalid("HOLDFOR is a number of seconds, of 9 digits at most")
    return timedelta(seconds=int(value))


def _hold_until(value: str) -> datetime:
    if not _date_time(value):
        raise _invalid("HOLDUNTIL is a time such as 2026-03-04T05:06:07Z")
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise _invalid(f"HOLDUNTIL: {error}") from error
