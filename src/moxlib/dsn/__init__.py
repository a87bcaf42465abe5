"""Delivery status notifications (RFC 3464, 6522, 6533): read and written; abuse reports (RFC 5965), and other bounces.

parse_report(source) -> DSN | AbuseReport | None     the report that a message is, as servers write them
read_bounce(source) -> Bounce | None                 a bounce in a form of its own, recognised by its words
parse_dsn(source) -> DSN                             a DSN, of which the form is insisted on
compose(dsn, *, smtputf8, clock, boundary) -> bytes  a DSN as a message, in UTF-8 or in 7 bits
needs_utf8(dsn) -> bool                              whether the first of these says more
DSN             reporting_mta, recipients, text, original_envelope_id, returned, ...; each RecipientStatus has
                final_recipient, action, status, diagnostic_text, code, enhanced, ...
AbuseReport     feedback_type, original_rcpt_to, source_ip, returned, ...
NotADSN, InvalidReport, InvalidDSN                   what goes wrong: see `moxlib.dsn.errors`
"""

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
