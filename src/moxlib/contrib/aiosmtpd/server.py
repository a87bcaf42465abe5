"""aiosmtpd's SMTP protocol, with what mail that real servers and clients send needs beyond it."""

from collections import defaultdict
from typing import Any, Final

from moxlib.contrib.aiosmtpd.parameters import MAIL_NAMES, RCPT_NAMES, split_parameters
from moxlib.errors import MissingExtra

try:
    from aiosmtpd.smtp import SMTP
except ModuleNotFoundError as _error:
    raise MissingExtra("aiosmtpd", "an SMTP server that feeds a queue") from _error

__all__ = ["IncomingSMTP", "SubmissionSMTP"]

# Octets. RFC 5321 4.5.3.1.6 says 1,000; bounces return messages that do not keep to it, and whose sender could.
MAX_LINE: Final = 64 * 1024
# Octets of a command: 512 (RFC 5321 4.5.3.1.4), and for the parameters of RFC 1870, 6531, 3461 (ORCPT alone has 500),
# 4865 and 8689 less than as much again, twice.
MAX_COMMAND: Final = 2048
MAX_AUTH: Final = 12288  # RFC 4954 4

SYNTAX: Final = "501 5.5.2 no address that can be read"
# What reading an address raises that is cut short, or nested; aiosmtpd does not expect it. Its hooks raise nothing.
_UNREADABLE: Final = (LookupError, ValueError, AttributeError, RecursionError)


class IncomingSMTP(SMTP):
    """aiosmtpd's protocol that takes lines of up to 64 KiB, and refuses addresses that aiosmtpd trips over."""

    line_length_limit = MAX_LINE
    # aiosmtpd's own are one dict for all its servers, emptied by each connection.
    command_size_limits: dict[str, int] = defaultdict(int)  # noqa: RUF012 - only so that theirs is left alone

    def __init__(self, handler: Any, **options: Any) -> None:
        super().__init__(handler, **options)
        limits: dict[str, int] = defaultdict(lambda: MAX_COMMAND)
        limits["AUTH"] = MAX_AUTH
        self.command_size_limits = limits

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd finds it by its name
        """Take MAIL FROM."""
        try:
            await super().smtp_MAIL(arg)
        except _UNREADABLE:
            await self.push(SYNTAX)

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Take RCPT TO."""
        try:
            await super().smtp_RCPT(arg)
        except _UNREADABLE:
            await self.push(SYNTAX)


class SubmissionSMTP(IncomingSMTP):
    """aiosmtpd's protocol that takes the parameters of DSN, FUTURERELEASE and REQUIRETLS.

    aiosmtpd refuses all that it does not know. Here, `parameters` has them while the handler's hooks run.
    """

    parameters: tuple[str, ...] = ()
    """Of the MAIL or RCPT under way, those that aiosmtpd does not know, as the client wrote them."""

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802
        """Take MAIL FROM."""
        await super().smtp_MAIL(self._without_parameters(arg, MAIL_NAMES))

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802
        """Take RCPT TO."""
        await super().smtp_RCPT(self._without_parameters(arg, RCPT_NAMES))

    def _without_parameters(self, arg: str | None, names: frozenset[str]) -> str | None:
        self.parameters = ()
        if arg is None or self.session is None or not self.session.extended_smtp:
            return arg
        rest, self.parameters = split_parameters(arg, names)
        return rest
