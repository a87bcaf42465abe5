"""Reading Retry-After (RFC 9110 10.2.3): a number of seconds, or a date in any of HTTP's three forms. Pure."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

__all__ = ["MAX_RETRY_AFTER", "read_retry_after"]

MAX_RETRY_AFTER: Final = timedelta(days=1)  # the longest wait of the schedule is 16 hours; who means forever says 410

_MONTHS: Final = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"
_MONTH: Final = _MONTHS.replace(" ", "|")
_TIME: Final = r"(?P<hour>\d{2}):(?P<minute>\d{2}):(?P<second>\d{2})"
_FORMS: Final = tuple(
    re.compile(form, re.ASCII)
    for form in (
        rf"[A-Z][a-z]{{2}}, (?P<day>\d{{2}}) (?P<month>{_MONTH}) (?P<year>\d{{4}}) {_TIME} GMT",  # IMF-fixdate
        rf"[A-Z][a-z]{{5,8}}, (?P<day>\d{{2}})-(?P<month>{_MONTH})-(?P<year>\d{{2}}) {_TIME} GMT",  # of RFC 850
        rf"[A-Z][a-z]{{2}} (?P<month>{_MONTH}) (?P<day>[ \d]\d) {_TIME} (?P<year>\d{{4}})",  # of asctime
    )
)
_seconds = re.compile(r"\d+", re.ASCII).fullmatch
_DIGITS: Final = 9  # of seconds: 30 years; what has more is cut to the limit without being counted


def read_retry_after(value: str, now: datetime) -> timedelta | None:
    """Return how long to wait from `now`, from 0 to `MAX_RETRY_AFTER`; None for what is neither number nor date.

    A date in the past is 0. The name of the weekday is not compared with the date.
    """
    value = value.strip(" \t")
    if _seconds(value):
        wait = MAX_RETRY_AFTER if len(value) > _DIGITS else timedelta(seconds=int(value))
    else:
        date = _read_date(value, now)
        if date is None:
            return None
        wait = date - now
    return max(timedelta(0), min(wait, MAX_RETRY_AFTER))


def _read_date(value: str, now: datetime) -> datetime | None:
    """Return an HTTP date (RFC 9110 5.6.7)."""
    for form in _FORMS:
        if match := form.fullmatch(value):
            break
    else:
        return None
    year, month = int(match["year"]), _MONTHS.index(match["month"]) // 4 + 1
    if len(match["year"]) == len("yy"):
        year += now.year - now.year % 100
        if year > now.year + 50:  # then it is of the century before
            year -= 100
    day, hour, minute = int(match["day"]), int(match["hour"]), int(match["minute"])
    second = min(int(match["second"]), 59)  # a leap second, which is within the tolerance of all this
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:  # such as of February 30
        return None
