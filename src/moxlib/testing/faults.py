"""What can be wrong with an SMTP server, as data: faults, the steps of a session they are done at, and lies.

`all_cases()` has every fault at every step, for a test to run through; `moxlib.testing.hostile` does them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Final

__all__ = ["FAULTS", "LIES", "Fault", "Lie", "Misdeed", "Pace", "Say", "Step", "Then", "all_cases", "reply"]


class Step(Enum):
    """Where in a session; but for the first and CONTENT, it is the reply that is meant."""

    CONNECT = "the connection"  # before the greeting, and besides it
    GREETING = "the greeting"
    EHLO = "EHLO"  # LHLO as well
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    HANDSHAKE = "the TLS handshake"  # the server's first flight, in answer to the ClientHello
    EHLO_TLS = "EHLO after TLS"
    AUTH = "AUTH"  # any line of it
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"  # as a command: the octets that follow it are left unread, and so are taken for commands
    CHUNK = "a chunk"  # the reply to any but the last
    CONTENT = "the content"  # when its first line, or half of a chunk, has come; besides any reply
    END_OF_DATA = "the end of the message"  # the final dot, or the last BDAT; in LMTP for each recipient
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    OTHER = "any other command"


class Say(Enum):
    """What is said, in terms of the good reply."""

    NOTHING = "nothing"
    GOOD = "the good reply"
    HALF = "half of it"
    TWICE = "the good reply twice"


class Pace(Enum):
    """How it is said."""

    AT_ONCE = "at once"  # in one write
    BYTE_BY_BYTE = "byte by byte"
    ENDLESS = "endless"  # again and again, for as long as the client takes it


class Then(Enum):
    """What comes next."""

    GO_ON = "go on"
    CLOSE = "close"  # FIN; after TLS's close_notify, where there is TLS
    CUT = "cut"  # FIN, and within TLS no close_notify: as an attacker ends it
    RESET = "reset"  # RST
    STALL = "stall"  # neither say nor read anything any more
    DEAF = "deaf"  # read, heed nothing, and say nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong: something is said, in some way, and then something happens.

    Attributes:
        name: for people, and for a test's name.
        say: in place of the good reply: other bytes, or a form of it.
        more: what follows in the same write: a reply that nobody asked for.
        pace: how it is said.
        then: what comes next.
        beneath_tls: within TLS, say it on the naked connection.
    """

    name: str
    say: Say | bytes = Say.NOTHING
    more: bytes = b""
    pace: Pace = Pace.AT_ONCE
    then: Then = Then.GO_ON
    beneath_tls: bool = False

    def words(self, good: bytes) -> bytes:
        """Return what is said where `good` would be right."""
        match self.say:
            case bytes():
                return self.say + self.more
            case Say.NOTHING:
                return self.more
            case Say.GOOD:
                return good + self.more
            case Say.HALF:
                return good[: max(1, len(good) // 2)] + self.more
            case Say.TWICE:
                return good + good + self.more


@dataclass(frozen=True, slots=True)
class Misdeed:
    """A fault at a step.

    Attributes:
        step: where.
        fault: what.
        after: how often the step goes well before: of three recipients, 1 is the second one.
        times: how often it is done; None: every time from then on. All connections count together.
    """

    step: Step
    fault: Fault
    after: int = 0
    times: int | None = 1

    def __str__(self) -> str:
        """Return what it is, for people."""
        return f"{self.step.value}: {self.fault.name}"

    def is_due(self, occurrence: int) -> bool:
        """Say whether it is done at this occurrence of its step, counted from 0."""
        return occurrence >= self.after and (self.times is None or occurrence < self.after + self.times)


def reply(text: str, then: Then = Then.GO_ON) -> Fault:
    """Return the fault of answering `text`, a whole reply, instead of the good one."""
    name = text if then is Then.GO_ON else f"{text}, then {then.value}"
    return Fault(name=name, say=text.encode("utf-8", "surrogateescape") + b"\r\n", then=then)


_ENDS: Final = (Then.CLOSE, Then.RESET, Then.STALL, Then.DEAF)
_REFUSALS: Final = (
    "421 4.3.2 shutting down",
    "451 4.3.0 not now",
    "452 4.5.3 too many",
    "500 5.5.2 what?",
    "502 5.5.1 not here",
    "550 5.1.1 no",
    "552 5.3.4 too large",
    "554 5.7.1 go away",
)
_ALERT: Final = b"\x15\x03\x03\x00\x02\x02\x28"  # a fatal alert, handshake_failure (RFC 8446 6)
_NO_RECORD: Final = b"\x17\x03\x03\x00\x20" + bytes(range(32))  # application data that no key made

FAULTS: tuple[Fault, ...] = (
    *(Fault(name=then.value, then=then) for then in _ENDS),
    *(Fault(name=f"half a reply, then {then.value}", say=Say.HALF, then=then) for then in _ENDS),
    *map(reply, _REFUSALS),
    reply("421 4.3.2 shutting down", Then.CLOSE),
    reply("554 5.7.1 go away", Then.RESET),
    *map(reply, ("250 2.0.0 fine", "354 go ahead", "220 hello", "150 wait", "600 what", "999 what", "000 nothing")),
    Fault(name="the reply in single bytes", say=Say.GOOD, pace=Pace.BYTE_BY_BYTE),
    Fault(name="two replies at once", say=Say.TWICE),
    Fault(name="a refusal behind the reply", say=Say.GOOD, more=b"554 5.7.1 nobody asked\r\n"),
    Fault(name="421 behind the reply, then close", say=Say.GOOD, more=b"421 4.3.2 bye\r\n", then=Then.CLOSE),
    Fault(name="the reply, then close", say=Say.GOOD, then=Then.CLOSE),
    Fault(name="the reply, then reset", say=Say.GOOD, then=Then.RESET),
    Fault(name="garbage", say=b"\x00\x01\xff\xfe\x80 nonsense\r\n"),
    Fault(name="an empty line", say=b"\r\n", more=b"250 2.0.0 ok\r\n"),
    Fault(name="NUL within the code", say=b"25\x000 ok\r\n"),
    Fault(name="NUL behind the code", say=b"250\x00 ok\r\n"),
    Fault(name="8-bit and control characters in the text", say=b"250 \xff\x00\x1b[2J\x07\xc3\x28 ok\r\n"),
    Fault(name="a code of digits that are not ASCII", say="\uff12\uff15\uff10 ok\r\n".encode()),
    Fault(name="bare CR in a reply", say=b"250 ok\r250 ok\r550 no\r\n"),
    Fault(name="bare LF at its end", say=b"250 ok\n"),
    Fault(name="CR for a line end, then close", say=b"250 ok\r", then=Then.CLOSE),
    Fault(name="other codes in one reply", say=b"250-one\r\n550 two\r\n"),
    Fault(name="a last line without its code", say=b"250-one\r\ntwo\r\n"),
    Fault(name="a reply that does not end, then stall", say=b"250-one\r\n250-two\r\n", then=Then.STALL),
    Fault(name="an overlong line", say=b"250 " + b"x" * 5000 + b"\r\n"),
    Fault(name="an endless line", say=b"x" * 997, pace=Pace.ENDLESS),
    Fault(name="an endless reply", say=b"250-more\r\n", pace=Pace.ENDLESS),
    Fault(name="endless replies", say=b"250 2.0.0 more\r\n", pace=Pace.ENDLESS),
    Fault(name="an alert beneath TLS", say=_ALERT, then=Then.DEAF, beneath_tls=True),
    Fault(name="garbage beneath TLS", say=b"250 in clear\r\n" * 20, then=Then.DEAF, beneath_tls=True),
    Fault(name="a record of no key beneath TLS", say=_NO_RECORD, then=Then.DEAF, beneath_tls=True),
    Fault(name="cut without close_notify", then=Then.CUT, beneath_tls=True),
    Fault(name="half a reply, then cut without close_notify", say=Say.HALF, then=Then.CUT, beneath_tls=True),
)
"""Every fault by itself. Names are unique."""

HANDSHAKE_FAULTS: tuple[Fault, ...] = (
    *(fault for fault in FAULTS if fault.say in (Say.NOTHING, Say.HALF) and not fault.beneath_tls),
    Fault(name="an alert", say=_ALERT, then=Then.DEAF),
    Fault(name="a farewell", say=b"\x15\x03\x03\x00\x02\x01\x00", then=Then.CLOSE),  # the alert close_notify
    Fault(name="a reply in clear", say=b"454 4.7.0 not now\r\n", then=Then.DEAF),
    Fault(name="a record of no key", say=_NO_RECORD, then=Then.DEAF),
    Fault(name="garbage", say=b"\x00\x01\xff\xfe\x80 nonsense\r\n", then=Then.DEAF),
    Fault(name="endless garbage", say=b"x" * 997, pace=Pace.ENDLESS),
    Fault(name="endless empty records", say=b"\x16\x03\x03\x00\x00", pace=Pace.ENDLESS),
    Fault(name="endless changes of cipher", say=b"\x14\x03\x03\x00\x01\x01", pace=Pace.ENDLESS),
)
"""Every fault of the server's first flight in the handshake."""

_BESIDES: Final = (Step.CONNECT, Step.CONTENT)
_OF_TLS: Final = (Step.STARTTLS, Step.HANDSHAKE, Step.EHLO_TLS)
_IN_CLEAR: Final = (Step.CONNECT, Step.GREETING, Step.EHLO, Step.STARTTLS)
_NOT_OF_ALL: Final = (Step.HELO, Step.NOOP, Step.OTHER, Step.CHUNK)


def all_cases(*, tls: bool = False, chunking: bool = False) -> Iterator[Misdeed]:
    """Yield every fault at every step at which it can be done, in a fixed order.

    HELO, NOOP and all chunks but the last are left out, as not every client says them.

    Args:
        tls: the session has STARTTLS: with the steps of TLS, and at those behind it the faults beneath it.
        chunking: messages go by BDAT, and not by DATA.
    """
    left_out = {*_NOT_OF_ALL, *(() if tls else _OF_TLS), Step.DATA if chunking else Step.BDAT}
    for step in Step:
        if step not in left_out:
            faults = HANDSHAKE_FAULTS if step is Step.HANDSHAKE else FAULTS
            protected = tls and step not in _IN_CLEAR
            yield from (Misdeed(step, fault) for fault in faults if _can_be_done(fault, step, protected=protected))


def _can_be_done(fault: Fault, step: Step, *, protected: bool) -> bool:
    if fault.beneath_tls and not protected:
        return False
    # Besides the replies there is no good one that could be said in another way.
    return step not in _BESIDES or isinstance(fault.say, bytes) or fault.say is Say.NOTHING


@dataclass(frozen=True, slots=True, kw_only=True)
class Lie:
    """A server that does not do as it announces.

    Attributes:
        name: for people, and for a test's name.
        announces: its extensions.
        misdeeds: what it does instead.
    """

    name: str
    announces: tuple[str, ...]
    misdeeds: tuple[Misdeed, ...] = ()


def _always(step: Step, text: str, then: Then = Then.GO_ON) -> Misdeed:
    return Misdeed(step, reply(text, then), times=None)


LIES: tuple[Lie, ...] = (
    Lie(
        name="PIPELINING, and closes at the second command",
        announces=("PIPELINING",),
        misdeeds=(Misdeed(Step.MAIL, Fault(name="reply, then close", say=Say.GOOD, then=Then.CLOSE), times=None),),
    ),
    Lie(
        name="PIPELINING, and forgets what came with the first command",
        announces=("PIPELINING",),
        misdeeds=(Misdeed(Step.MAIL, Fault(name="reply, then deaf", say=Say.GOOD, then=Then.DEAF), times=None),),
    ),
    Lie(name="SIZE, and 552 to MAIL", announces=("SIZE 1000000",), misdeeds=(_always(Step.MAIL, "552 5.3.4 large"),)),
    Lie(name="SIZE, and 552 at the end", announces=("SIZE",), misdeeds=(_always(Step.END_OF_DATA, "552 5.3.4 large"),)),
    Lie(name="SMTPUTF8, and 553", announces=("SMTPUTF8", "8BITMIME"), misdeeds=(_always(Step.RCPT, "553 5.6.7 no"),)),
    Lie(name="8BITMIME, and 555", announces=("8BITMIME",), misdeeds=(_always(Step.MAIL, "555 5.5.4 what body?"),)),
    Lie(name="STARTTLS, and 454", announces=("STARTTLS",), misdeeds=(_always(Step.STARTTLS, "454 4.7.0 no"),)),
    Lie(name="STARTTLS, and 500", announces=("STARTTLS",), misdeeds=(_always(Step.STARTTLS, "500 5.5.1 what?"),)),
    Lie(
        name="STARTTLS, and no handshake",
        announces=("STARTTLS",),
        misdeeds=(Misdeed(Step.HANDSHAKE, Fault(name="alert", say=_ALERT, then=Then.CLOSE), times=None),),
    ),
    Lie(
        name="CHUNKING, and takes the chunk for commands",
        announces=("CHUNKING",),
        misdeeds=(_always(Step.BDAT, "500 5.5.1 what?"),),
    ),
    Lie(
        name="CHUNKING and PIPELINING, and takes the chunk for commands",
        announces=("CHUNKING", "PIPELINING"),
        misdeeds=(_always(Step.BDAT, "502 5.5.1 not here"),),
    ),
    Lie(
        name="CHUNKING, and 503",
        announces=("CHUNKING", "PIPELINING"),
        misdeeds=(Misdeed(Step.END_OF_DATA, reply("503 5.5.1 no")),),
    ),
    Lie(name="PIPELINING twice, and in small letters", announces=("pipelining", "PIPELINING", "PIPELINING x")),
    Lie(name="LIMITS of nothing", announces=("LIMITS", "LIMITS RCPTMAX=0 MAILMAX=0")),
    Lie(name="LIMITS that are no numbers", announces=("LIMITS RCPTMAX=-1 MAILMAX=many RCPTDOMAINMAX=1e9",)),
    Lie(name="LIMITS beyond all limits", announces=("LIMITS RCPTMAX=99999999999999999999 MAILMAX=1000000",)),
    Lie(name="LIMITS without form", announces=("LIMITS =;= RCPTMAX MAILMAX==1  RCPTMAX=1 RCPTMAX=2",)),
    Lie(name="SIZE of no number", announces=("SIZE many", "8BITMIME")),
    Lie(name="SIZE below nothing", announces=("SIZE -1",)),
    Lie(name="SIZE beyond all sizes", announces=("SIZE " + "9" * 400,)),
    Lie(name="SIZE of 0", announces=("SIZE 0",)),
    Lie(name="AUTH of nothing", announces=("AUTH", "AUTH ", "AUTH=LOGIN PLAIN")),
    Lie(name="AUTH of nonsense", announces=("AUTH = \x00 \x1b[2J 250 " + "X" * 900,)),
    Lie(name="AUTH of everything", announces=("AUTH " + " ".join(f"M{number}" for number in range(400)),)),
    Lie(name="words that are none", announces=("", " ", "-", "\x00", "250 PIPELINING", "X" * 900, "ÄÖÜ")),
)
"""Servers that announce what they refuse, or what makes no sense."""
