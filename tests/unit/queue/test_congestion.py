"""The window of a site, by example."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.congestion import Concurrency, Feedback, Window

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def window(**settings: Any) -> Window:
    return Window(Concurrency(**settings))


def limits(window: Window, events: str) -> list[int]:
    """Return the limit after each event: + is a success, - a failure."""
    found = []
    for event in events:
        if event == "+":
            window.succeeded()
        else:
            window.failed(NOW)
        found.append(window.limit)
    return found


# Growing and shrinking


def test_by_default_it_grows_by_one_for_each_windowful_of_successes() -> None:
    assert limits(window(initial=2), "++" + "+++" + "++++") == [2, 3, 3, 3, 4, 4, 4, 4, 5]


def test_by_default_it_shrinks_by_one_for_each_failure() -> None:
    assert limits(window(initial=5, failed_cohorts=0), "-" * 6) == [4, 3, 2, 1, 1, 1]


def test_postfix_defaults_grow_by_one_for_each_success() -> None:
    assert limits(window(initial=5, maximum=8, positive="1"), "+++++") == [6, 7, 8, 8, 8]


def test_failures_worth_less_than_a_step_add_up() -> None:
    """The first one counts at once, as nothing was left to lose; then as many as make a step."""
    assert limits(window(initial=10, negative="1/4", failed_cohorts=0), "-" * 9) == [9, 9, 9, 9, 8, 8, 8, 8, 7]


def test_a_step_up_throws_away_the_fractions_of_the_way_down() -> None:
    site = window(initial=10, positive="1", negative="1/4", failed_cohorts=0)
    assert limits(site, "---+-") == [9, 9, 9, 10, 9]


def test_a_step_down_throws_away_the_fractions_of_the_way_up() -> None:
    site = window(initial=10, positive="1/4", negative="1", failed_cohorts=0)
    assert limits(site, "++-+++") == [10, 10, 9, 9, 9, 9]
    assert limits(site, "+") == [10]


def test_no_feedback_no_change() -> None:
    site = window(initial=3, positive="0", negative="0", failed_cohorts=0)
    assert limits(site, "+-" * 20) == [3] * 40


def test_it_does_not_grow_further_than_what_was_tried() -> None:
    """A trickle of single deliveries says nothing about twenty at once."""
    site = window(initial=3, positive="1", maximum=20)
    found = []
    for _ in range(5):
        site.succeeded(busy=1)
        found.append(site.limit)
    assert found == [4, 4, 4, 4, 4]
    site.succeeded(busy=4)
    assert site.limit == 5


# Dead, and alive again


def test_a_site_is_dead_when_a_cohort_failed() -> None:
    """At a window of 5, by a step each: 1/5 + 1/4 + 1/3 are under one cohort, with 1/2 they are over it."""
    site = window(initial=5)
    for _ in range(3):
        site.failed(NOW)
        assert site.admits(NOW)
        assert site.suspended_until(NOW) is None
    site.failed(NOW)
    assert not site.admits(NOW)
    assert site.is_dead
    assert site.suspended_until(NOW) == NOW + 5 * MINUTE
    assert site.limit == 1


def test_a_success_in_between_begins_the_cohort_anew() -> None:
    site = window(initial=5, negative="0")
    limits(site, "----+----")
    assert site.admits(NOW)
    site.failed(NOW)
    assert not site.admits(NOW)


def test_a_site_is_never_dead_with_no_limit_of_cohorts() -> None:
    site = window(failed_cohorts=0)
    limits(site, "-" * 1000)
    assert site.admits(NOW)
    assert site.limit == 1


def dead(**settings: Any) -> Window:
    site = window(initial=1, **settings)
    site.failed(NOW)
    assert site.suspended_until(NOW) is not None
    return site


def test_one_probe_when_the_suspension_is_over() -> None:
    site = dead()
    assert not site.admits(NOW + 5 * MINUTE - SECOND)
    later = NOW + 5 * MINUTE
    assert site.suspended_until(later) is None
    assert [site.admits(later) for _ in range(3)] == [True, False, False]
    site.succeeded()
    assert [site.admits(later) for _ in range(3)] == [True, True, True]


def test_it_begins_anew_when_the_probe_succeeded() -> None:
    site = window(initial=3, maximum=9, positive="1", negative="0")
    limits(site, "+++" + "-" * 9)
    assert site.limit == 1
    assert site.admits(NOW + 5 * MINUTE)
    site.succeeded()
    assert site.limit == 3
    assert site.is_fresh


def test_each_probe_that_fails_doubles_the_suspension_up_to_the_longest() -> None:
    site = dead(suspend_for=5 * MINUTE, suspend_at_most=30 * MINUTE)
    now = NOW
    lengths = []
    for _ in range(5):
        end = site.suspended_until(now)
        assert end is not None
        lengths.append((end - now) // MINUTE)
        now = end
        assert site.admits(now)
        site.failed(now)
    assert lengths == [5, 10, 20, 30, 30]


def test_a_success_makes_the_next_suspension_short_again() -> None:
    site = dead()
    later = NOW + 5 * MINUTE
    assert site.admits(later)
    site.failed(later)
    assert site.suspended_until(later) == later + 10 * MINUTE
    site.succeeded()  # of a delivery that was still under way
    assert site.limit == 1 == site.settings.initial
    site.failed(later)
    assert site.suspended_until(later) == later + 5 * MINUTE


def test_deliveries_under_way_when_it_died_do_not_make_it_longer() -> None:
    site = dead()
    for seconds in range(10):
        site.failed(NOW + seconds * SECOND)
    site.failed(NOW + 6 * MINUTE)  # nor before the probe
    assert site.suspended_until(NOW) == NOW + 5 * MINUTE
    assert site.admits(NOW + 6 * MINUTE)


def test_a_probe_that_was_withdrawn_makes_room_for_another() -> None:
    site = dead()
    later = NOW + 5 * MINUTE
    assert site.admits(later)
    site.withdrawn()
    assert [site.admits(later) for _ in range(2)] == [True, False]


def test_withdrawing_changes_nothing_about_a_live_site() -> None:
    site = window(initial=3)
    site.withdrawn()
    assert site.is_fresh
    assert site.limit == 3


def test_a_probe_of_which_nothing_is_heard_is_given_up() -> None:
    site = dead()
    later = NOW + 5 * MINUTE
    assert site.admits(later)
    assert not site.admits(later + 5 * MINUTE - SECOND)
    assert site.admits(later + 5 * MINUTE)


def test_a_clock_set_back_does_not_make_it_longer() -> None:
    site = dead()
    assert site.suspended_until(NOW - SECOND) is None
    assert site.admits(NOW - SECOND)


# What is worth remembering


def test_a_new_window_may_be_forgotten_and_one_that_grew() -> None:
    site = window(initial=3, positive="1")
    assert site.is_fresh
    assert site.is_stale(NOW)
    site.succeeded()
    assert site.limit == 4
    assert site.is_fresh
    assert site.is_stale(NOW)


def test_failures_are_remembered_for_as_long_as_the_longest_suspension() -> None:
    site = window(suspend_at_most=60 * MINUTE)
    site.failed(NOW)
    assert not site.is_fresh
    assert not site.is_stale(NOW + 60 * MINUTE - SECOND)
    assert site.is_stale(NOW + 60 * MINUTE)


def test_failures_before_a_success_need_not_be_remembered() -> None:
    site = window(positive="1")
    site.failed(NOW)
    assert not site.is_stale(NOW)
    site.succeeded()
    assert site.is_stale(NOW)


def test_a_dead_site_is_remembered_beyond_its_suspension() -> None:
    site = dead(suspend_for=5 * MINUTE, suspend_at_most=60 * MINUTE)
    assert not site.is_fresh
    assert not site.is_stale(NOW + 65 * MINUTE - SECOND)
    assert site.is_stale(NOW + 65 * MINUTE)


# Settings


@pytest.mark.parametrize(
    ("text", "window", "expected"),
    [
        ("1", 7, 1.0),
        ("0", 7, 0.0),
        ("0.25", 7, 0.25),
        ("1/8", 7, 0.125),
        (" 1 / 8 ", 7, 0.125),
        ("0.5/0.5", 7, 1.0),
        ("1/concurrency", 4, 0.25),
        ("0.5 / concurrency", 4, 0.125),
        ("1/sqrt_concurrency", 16, 0.25),
        ("1/concurrency", 1, 1.0),
    ],
)
def test_feedback(text: str, window: int, expected: float) -> None:
    feedback = Feedback.parse(text)
    assert feedback.at(window) == expected
    assert Feedback.parse(str(feedback)) == feedback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "2",
        "3/2",
        "2/concurrency",
        "1/0",
        "1/0.0",
        "1/",
        "/2",
        "1/concurrency/2",
        "1e-1",
        "nan",
        "1/root",
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_feedback(text: str) -> None:
    with pytest.raises(InputError, match="feedback"):
        Feedback.parse(text)


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("maximum", {"maximum": 0}),
        ("maximum", {"maximum": 10_001}),
        ("initial", {"initial": 0}),
        ("initial", {"initial": 6, "maximum": 5}),
        ("positive", {"positive": "2"}),
        ("negative", {"negative": "half"}),
        ("failed_cohorts", {"failed_cohorts": -1}),
        ("failed_cohorts", {"failed_cohorts": float("nan")}),
        ("failed_cohorts", {"failed_cohorts": 1001}),
        ("suspend_for", {"suspend_for": timedelta(0)}),
        ("suspend_for", {"suspend_for": 2 * MINUTE, "suspend_at_most": MINUTE}),
        ("suspend_for", {"suspend_at_most": timedelta(days=8)}),
    ],
)
def test_settings_that_cannot_be(field: str, options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"Concurrency.{field}"):
        Concurrency(**options)


def test_the_longest_suspension_is_reached_and_kept() -> None:
    settings = Concurrency(suspend_for=timedelta(microseconds=1), suspend_at_most=timedelta(days=7))
    assert settings.suspension(1) == timedelta(microseconds=1)
    assert settings.suspension(21) == timedelta(microseconds=2**20)
    assert settings.suspension(10**9) == timedelta(days=7)
