"""The Date field (RFC 5322 3.3, with the obsolete forms of 4.3).

Not by `email.utils`, which does not say whether there was a zone, and whose datetimes may be out of range.
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Final

__all__ = ["parse_date"]

_date = re.compile(
    r"""
    \s*+ (?>(?:[A-Za-z]++ \s*+ ,?+ \s*+)?)
    ([0-9]{1,2}) [\s-]++ ([A-Za-z]{3})[A-Za-z]*+\.?+ [\s-]++ ([0-9]{2,4})
    \s++ ([0-9]{1,2}) \s*+ : \s*+ ([0-9]{2}) (?>(?: \s*+ : \s*+ ([0-9]{2}) (?>(?:\.[0-9]++)?) )?)
    \s*+ (?: ([+-])([0-9]{2}):?([0-9]{2}) | ([A-Za-z]{1,9}) ) (?![A-Za-z0-9])
    """,
    re.VERBOSE | re.ASCII,
).match
_comment = re.compile(r"\([^()]*+\)")
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HOURS_OF_ZONE: Final = {"est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7}
_DAY: Final = timedelta(days=1)
_CENTURY_ENDS, _LATE_ENDS = 50, 1000  # years below are of this century; and of the last (RFC 5322 4.3)
_FIRST_YEAR: Final = 1900  # RFC 5322 3.3
_LEAP_SECOND: Final = 60


def parse_date(value: str) -> datetime | None:
    """Return the time that a Date field says; None if it says none, or not in which zone.

    A zone of a day or more is converted to UTC. Names of zones other than those of RFC 5322 4.3 are UTC, as it says.
    A leap second is the first of the next minute.
    """
    if "(" in value:
        value = _comment.sub(" ", value)
    match = _date(value)
    if match is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes, zone_name = match.groups()
    if zone_name is None:
        offset = timedelta(hours=int(zone_hours), minutes=int(zone_minutes)) * (-1 if sign == "-" else 1)
    else:
        offset = timedelta(hours=_HOURS_OF_ZONE.get(zone_name.lower(), 0))
    seconds = int(second or 0)
    leap = seconds == _LEAP_SECOND
    try:
        number = _MONTHS.index(month.lower()) + 1
        local = datetime(_full_year(year), number, int(day), int(hour), int(minute), seconds - leap, tzinfo=UTC)
        local += timedelta(seconds=leap)
        in_utc = local - offset
    except (ValueError, OverflowError):  # no such month, day or hour; or beyond the year 9999
        return None
    if local.year < _FIRST_YEAR:
        return None
    return in_utc if offset == timedelta() or abs(offset) >= _DAY else in_utc.astimezone(timezone(offset))


def _full_year(text: str) -> int:
    year = int(text)
    if len(text) == 2 and year < _CENTURY_ENDS:  # noqa: PLR2004 - two digits
        return year + 2000
    return year + 1900 if year < _LATE_ENDS and len(text) < 4 else year  # noqa: PLR2004 - four digits
