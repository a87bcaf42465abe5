"""What a server announces."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from moxlib.smtpclient import Extensions, FutureRelease, Reply
from moxlib.smtpclient.extensions import parse_extensions


def announced(*keywords: str) -> Extensions:
    lines = ["250-mx.example PIPELINING", *(f"250-{keyword}" for keyword in keywords)]
    lines[-1] = lines[-1].replace("250-", "250 ", 1)
    return parse_extensions(Reply(code=250, lines=tuple(lines)))


@pytest.mark.parametrize(
    ("keyword", "found"),
    [
        ("PIPELINING", {"pipelining": True}),
        ("pipelining", {"pipelining": True}),
        (" 8BITMIME ", {"eight_bit_mime": True}),
        ("8BITMIME x", {}),
        ("SMTPUTF8", {"smtputf8": True}),
        ("SMTPUTF8 with parameters", {"smtputf8": True}),
        ("STARTTLS", {"starttls": True}),
        ("ENHANCEDSTATUSCODES", {"enhanced_status_codes": True}),
        ("REQUIRETLS", {"require_tls": True}),
        ("SIZE", {"size": 0}),
        ("SIZE 0", {"size": 0}),
        ("size 1000", {"size": 1000}),
        ("SIZE many", {"size": 0}),
        ("SIZE \u0661", {"size": 0}),
        ("SIZE -1", {"size": 0}),
        ("SIZE " + "9" * 21, {"size": 0}),
        ("AUTH plain  Login", {"auth": ("PLAIN", "LOGIN")}),
        ("AUTH", {}),
        ("XUNKNOWN", {}),
        ("", {}),
        ("LIMITS RCPTMAX=7", {"limits": (("RCPTMAX", "7"),), "rcpt_max": 7}),
        (
            "LIMITS rcptmax=7 MAILMAX=2 RCPTDOMAINMAX=1",
            {
                "limits": (("RCPTMAX", "7"), ("MAILMAX", "2"), ("RCPTDOMAINMAX", "1")),
                "rcpt_max": 7,
                "mail_max": 2,
                "rcpt_domain_max": 1,
            },
        ),
        ("LIMITS RCPTMAX=0", {"limits": (("RCPTMAX", "0"),)}),
        ("LIMITS RCPTMAX=1000000", {"limits": (("RCPTMAX", "1000000"),)}),
        ("LIMITS", {}),
        ("LIMITS RCPTMAX", {}),
        ("LIMITS RCPTMAX=", {}),
        ("LIMITS RCPTMAX=1;", {}),
        ("LIMITS RCPTMAX=1  MAILMAX=2", {}),
        ("LIMITS RCPTMAX=1 RCPTMAX=2", {}),
        ("CHUNKING", {"chunking": True}),
        ("CHUNKING x", {}),
        ("chunking", {"chunking": True}),
        ("BINARYMIME", {"binary_mime": True}),
        ("DSN", {"dsn": True}),
        ("DSN x", {}),
        ("MT-PRIORITY MIXER", {}),
        ("MT-PRIORITY", {}),
        ("FUTURERELEASE", {}),
        ("FUTURERELEASE 3600", {}),
        ("FUTURERELEASE 0 2030-01-01T00:00:00Z", {}),
        ("FUTURERELEASE 1000000000 2030-01-01T00:00:00Z", {}),
        ("FUTURERELEASE 3600 2030-01-01T00:00:00", {}),
        ("FUTURERELEASE 3600 2030-13-01T00:00:00Z", {}),
        ("FUTURERELEASE 3600 0000-01-01T00:00:00Z", {}),
        ("FUTURERELEASE 3600 2030-01-01T00:00:00Z x", {}),
        ("FUTURERELEASE \u0661 2030-01-01T00:00:00Z", {}),
        *[
            (
                f"futurerelease 3600 2030-01-01t00:00:00{zone}",
                {"future_release": FutureRelease(max_interval=timedelta(hours=1), max_datetime=latest)},
            )
            for zone, latest in [
                ("z", datetime(2030, 1, 1, tzinfo=UTC)),
                (".5Z", datetime(2030, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
                ("+02:00", datetime(2030, 1, 1, tzinfo=timezone(timedelta(hours=2)))),
            ]
        ],
    ],
)
def test_keyword(keyword: str, found: dict[str, Any]) -> None:
    assert announced(keyword) == Extensions(**found)


def test_the_first_line_names_the_server() -> None:
    assert announced() == Extensions()
