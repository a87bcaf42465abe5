"""Any Retry-After is a wait within bounds or none, any answer has a verdict, and any URL is taken or refused."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from hypothesis import given
from hypothesis import strategies as st

from moxlib.errors import InputError
from moxlib.queue.hooks import MAX_RETRY_AFTER, Disable, HookConfig, Refused, Retry, Success, judge
from moxlib.queue.hooks.retry_after import read_retry_after

times = st.datetimes(min_value=datetime(1900, 1, 1), timezones=st.just(UTC)).map(
    lambda time: time.replace(microsecond=0)
)
parts = st.sampled_from(
    ["Sun", "Sunday", ", ", " ", "  ", "-", "06", "Nov", "1994", "94", "08:49:37", "GMT", "0", "30", "9", "99:99:99"]
)
values = st.text(st.characters(codec=None)) | st.lists(parts).map("".join) | st.text("0123456789", max_size=5000)


@given(values, times)
def test_any_wait(value: str, now: datetime) -> None:
    wait = read_retry_after(value, now)
    assert wait is None or timedelta(0) <= wait <= MAX_RETRY_AFTER


@given(times, times)
def test_every_date_is_read(date: datetime, now: datetime) -> None:
    expected = max(timedelta(0), min(date - now, MAX_RETRY_AFTER))
    assert read_retry_after(format_datetime(date, usegmt=True), now) == expected
    assert read_retry_after(date.ctime(), now) == expected


@given(st.integers(min_value=0, max_value=10**12), times)
def test_every_number_is_read(seconds: int, now: datetime) -> None:
    assert read_retry_after(str(seconds), now) == min(timedelta(seconds=min(seconds, 10**6)), MAX_RETRY_AFTER)


@given(st.integers(), st.dictionaries(st.sampled_from(["Retry-After", "LOCATION", "x"]), values), times)
def test_any_answer(status: int, headers: dict[str, str], now: datetime) -> None:
    verdict = judge(status, headers, now=now)
    assert isinstance(verdict, Success) == (status in range(200, 300))
    assert isinstance(verdict, Refused) == (status in range(300, 400))
    assert isinstance(verdict, Disable) == (status == 410)
    match verdict:
        case Retry(after=after):
            assert after is None or timedelta(0) < after <= MAX_RETRY_AFTER
        case Refused(location=location):
            assert len(location) <= 200
            assert location.isprintable()
        case _:
            pass


pieces = st.sampled_from(
    ["http", "https", "HTTP", "://", ":", "/", "//", "@", "?", "#", "\\", "[", "]", "%", "%25", ".", "..", "127",
     "0x7f", "::1", "localhost", "a.example", "::ffff:127.0.0.1", "80", " ", "\n", "\u3002", "\uff11", "1"]
)  # fmt: skip


@given(
    st.text(st.characters(codec=None))
    | st.lists(pieces).map("".join)
    | st.lists(pieces).map(lambda p: "http://" + "".join(p))
)
def test_any_url(url: str) -> None:
    for allow_private in (False, True):
        try:
            config = HookConfig(url=url, allow_private=allow_private)
        except InputError as caught:
            text = str(caught)
        else:
            text = config.url
            assert url.isascii()
            assert "@" not in url.partition("://")[2].partition("/")[0].partition("?")[0]
        assert len(text) < 2500
        assert text.isprintable()
