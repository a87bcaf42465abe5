"""What answers mean, how long Retry-After is, and when the next attempt is."""

from datetime import UTC, datetime, timedelta

import pytest

from moxlib.queue.hooks import (
    HOOK_SCHEDULE,
    MAX_RETRY_AFTER,
    Disable,
    Refused,
    Retry,
    Success,
    Verdict,
    judge,
    next_call,
)
from moxlib.queue.hooks.failure import describe_status
from moxlib.queue.hooks.retry_after import read_retry_after
from moxlib.queue.hooks.verdict import RATE_WAIT

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def seconds(count: float) -> timedelta:
    return timedelta(seconds=count)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
def test_any_2xx_is_success(status: int) -> None:
    assert judge(status, {"Retry-After": "5"}, now=NOW) == Success()


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308, 399])
def test_redirects_are_refused(status: int) -> None:
    assert judge(status, {}, now=NOW) == Refused()
    assert judge(status, {"LOCATION": "http://10.0.0.1/\n\x1b"}, now=NOW) == Refused(
        location="http://10.0.0.1/\\n\\x1b"
    )


def test_where_a_redirect_led_is_bounded() -> None:
    verdict = judge(302, {"location": "\x00" * 10_000}, now=NOW)
    assert isinstance(verdict, Refused)
    assert len(verdict.location) == 200


@pytest.mark.parametrize("status", [100, 199, 400, 401, 404, 408, 409, 411, 425, 500, 501, 502, 504, 599, 600, 999])
def test_other_failures_are_retried_by_the_schedule(status: int) -> None:
    assert judge(status, {"Retry-After": "5"}, now=NOW) == Retry()


def test_an_endpoint_that_is_gone_is_disabled() -> None:
    assert judge(410, {"Retry-After": "5"}, now=NOW) == Disable()


@pytest.mark.parametrize(
    ("status", "value", "wait"),
    [
        (429, None, RATE_WAIT),
        (429, "", RATE_WAIT),
        (429, "soon", RATE_WAIT),
        (429, "0", None),
        (429, "300", seconds(300)),
        (429, "999999", MAX_RETRY_AFTER),
        (503, None, None),
        (503, "soon", None),
        (503, "0", None),
        (503, "300", seconds(300)),
        (503, "Wed, 04 Mar 2026 05:10:00 GMT", seconds(233)),
    ],
)
def test_an_endpoint_that_is_busy_may_say_how_long(status: int, value: str | None, wait: timedelta | None) -> None:
    for name in ("Retry-After", "retry-after", "RETRY-AFTER"):
        headers = {"Content-Type": "text/plain"} | ({} if value is None else {name: value})
        assert judge(status, headers, now=NOW) == Retry(after=wait)


@pytest.mark.parametrize(
    ("value", "wait"),
    [
        ("0", 0),
        ("120", 120),
        (" 120\t", 120),
        ("000120", 120),
        ("86400", 86_400),
        ("86401", 86_400),
        ("9" * 100, 86_400),
        ("9" * 8000, 86_400),
        ("Wed, 04 Mar 2026 05:06:17 GMT", 10),
        ("Fri, 04 Mar 2026 05:06:17 GMT", 10),  # the weekday is not looked at
        ("Wed, 04 Mar 2026 05:06:07 GMT", 0),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 0),
        ("Sun Nov  6 08:49:37 1994", 0),
        ("Wednesday, 04-Mar-26 05:07:07 GMT", 60),
        ("Wed Mar  4 05:07:07 2026", 60),
        ("Wed, 31 Dec 9999 23:59:59 GMT", 86_400),
        ("Wed, 04 Mar 2026 05:06:60 GMT", 52),
    ],
)
def test_waits_are_seconds_or_dates_and_bounded(value: str, wait: int) -> None:
    assert read_retry_after(value, NOW) == seconds(wait)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "-1",
        "+1",
        "1.5",
        "1 s",
        "0x10",
        "\u0661",
        "1_0",
        "Wed, 04 Mar 2026 05:06:17",
        "Wed, 04 Mar 2026 05:06:17 +0100",
        "wed, 04 mar 2026 05:06:17 gmt",
        "Wed, 30 Feb 2026 05:06:17 GMT",
        "Wed, 04 Mar 2026 25:06:17 GMT",
        "Wed, 04 Mar 0000 05:06:17 GMT",
        "Wed, 4 Mar 2026 05:06:17 GMT",
        "2026-03-04T05:06:17Z",
    ],
)
def test_what_is_neither_number_nor_date_is_none(value: str) -> None:
    assert read_retry_after(value, NOW) is None


@pytest.mark.parametrize(("year", "wait"), [("76", MAX_RETRY_AFTER), ("77", timedelta(0))])
def test_years_of_two_digits_are_at_most_fifty_years_off(year: str, wait: timedelta) -> None:
    assert read_retry_after(f"Wednesday, 04-Mar-{year} 05:06:07 GMT", NOW) == wait


def test_the_schedule_has_twelve_attempts() -> None:
    assert HOOK_SCHEDULE.max_attempts == 12
    assert str(HOOK_SCHEDULE) == "1m, 2m, 4m, 7m30s, 15m, 30m, 1h, 2h, 4h, 8h, 16h"


def test_the_next_attempt_is_by_the_schedule_and_its_jitter() -> None:
    for jitter, factor in ((0.0, 1.0), (1.0, 1.01), (-1.0, 0.99)):
        for verdict in (Retry(), Refused(location="http://x")):
            at = next_call(verdict, HOOK_SCHEDULE, attempts=4, now=NOW, jitter=jitter)
            assert at == NOW + seconds(450) * factor
    assert next_call(Retry(), HOOK_SCHEDULE, attempts=12, now=NOW, jitter=0) is None


def test_the_receivers_wish_can_only_put_it_off() -> None:
    soon, late = Retry(after=seconds(5)), Retry(after=seconds(1000))
    assert next_call(soon, HOOK_SCHEDULE, attempts=1, now=NOW, jitter=0) == NOW + seconds(60)
    assert next_call(late, HOOK_SCHEDULE, attempts=1, now=NOW, jitter=0) == NOW + seconds(1000)
    assert next_call(late, HOOK_SCHEDULE, attempts=12, now=NOW, jitter=0) is None


@pytest.mark.parametrize(
    ("status", "verdict", "text"),
    [
        (404, Retry(), "HTTP status 404 Not Found"),
        (299, Retry(), "HTTP status 299"),
        (302, Refused(), "HTTP status 302 Found; redirects are not followed: without Location"),
        (302, Refused(location="/x"), "HTTP status 302 Found; redirects are not followed: /x"),
    ],
)
def test_statuses_in_words(status: int, verdict: Verdict, text: str) -> None:
    assert describe_status(status, verdict) == text
