"""What has to become of a message, by nothing but what the server said: the n-th reply answers the n-th question.

Written from RFC 5321 and RFC 2920 without a look at the client, so that the two can be compared.
"""

import re
from dataclasses import dataclass

__all__ = [
    "MAX_AUTH_LINE",
    "Answered",
    "Made",
    "NoSession",
    "Ruling",
    "Spoken",
    "Verdict",
    "connecting",
    "delivering",
    "spoken",
]

_LINE = re.compile(rb"([0-9]{3})(?:([ -])[^\n]*)?\n")
MAX_LINE, MAX_AUTH_LINE, MAX_LINES = 2048, 12_288, 128  # the documented limits


@dataclass(frozen=True)
class Spoken:
    """One whole reply."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def is_success(self) -> bool:
        return 200 <= self.code <= 299

    @property
    def is_refusal(self) -> bool:
        return 400 <= self.code <= 599


@dataclass(frozen=True)
class Answered:
    """The replies that came, and whether something follows them that is none."""

    replies: list[Spoken]
    nonsense: bool


@dataclass(frozen=True)
class NoSession:
    """No session came about: refused by `reply`, or there was none."""

    reply: Spoken | None


@dataclass(frozen=True)
class Made:
    """A session came about: with PIPELINING, with CHUNKING, and after how many replies."""

    pipelining: bool
    chunking: bool
    taken: int


@dataclass(frozen=True)
class Verdict:
    """One recipient's: "accepted", "refused" (both by `reply`), "not sent" or "unknown"."""

    kind: str
    reply: Spoken | None = None
    lasting: bool = True
    """A 5xx to it is one for good."""


@dataclass(frozen=True)
class Ruling:
    """On a transaction: one verdict for each recipient.

    Attributes:
        taken: how many replies were for it.
        confused: nothing can follow on that connection.
    """

    verdicts: list[Verdict]
    taken: int
    confused: bool


def spoken(said: bytes, max_line: int = MAX_LINE) -> Answered:
    """Return the replies in what a server said, up to what is none."""
    replies: list[Spoken] = []
    lines: list[bytes] = []
    position = 0
    while position < len(said):
        end = said.find(b"\n", position, position + max_line)
        if end < 0:
            return Answered(replies, nonsense=len(said) - position >= max_line)
        line = said[position : end + 1]
        position = end + 1
        match = _LINE.fullmatch(line.removesuffix(b"\r\n") + b"\n" if line.endswith(b"\r\n") else line)
        if match is None or (lines and lines[0][:3] != match[1]) or len(lines) > MAX_LINES:
            return Answered(replies, nonsense=True)
        lines.append(line.rstrip(b"\n").removesuffix(b"\r"))
        if match[2] != b"-":
            replies.append(Spoken(int(match[1]), tuple(lines)))
            lines = []
    return Answered(replies, nonsense=False)


def connecting(replies: list[Spoken]) -> NoSession | Made:
    """Return what kind of session in clear there is, or why there is none."""
    if not replies or replies[0].code != 220:
        return NoSession(replies[0] if replies else None)
    if len(replies) < 2:
        return NoSession(None)
    ehlo = replies[1]
    if ehlo.code in (500, 501, 502, 503, 504):
        helo = replies[2] if len(replies) > 2 else None
        return Made(False, False, 3) if helo is not None and helo.code == 250 else NoSession(helo)
    if ehlo.code != 250:
        return NoSession(ehlo)
    offers = {line[4:].strip(b" \t").upper() for line in ehlo.lines[1:]}
    return Made(b"PIPELINING" in offers, b"CHUNKING" in offers, 2)


class _Replies:
    """The replies one after another."""

    def __init__(self, replies: list[Spoken]) -> None:
        self._replies = replies
        self.taken = 0

    def next(self) -> Spoken | None:
        if self.taken == len(self._replies):
            return None
        self.taken += 1
        return self._replies[self.taken - 1]

    def ends_with(self, code: int) -> bool:
        """Say whether the last reply that was taken is that."""
        return self.taken > 0 and self._replies[self.taken - 1].code == code


def delivering(
    replies: list[Spoken], count: int, *, pipelining: bool, chunking: bool = False, early: bool = False
) -> Ruling:
    """Return what becomes of a transaction.

    Args:
        replies: all that were said since it began.
        count: its recipients.
        pipelining: all its commands were sent at once.
        chunking: its message went by BDAT; with PIPELINING, with the commands.
        early: what follows the reply to DATA, or before BDAT that to the last recipient, came with it, so before any
            content was sent.
    """
    source = _Replies(replies)
    if chunking:
        verdicts, confused = (_pipelined_chunk if pipelining else _stepwise_chunk)(source, count, early=early)
    else:
        verdicts, confused = (_pipelined if pipelining else _stepwise)(source, count, early=early)
    return Ruling(verdicts, source.taken, confused=confused)


def _stepwise(replies: _Replies, count: int, *, early: bool) -> tuple[list[Verdict], bool]:
    mail = replies.next()
    if mail is None:
        return [Verdict("not sent")] * count, False
    if mail.code != 250:
        return [Verdict("refused", mail)] * count, False
    answers = _one_by_one(replies, count)
    rest, confused = Verdict("not sent"), False
    if None not in answers and any(map(_taken, answers)):
        data = replies.next()
        if data is not None:
            rest, confused = _from_data(data, replies, early=early)
    return [_of_recipient(answer, rest) for answer in answers], confused


def _one_by_one(replies: _Replies, count: int) -> list[Spoken | None]:
    answers: list[Spoken | None] = []
    while len(answers) < count:
        answer = replies.next()
        answers.append(answer)
        if answer is None:
            break
        if len(answers) > 1 and answer.code in (452, 552):  # RFC 5321 4.5.3.1.10: no more than those before
            answers += [answer] * (count - len(answers))
    return answers + [None] * (count - len(answers))


def _stepwise_chunk(replies: _Replies, count: int, *, early: bool) -> tuple[list[Verdict], bool]:
    mail = replies.next()
    if mail is None:
        return [Verdict("not sent")] * count, False
    if mail.code != 250:
        return [Verdict("refused", mail)] * count, False
    answers = _one_by_one(replies, count)
    rest, confused = Verdict("not sent"), False
    if None not in answers and any(map(_taken, answers)):
        rest, confused = _of_chunk(replies.next(), replies, early=early)
    return [_of_recipient(answer, rest) for answer in answers], confused


def _pipelined_chunk(replies: _Replies, count: int, *, early: bool) -> tuple[list[Verdict], bool]:
    """The message went out before any reply came: only the one to it, or a farewell, says what became of it."""
    mail = replies.next()
    answers = [replies.next() for _ in range(count)]
    final = replies.next()
    refused = mail is not None and mail.code != 250
    if refused or not any(map(_taken, answers)):
        rest = _of_chunk(None, replies, early=early)[0]
        confused = final is not None and (final.code in (500, 502) or (final.is_success and any(map(_taken, answers))))
    else:
        rest, confused = _of_chunk(final, replies, early=early)
    taken = final is not None and final.is_success and any(map(_taken, answers))
    if refused and not taken:  # else it has a message whose sender it refused: it may do anything with that
        return [Verdict("refused", mail)] * count, confused
    return [_of_recipient(answer, rest) for answer in answers], confused


def _of_chunk(reply: Spoken | None, before: _Replies, *, early: bool) -> tuple[Verdict, bool]:
    if early:
        return _final(reply, early=True), True
    if reply is None and before.ends_with(421):  # RFC 5321 3.8: it looks at nothing any more
        return Verdict("not sent"), False
    if reply is not None and reply.code in (500, 502, 503):  # It does not know BDAT: for what does it take the message?
        return Verdict("refused", reply, lasting=False), True
    verdict = _final(reply, early=False)
    return verdict, verdict.kind == "unknown"


def _pipelined(replies: _Replies, count: int, *, early: bool) -> tuple[list[Verdict], bool]:
    mail = replies.next()
    answers = [replies.next() for _ in range(count)]
    data = replies.next()
    rest, confused = Verdict("not sent"), False
    if data is not None:
        if not any(map(_taken, answers)):
            if data.code == 354:
                replies.next()  # RFC 2920 3.1: to the dot that ends it
        elif mail is not None and mail.code == 250:
            rest, confused = _from_data(data, replies, early=early)
        else:
            confused = data.code == 354  # The content of which message?
    if mail is not None and mail.code != 250:
        return [Verdict("refused", mail)] * count, confused
    return [_of_recipient(answer, rest) for answer in answers], confused


def _from_data(data: Spoken, replies: _Replies, *, early: bool) -> tuple[Verdict, bool]:
    if data.code != 354:
        return Verdict("refused", data), False
    verdict = _final(replies.next(), early=early)
    return verdict, early or verdict.kind == "unknown"


def _taken(answer: Spoken | None) -> bool:
    return answer is not None and answer.is_success


def _of_recipient(answer: Spoken | None, rest: Verdict) -> Verdict:
    """A refused recipient is refused by that, whatever became of the others."""
    return rest if answer is None or _taken(answer) else Verdict("refused", answer)


def _final(reply: Spoken | None, *, early: bool) -> Verdict:
    """What the reply to the end of the message means: 1xx and what is no class at all say nothing of it."""
    if early:
        return Verdict("refused", reply) if reply is not None and reply.is_refusal else Verdict("not sent")
    if reply is None or not 200 <= reply.code <= 599:
        return Verdict("unknown")
    return Verdict("accepted" if reply.code == 250 else "refused", reply)
