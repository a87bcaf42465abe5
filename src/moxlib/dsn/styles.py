"""How servers put a failure in words, where they do so without a delivery-status part.

A style is known by how its text opens. From there to where the returned message begins, each recipient is named as the
style names it, with the reason after it. Programs are told apart, since one's way to name a recipient is another's way
to quote something else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

__all__ = ["MAX_OPENING", "STYLES", "Named", "Style"]

MAX_OPENING: Final = 4000  # characters from the start in which a text has to open as its style does
MAX_REASON: Final = 2000  # characters kept of a reason; Exchange's are the longest, with some hundreds
MAX_NAMED: Final = 1000  # recipients, as of a DSN

_ADDRESS: Final = r"[^\s<>()\[\]:;,\"']{1,64}@[^\s<>()\[\]:;,\"'=]{1,255}"
_blank_line = re.compile(r"\n[ \t]*+\n").search


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A recipient as a text names it, and what the text says after the name."""

    address: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """How one program's texts are built.

    Attributes:
        name: the program.
        openings: what they say before they name recipients, in lower case; one of them.
        recipient: how they name one, with a group `address`.
        end: what they say after the last one; what follows it is the returned message. None if nothing is returned so.
        paragraphs: a reason ends at the first blank line. Otherwise it goes on to the next recipient.
    """

    name: str
    openings: tuple[str, ...]
    recipient: re.Pattern[str]
    end: re.Pattern[str] | None = None
    paragraphs: bool = True

    def section(self, text: str, opening: str) -> tuple[int, int, int] | None:
        """Return where a text of this style names recipients (start, end), and where a copy of the message begins.

        Args:
            text: all of it.
            opening: its beginning, `MAX_OPENING` characters, in lower case.
        """
        for words in self.openings:
            at = opening.find(words)
            if at >= 0:
                begin = at + len(words)
                end = self.end.search(text, begin) if self.end else None
                return (begin, end.start(), end.end()) if end else (begin, len(text), len(text))
        return None

    def named(self, section: str) -> Iterator[Named]:
        """Yield the recipients that are named in a section."""
        matches = list(islice(self.recipient.finditer(section), MAX_NAMED))
        for index, match in enumerate(matches):
            until = matches[index + 1].start() if index + 1 < len(matches) else len(section)
            reason = section[match.end("address") : until].lstrip(">:, \t\r\n")
            if self.paragraphs and (blank := _blank_line(reason)):
                reason = reason[: blank.start()]
            yield Named(address=match["address"], reason=" ".join(reason[:MAX_REASON].split()))


def _style(
    name: str, openings: tuple[str, ...], recipient: str, end: str | None = None, *, paragraphs: bool = True
) -> Style:
    return Style(
        name=name,
        openings=openings,
        recipient=re.compile(recipient.replace("ADDRESS", f"(?P<address>{_ADDRESS})"), re.MULTILINE),
        end=None if end is None else re.compile(end, re.MULTILINE),
        paragraphs=paragraphs,
    )


STYLES: Final = (
    # qmail-send's form, https://cr.yp.to/proto/qsbmf.txt, which other programs write too
    _style(
        "qmail",
        (
            "hi. this is the ",
            "hi. the mta program at ",
            "this is the mail delivery agent at ",
            "we're sorry. there's a problem with the e",
        ),
        r"^<ADDRESS>:[ \t]*+$",
        r"^---[^\n]*$\n*",
    ),
    _style(
        "postfix",
        ("this is the mail system at host ", "this is the postfix program at host "),
        r"^<ADDRESS>(?: \(expanded from [^)\n]{1,300}\))?: ",
    ),
    _style(
        "exim",
        (
            "the following address(es) failed:",
            "the following addresses failed:",
            "the following address failed:",
            "has not yet been delivered is:",
            "has not yet been delivered are:",
        ),
        r"^[ \t]{2}(?:[^\n<>:]{1,100} <)?ADDRESS>?:?[ \t]*+$",
        r"^-{4,} This is a copy of [^\n]*$\n*",
    ),
    _style(
        "sendmail",
        tuple(f"----- the following addresses had {what} " for what in ("permanent", "transient", "delivery")),
        r"^[ \t]*+<?ADDRESS>?(?:[ \t]++\([^)\n]{1,100}\))?[ \t]*+$",
        r"^[ \t]*+----- (?:Original message|Unsent message|Message header) follows? -----[^\n]*$\n*",
        paragraphs=False,
    ),
    _style(
        "gmail",
        tuple(
            f"delivery to the following recipient{plural} {what}:"
            for plural in ("", "s")
            for what in ("failed permanently", "has been delayed", "have been delayed")
        ),
        r"^[ \t]++(?:\* )?ADDRESS[ \t]*+$",
        r"^----- (?:Original message|Message header follows) -----[^\n]*$\n*",
        paragraphs=False,
    ),
    _style(
        "yahoo",
        (
            "sorry, we were unable to deliver your message to the following address",
            "unable to deliver message to the following address",
        ),
        r"^<ADDRESS>:",
        r"^--- (?:Below this line is a copy of|Original message follows|Forwarded message follows)[^\n]*$\n*",
    ),
    _style(
        "exchange",
        (
            "delivery has failed to these recipients or",
            "did not reach the following recipient(s):",
            "delivery to the following recipients failed.",
        ),
        r"^[ \t]*+(?:[^\n<>@]{1,100}[<(])?(?:mailto:)?ADDRESS(?:[>)][^\n]{0,300}| on [^\n]{1,60})?[ \t]*+$",
        r"^(?:Original message headers:|Message Headers?:)[ \t]*+$\n*",
        paragraphs=False,
    ),
    _style(
        "opensmtpd",
        ("this is the mailer-daemon, please do not reply",),
        r"^[ \t]*+ADDRESS: ",
        r"^[ \t]*+Below is a copy of the original message:[ \t]*+$\n*",
    ),
)
