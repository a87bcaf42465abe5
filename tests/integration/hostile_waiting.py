"""How tests wait for what a hostile server does to a client, and what they compare."""

import asyncio
from collections.abc import Coroutine
from dataclasses import replace
from typing import Any, TypeVar, assert_never

import pytest
from tests.integration.hostile_oracle import Ruling, Spoken, Verdict, delivering, spoken

from moxlib.smtpclient import (
    Accepted,
    CommandTimeout,
    ConnectionLost,
    DeliveryResult,
    NotSent,
    ProtocolError,
    RecipientResult,
    Refused,
    ReplyError,
    SMTPError,
    Unknown,
)
from moxlib.smtpclient.reply import Reply, escape
from moxlib.smtpclient.wire import Wire
from moxlib.testing import FakeClock, HostilePeer, Misdeed, Pace, Step, Then

__all__ = ["FIRST", "agrees", "ended", "read_counts", "reason", "same", "transaction"]

T = TypeVar("T")

FIRST = b"Subject: first\r\n\r\n.dot\r\n"
LONGEST = 600  # seconds: the longest limit


def read_counts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that will have how many bytes the client reads, each time it does."""
    counts: list[int] = []
    updated = Wire.buffer_updated

    def counting(wire: Wire, nbytes: int) -> None:
        counts.append(nbytes)
        updated(wire, nbytes)

    monkeypatch.setattr(Wire, "buffer_updated", counting)
    return counts


async def ended(what: Coroutine[Any, Any, T], peer: HostilePeer, clock: FakeClock) -> T:
    """Return the result; if the peer lets its client wait, by moving the clock."""
    task = asyncio.create_task(what)
    stalled = asyncio.create_task(peer.stalled())
    await asyncio.wait([task, stalled], return_when=asyncio.FIRST_COMPLETED)
    for _ in range(5):
        if not task.done():
            await clock.advance(LONGEST)
    assert task.done(), "no limit ends it"
    stalled.cancel()
    return task.result()


def reason(case: Misdeed, *, nonsense: bool) -> type[SMTPError]:
    """Return the error for a reply that never came."""
    if nonsense:
        return ProtocolError
    match case.fault.then:
        case Then.CLOSE | Then.CUT | Then.RESET:
            return ConnectionLost
        case Then.STALL | Then.DEAF:
            return CommandTimeout
        case Then.GO_ON:
            return ProtocolError  # something else is out of step
        case _:
            assert_never(case.fault.then)


def same(reply: Reply, said: Spoken) -> bool:
    return (reply.code, reply.lines) == (said.code, tuple(map(escape, said.lines)))


def agrees(result: RecipientResult, verdict: Verdict, error: type[SMTPError]) -> bool:
    match result:
        case Accepted():
            return verdict.kind == "accepted" and verdict.reply is not None and same(result.reply, verdict.reply)
        case Refused():
            permanent = verdict.reply is not None and 500 <= verdict.reply.code <= 599 and verdict.lasting
            if result.further_transaction:  # RFC 5321 4.5.3.1.10: it is one too many
                permanent = permanent and (result.command.name, result.code) != ("RCPT", 552)
            return (
                verdict.kind == "refused"
                and verdict.reply is not None
                and same(result.reply, verdict.reply)
                and result.permanent is permanent
            )
        case NotSent():
            return verdict.kind == "not sent" and isinstance(result.error, error | ReplyError) and not result.permanent
        case Unknown():
            return verdict.kind == "unknown" and isinstance(result.error, error | ProtocolError)
        case _:
            assert_never(result)


def transaction(
    result: DeliveryResult,
    replies: list[Spoken],
    case: Misdeed,
    error: type[SMTPError],
    *,
    pipelining: bool,
    chunking: bool = False,
) -> Ruling | None:
    """Return the ruling on a transaction that its result agrees with; it may begin with RSET. None: no ruling.

    There are two where it depends on how the network cuts it whether one reply too many comes before BDAT is sent.
    """
    count, reset = len(result.recipients), 0
    if case.step is Step.RSET:
        if not replies or replies[0].code != 250:
            return _agreed(result, Ruling([Verdict("not sent")] * count, 1, confused=True), error)
        reset = 1
    came = spoken(case.fault.words(b"354 go ahead\r\n"))
    too_many = len(came.replies) + came.nonsense > 1 or case.fault.pace is Pace.ENDLESS
    before_bdat = chunking and case.step in ((Step.RSET,) if pipelining else (Step.RSET, Step.MAIL, Step.RCPT))
    early_data = too_many and case.step is Step.DATA and not chunking
    possible = [True, False] if too_many and before_bdat else [early_data]
    for early in possible:
        ruling = delivering(replies[reset:], count, pipelining=pipelining, chunking=chunking, early=early)
        agreed = _agreed(result, replace(ruling, taken=reset + ruling.taken), error)
        if agreed is not None:
            return agreed
    return None


def _agreed(result: DeliveryResult, ruling: Ruling, error: type[SMTPError]) -> Ruling | None:
    pairs = zip(result.recipients, ruling.verdicts, strict=True)
    return ruling if all(agrees(one, verdict, error) for one, verdict in pairs) else None
