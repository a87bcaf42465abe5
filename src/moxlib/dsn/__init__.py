"""Delivery status notifications."""

from moxlib.dsn.abuse import AbuseReport
from moxlib.dsn.bounce import Bounce, BouncedRecipient, read_bounce
from moxlib.dsn.compose import compose, needs_utf8
from moxlib.dsn.errors import InvalidDSN, InvalidReport, NotADSN
from moxlib.dsn.parse import Report, parse_dsn, parse_report
from moxlib.dsn.types import DSN, MTA, Action, RecipientStatus, Returned, TypedAddress

__all__ = [
    "DSN",
    "MTA",
    "AbuseReport",
    "Action",
    "Bounce",
    "BouncedRecipient",
    "InvalidDSN",
    "InvalidReport",
    "NotADSN",
    "RecipientStatus",
    "Report",
    "Returned",
    "TypedAddress",
    "compose",
    "needs_utf8",
    "parse_dsn",
    "parse_report",
    "read_bounce",
]
