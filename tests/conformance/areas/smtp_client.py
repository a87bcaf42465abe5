"""The SMTP client against scripted servers: extensions, results by delivery and recipient, and the commands it sent.

The script has one reply to each client line; after 354, one to the final dot; "CLOSE" closes the connection. The error
of a delivery in the vectors is about the whole transaction, or about its only recipient; ours are per recipient, so
that one is made of them here. Left out, beside texts:

- the lines of what is no reply (code 0), where the vectors have none;
- the lines after the first of a refused HELO: the vectors have those of the reply to EHLO there;
- the content's lines before a bare CR or LF: none of such a message is sent here;
- whether a 421 leaves the connection usable: "botched" says only whether the protocol is in step, as
  `Session.failure` does. `Session.usable` is false after a 421.
"""

from typing import Any

from moxlib.errors import MoxlibError
from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    Accepted,
    AuthenticationFailed,
    Command,
    ConnectionLost,
    DeliveryResult,
    InvalidContent,
    Login,
    NotSent,
    Refused,
    Reply,
    ReplyError,
    Session,
    SMTPError,
    Transaction,
)
from moxlib.smtpclient.session import Exchange

ZERO = {"code": 0, "enhanced": "", "permanent": False, "lines": []}


class Server:
    """The scripted server, and the session that talks to it."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.session = Session("client.example")
        self.lines: list[str] = []
        self.broken = False  # when the last exchange was done
        self.refused_content = False
        self._replies = list(case["replies"])
        self._rest = b""
        self._in_data = False
        self._closed = False
        self._greeting = case["greeting"]

    def run(self, exchange: Exchange[Any]) -> Any:
        """Let the two talk until `exchange` is done, and return its result."""
        if self._greeting is not None:
            greeting, self._greeting = self._greeting, None
            self._say(greeting, exchange)
        while not exchange.done:
            sent = self.session.data_to_send()
            assert sent, f"the client waits for {exchange.awaiting}, and the script has ended"
            self._hear(sent, exchange)
        if self.session.failure is not None and not self._closed:
            self.broken = True
        return exchange.result

    def _hear(self, sent: bytes, exchange: Exchange[Any]) -> None:
        *lines, self._rest = (self._rest + sent).split(b"\r\n")
        for line in lines:
            if self._closed:
                return
            self.lines.append(line.decode())
            if self._in_data and line != b".":
                continue
            self._in_data = False
            self._say(self._replies.pop(0), exchange)

    def _say(self, reply: str, exchange: Exchange[Any]) -> None:
        text, close, _ = reply.partition("CLOSE")
        self._in_data = text.startswith("354")
        self.session.receive(text.encode("utf-8", "surrogateescape"))
        if close:
            self._closed = True
            self.broken = self.broken or not exchange.done  # else nobody has seen yet that it is closed
            self.session.lost(ConnectionLost(command=Command.CONNECT, reason="closed by the script"))


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    server = Server(case)
    try:
        _open(server, case)
    except SMTPError as error:
        got = _facts(error)
        expected = _expected(case.get("new_error"), got)
        return {"new_error": expected, "auth": case.get("auth_mechanisms_seen")}, {
            "new_error": got,
            "auth": list(server.session.extensions.auth) if "auth" in case else None,
        }
    got_results = [_deliver(server, delivery) for delivery in case["deliveries"]]
    expected_lines = [line for line in case["client_lines"] if line != "QUIT"]
    if server.refused_content:
        expected_lines = expected_lines[: len(server.lines)]
    expected_results = [_expected_result(result, got) for result, got in zip(case["results"], got_results, strict=True)]
    return (
        {
            "new_error": case.get("new_error"),
            "extensions": case["extensions"],
            "results": expected_results,
            "lines": expected_lines,
        },
        {
            "new_error": None,
            "extensions": _extensions(server.session),
            "results": got_results,
            "lines": server.lines,
        },
    )


def _open(server: Server, case: dict[str, Any]) -> None:
    server.run(server.session.greet())
    if "auth" not in case:
        return
    wanted = case["auth"]["mechanism"]
    credentials = Credentials(
        username="user@example.org",
        password="pässword",
        mechanisms=() if wanted in ("none", "error") else (wanted,),
        cleartext_without_verified_tls=True,
    )
    login = Login(server.session.extensions.auth, credentials)
    line: str | None = login.first_line
    while line is not None:
        line = login.next_line(server.run(server.session.auth_line(line, enhanced=login.verdict_due)))
    login.result()


def _deliver(server: Server, delivery: dict[str, Any]) -> dict[str, object]:
    data = delivery["data"].encode("utf-8", "surrogateescape")
    transaction = Transaction(
        server.session,
        mail_from=delivery["mailfrom"],
        recipients=delivery["rcpts"],
        content=data,
        size=len(data),
        needs_8bit=delivery.get("req8bitmime", False),
        needs_smtputf8=delivery.get("reqsmtputf8", False),
    )
    result: DeliveryResult = server.run(server.session.submit(transaction))
    server.refused_content = any(
        isinstance(one, NotSent) and isinstance(one.error, InvalidContent) for one in result.recipients
    )
    return {
        "botched": server.broken,
        "error": _error(result),
        "rcpt_responses": [_rcpt(reply) for reply in result.rcpt_replies],
    }


def _error(result: DeliveryResult) -> dict[str, object] | None:
    """Return what the vectors call the delivery's error."""
    if any(isinstance(one, Accepted) for one in result.recipients):
        return None
    of_all = [one for one in result.recipients if not (isinstance(one, Refused) and one.command is Command.RCPT)]
    chosen = (of_all or list(result.recipients))[0]
    if not of_all and len(result.recipients) > 1:
        return ZERO
    return {
        "code": chosen.code,
        "enhanced": _without_class(chosen.enhanced),
        "permanent": chosen.permanent,
        "lines": list(chosen.lines),
    }


def _rcpt(reply: Reply | None) -> dict[str, object]:
    if reply is None:
        return ZERO
    return _facts_of_reply(reply, permanent=reply.permanent and reply.code != 552)


def _facts(error: MoxlibError) -> dict[str, object]:
    if isinstance(error, ReplyError):
        return _facts_of_reply(error.reply, permanent=error.permanent)
    if isinstance(error, AuthenticationFailed) and error.reply is not None:
        return _facts_of_reply(error.reply, permanent=error.permanent)
    assert isinstance(error, SMTPError)
    return {**ZERO, "permanent": error.permanent, "lines": list(getattr(error, "lines", ()))}


def _facts_of_reply(reply: Reply, *, permanent: bool) -> dict[str, object]:
    return {
        "code": reply.code,
        "enhanced": _without_class(reply.enhanced),
        "permanent": permanent,
        "lines": list(reply.lines),
    }


def _without_class(enhanced: str) -> str:
    return enhanced.partition(".")[2]


def _expected(error: dict[str, Any] | None, got: dict[str, object]) -> dict[str, object] | None:
    """Return the vectors' facts; where they leave something open, `got`'s."""
    if error is None:
        return None
    smtp = error.get("smtp")
    if smtp is None:  # the connection had failed before
        return ZERO
    facts = _expected_response(smtp)
    if facts["code"] == 0 and not facts["lines"]:
        facts["lines"] = got["lines"]
    if smtp["Command"] == "helo":
        lines = got["lines"]
        assert isinstance(lines, list)
        facts["lines"] = [smtp["Line"], *lines[1:]]
    return facts


def _expected_response(smtp: dict[str, Any]) -> dict[str, object]:
    lines = [smtp["Line"], *smtp["MoreLines"]] if smtp["Line"] else []
    return {"code": smtp["Code"], "enhanced": smtp["Secode"], "permanent": smtp["Permanent"], "lines": lines}


def _expected_result(result: dict[str, Any], got: dict[str, object]) -> dict[str, object]:
    error, responses = got["error"], got["rcpt_responses"]
    assert isinstance(responses, list)
    given = [_expected_response(one) if one["Code"] else ZERO for one in result["rcpt_responses"]]
    return {
        "botched": result["botched"],
        "error": _expected(result["error"], error if isinstance(error, dict) else ZERO),
        "rcpt_responses": given or [ZERO] * len(responses),
    }


def _extensions(session: Session) -> dict[str, object]:
    has = session.extensions
    return {
        "8bitmime": has.eight_bit_mime,
        "smtputf8": has.smtputf8,
        "starttls": has.starttls,
        "requiretls": has.require_tls,
        "limits_present": has.limits is not None,
        "limits": dict(has.limits or ()),
        "mailmax": has.mail_max or 0,
        "rcptmax": has.rcpt_max or 0,
        "rcptdomainmax": has.rcpt_domain_max or 0,
    }
