"""How servers put a failure in words, where they do so without a delivery-status part.

A style is known by how its text opens. From there to where the returned message begins, each recipient is named as the
style names it, with the reason after it. Programs are told apart, since one's way to name a recipient is another's way
to quote something else.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["STYLES", "Named", "Style"]

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
        opening: what they say before they name recipients.
        recipient: how they name one, with a group `address`; and the reason after it, if one has to be there.
        end: what they say after the last one; what follows it is the returned message, if `copy` is set.
        paragraphs: a reason ends at the first blank line. Otherwise it goes on to the next recipient.
    """

    name: str
    opening: re.Pattern[str]
    recipient: re.Pattern[str]
    end: re.Pattern[str]
    copy: bool = False
    paragraphs: bool = True

    def section(self, text: str) -> tuple[int, int, int] | None:
        """Return where, in a text of this style, recipients are named (start, end), and where a copy begins."""
        opening = self.opening.search(text, 0, MAX_OPENING)
        if opening is None:
            return None
        end = self.end.search(text, opening.end())
        return (opening.end(), end.start(), end.end()) if end else (opening.end(), len(text), len(text))

    def named(self, section: str) -> Iterator[Named]:
        """Yield the recipients that are named in a section."""
        matches = [match for match, _ in zip(self.recipient.finditer(section), range(MAX_NAMED), strict=False)]
        for index, match in enumerate(matches):
            until = matches[index + 1].start() if index + 1 < len(matches) else len(section)
            reason = section[match.end("address") : until].lstrip(">:, \t\r\n")
            if self.paragraphs and (blank := _blank_line(reason)):
                reason = reason[: blank.start()]
            yield Named(address=match["address"], reason=" ".join(reason[:MAX_REASON].split()))


def _style(
    name: str,
    opening: str,
    recipient: str,
    end: str = r"\Z",
    *,
    copy: bool = False,
    paragraphs: bool = True,
) -> Style:
    return Style(
        name=name,
        opening=re.compile(opening, re.IGNORECASE),
        recipient=re.compile(recipient.replace("ADDRESS", f"(?P<address>{_ADDRESS})"), re.MULTILINE | re.IGNORECASE),
        end=re.compile(end, re.MULTILINE | re.IGNORECASE),
        copy=copy,
        paragraphs=paragraphs,
    )


STYLES: Final = (
    # qmail-send's form, https://cr.yp.to/proto/qsbmf.txt, which other programs write too
    _style(
        "qmail",
        r"\A\s*(?:Hi\. (?:This is the|The MTA program at) |This is the mail delivery agent at |"
        r"We're sorry\. There's a problem with the e-?mail)",
        r"^<ADDRESS>:[ \t]*$",
        r"^---[^\n]*$\n*",
        copy=True,
    ),
    _style(
        "postfix",
        r"This is the (?:mail system at host|Postfix program at host)",
        r"^<ADDRESS>(?: \(expanded from [^)\n]{1,300}\))?: ",
        r"^--+ ?[^\n]*\Z",
    ),
    _style(
        "exim",
        r"The following address(?:\(es\)|es)? failed:|has not yet been delivered (?:is|are):|"
        r"recipients of this message.{0,200}?not been delivered",
        r"^[ \t]{2}(?:[^\n<>:]{1,100} <)?ADDRESS>?:?[ \t]*$",
        r"^-{4,} This is a copy of [^\n]*$\n*",
        copy=True,
    ),
    _style(
        "sendmail",
        r"----- The following addresses had (?:permanent|transient|delivery)[^\n]*-----",
        r"^[ \t]*<?ADDRESS>?(?:[ \t]+\([^)\n]{1,100}\))?[ \t]*$",
        r"^[ \t]*----- (?:Original message|Unsent message|Message header) follows? -----[^\n]*$\n*",
        copy=True,
        paragraphs=False,
    ),
    _style(
        "gmail",
        r"Delivery to the following recipients? (?:failed permanently|has been delayed):",
        r"^[ \t]+(?:\* )?ADDRESS[ \t]*$",
        r"^----- (?:Original message|Message header follows) -----[^\n]*$\n*",
        copy=True,
        paragraphs=False,
    ),
    _style(
        "yahoo",
        r"(?:Sorry, we were unable to deliver your message to the following address|"
        r"Unable to deliver message to the following address)",
        r"^<ADDRESS>:",
        r"^--- (?:Below this line is a copy of|Original message follows)[^\n]*$\n*",
        copy=True,
    ),
    _style(
        "exchange",
        r"(?:Delivery has failed to these (?:recipients|mailboxes)[^\n]{0,60}:|"
        r"did not reach the following recipient\(s\):|"
        r"Delivery to the following recipients failed\.|"
        r"Your message (?:wasn't delivered|couldn't be delivered)[^\n]{0,60}:)",
        r"^[ \t]*(?:[^\n<>@]{1,100}[ \t]*[<(])?(?:mailto:)?ADDRESS(?:[>)][^\n]{0,300}| on [^\n]{1,60})?[ \t]*$",
        r"^(?:Original message headers:|Message Headers?:)[ \t]*$\n*",
        copy=True,
        paragraphs=False,
    ),
    _style(
        "opensmtpd",
        r"This is the MAILER-DAEMON, please DO NOT REPLY",
        r"^[ \t]*ADDRESS: ",
        r"^[ \t]*Below is a copy of the original message:[ \t]*$\n*",
        copy=True,
    ),
)
