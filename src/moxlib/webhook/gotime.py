"""Times in JSON as Go writes them: RFC 3339, with as many digits of the second as it takes, and Z for no offset."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ["read_time", "write_time"]

_TIME: Final = re.compile(
    r"(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(?:Z|([+-])(\d{2}):(\d{2}))", re.ASCII
)  # RFC 3339 5.6; a fraction in Go has nine digits at most
HOURS: Final = 23
MINUTES: Final = 59


def write_time(time: datetime) -> str:
    """Return an aware time as Go writes it: `2024-01-01T10:00:00.25+01:00`.

    An offset that is no whole number of minutes, as some places had before there were time zones, becomes UTC.
    """
    offset = time.utcoffset() or timedelta(0)
    if offset % timedelta(minutes=1):
        time, offset = time.astimezone(UTC), timedelta(0)
    text = time.replace(tzinfo=None).isoformat()
    if time.microsecond:
        text = text.rstrip("0")
    if not offset:
        return text + "Z"
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return f"{text}{'-' if offset < timedelta(0) else '+'}{hours:02}:{minutes:02}"


def read_time(text: str) -> datetime:
    """Return the time, aware, to the microsecond: what is finer is cut off.

    Raises:
        ValueError: it is no time, or of the year 0, which Python has not.
    """
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError("it is no time of RFC 3339")
    date, fraction, sign, hours, minutes = match.groups()
    zone = UTC
    if sign is not None:
        if int(hours) > HOURS or int(minutes) > MINUTES:
            raise ValueError("it has an offset of a day or more")
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        zone = timezone(-offset if sign == "-" else offset)
    microsecond = int((fraction or "")[:6].ljust(6, "0"))
    return datetime.fromisoformat(date).replace(microsecond=microsecond, tzinfo=zone)
