"""An AUTH exchange (RFC 4954): lines to send, replies to take. No I/O."""

import base64
import binascii
from collections.abc import Callable

from moxlib.errors import StateError
from moxlib.sasl import Credentials, Mechanism, NoMechanism, SASLError, Step, choose_mechanism, make_nonce
from moxlib.smtpclient.errors import AuthenticationFailed, ReplyError, SMTPError
from moxlib.smtpclient.reply import Command, Reply, escape

__all__ = ["Login"]

_SUCCEEDED = 235
_CONTINUE = 334
_ABORTED = 501
_MAX_SHOWN = 30  # mechanisms of an offer that errors show


class Login:
    """Logs in once: send `first_line`, then what `next_line` makes of each reply until it returns None, then `result`.

    Attributes:
        mechanism: the mechanism in use.
        first_line: the AUTH command, without its CRLF.
        verdict_due: the next reply is the verdict, so its enhanced code counts.
        in_step: whether the session can go on after a failed login; false when the server did not heed our abort.

    Raises:
        AuthenticationFailed: there is no common mechanism; nothing was sent.
    """

    def __init__(
        self,
        offered: tuple[str, ...],
        credentials: Credentials,
        *,
        channel_binding: bytes | None = None,
        verified_tls: bool = False,
        nonce: Callable[[], str] = make_nonce,
    ) -> None:
        self._offered = tuple(escape(name.encode())[:_MAX_SHOWN] for name in offered[:_MAX_SHOWN])
        try:
            self.mechanism: Mechanism = choose_mechanism(
                offered, credentials, channel_binding=channel_binding, verified_tls=verified_tls, nonce=nonce
            )
        except NoMechanism as error:
            raise self._failed(str(error), permanent=True) from error
        self._step: Step = self.mechanism.step()
        self._error: SMTPError | None = None
        self._done = False
        self._aborting = ""
        self._refused: Reply | None = None
        self.in_step: bool = True
        self.first_line: str
        name, data = self.mechanism.name, self._step.data
        match data:
            case None:
                self.first_line = f"AUTH {name}"
            case b"":
                self.first_line = f"AUTH {name} ="  # RFC 4954 4: an empty initial response
            case _:
                self.first_line = f"AUTH {name} {base64.b64encode(data).decode('ascii')}"

    @property
    def verdict_due(self) -> bool:
        """Whether the next reply is the verdict."""
        return self._step.last

    def result(self) -> None:
        """Return if the login succeeded.

        Raises:
            StateError: it is not over.
            ReplyError: the server refused it.
            AuthenticationFailed: the exchange went wrong.
        """
        if not self._done:
            raise StateError("the login is not over")
        if self._error is not None:
            raise self._error

    def next_line(self, reply: Reply) -> str | None:
        """Return the next line to send, without its CRLF; None when the exchange is over."""
        if self._aborting:
            # RFC 4954 4: 501. Another answer may be a verdict, and be followed by an answer to our "*".
            self.in_step = reply.code == _ABORTED
            return self._end(self._failed(self._aborting, reply=self._refused or reply))
        if reply.code == _SUCCEEDED:
            early = "the server was content before the exchange was complete"
            return self._end(None if self._step.last else self._failed(early, reply=reply))
        if reply.code != _CONTINUE:
            return self._end(ReplyError(command=Command.AUTH, reply=reply))
        return self._answer(reply)

    def _answer(self, reply: Reply) -> str | None:
        """Answer a challenge."""
        if self._step.last and not self._step.or_challenge:
            self.in_step = False  # it waits for a line that we have not
            return self._end(self._failed("the server goes on after the exchange was complete", reply=reply))
        self._refused = reply
        if len(reply.lines) > 1:
            return self._abort("a challenge of several lines")
        try:
            challenge = base64.b64decode(reply.texts[0], validate=True)
        except (binascii.Error, ValueError):
            return self._abort("a challenge that is not Base64")
        try:
            self._step = self.mechanism.step(challenge)
        except SASLError as error:
            self._refused = None  # the server's answer to the abort says more than the challenge
            return self._abort(str(error))
        return base64.b64encode(self._step.data or b"").decode("ascii")

    def _abort(self, reason: str) -> str:
        self._aborting = reason
        return "*"

    def _end(self, error: SMTPError | None) -> str | None:
        self._error = error
        self._done = True
        return None  # no line more

    def _failed(self, reason: str, *, permanent: bool = False, reply: Reply | None = None) -> AuthenticationFailed:
        return AuthenticationFailed(
            command=Command.AUTH, reason=reason, permanent=permanent, offered=self._offered, reply=reply
        )
