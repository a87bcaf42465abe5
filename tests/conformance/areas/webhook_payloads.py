"""Webhooks of what happens to a message, of DSNs, and of messages that come in; with the history and suppressions.

Each case has a queue of its own, in memory, with mox's rules for suppressions. The SMTP server of a delivery has one
reply to each command, closes when it has none left, and is on a real socket. Attempts and failures that a case has
behind it are made here, by a transport that fails as it is told, so that their results are in the history, which has
only the last one in the vectors.

Of what comes in, text, HTML and structure are not compared where mox reads a message otherwise: the area message_parse
marks those as its quirks. A missing content type is text/plain. Of a success, the enhanced code is not compared: mox
keeps that of the reply to RCPT TO, we that to the content.

Of an `Error` and a `Reason` counts whether there is one. In the history, that of a notification is its source: mox
always writes the same words there. A tab in a subject is a blank: here, subjects come from headers.
"""

import asyncio
import json
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from moxlib.queue import (
    Deferred,
    Delivered,
    Delivery,
    DSNConfig,
    Failed,
    FromIDConfig,
    HookConfig,
    IncomingEnvelope,
    MessageFilter,
    Outcome,
    Queue,
    QueueConfig,
    Retired,
    SMTPTransport,
    SuppressionPolicy,
    Transport,
    WorkerConfig,
)
from moxlib.queue.hooks.records import INCOMING, Hook
from moxlib.queue.hooks.selection import HookFilter
from moxlib.queue.selection import Sort
from moxlib.queue.suppression import Cause
from moxlib.testing import FakeClock, MemoryStorage
from moxlib.testing.run import run_until_idle
from moxlib.webhook import call_headers

AUTHORIZATION = "Basic dXNlcm5hbWU6cGFzc3dvcmQ="
HOOK = HookConfig(url="https://hooks.example/x", authorization=AUTHORIZATION)
SEPARATORS = FromIDConfig.of([], {"mox.example": ["+"]})
# By what message_parse says of them: text that is attached is taken for the body; bad base64, a missing delimiter and a
# part without a body make all of a message opaque; a comment after an encoding hides it.
READ_OTHERWISE = frozenset(
    (
        "incoming-mixed-attachment-text-first",
        "incoming-base64-truncated",
        "incoming-boundary-missing-close-2",
        "incoming-base64-trailing-garbage",
        "incoming-cte-with-comment",
        "incoming-boundary-part-no-blank",
    )
)
NOT_READ = "incoming-hdr-only-nonewline"  # at all by mox, whose lists are null then: only how it came in is compared
LATER = Deferred(text="RCPT TO: later", code=451, enhanced="4.3.0", command="RCPT TO")
CONTENT = Failed(text="RCPT TO: content", code=554, enhanced="5.6.0", command="RCPT TO")


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    return asyncio.run(_outcome(case))


async def _outcome(case: dict[str, Any]) -> tuple[object, object]:
    given = case["input"]
    run = {"queue": _queue, "dsn": _dsn, "incoming": _incoming}[given["kind"]]
    clock, storage, before = FakeClock(), MemoryStorage(), Before()
    async with await asyncio.start_server(Server(given.get("smtp_replies") or []).talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        transports: dict[str, Transport] = {"before": before, "smtp": SMTPTransport("127.0.0.1", port, security="none")}
        config = QueueConfig(
            suppression=SuppressionPolicy.mox(),
            webhook=HOOK,
            incoming_webhook=HOOK,
            fromids=SEPARATORS,
            add_missing_headers=False,
            dsn=DSNConfig.off(),
            worker=WorkerConfig(settle_gather=timedelta(0)),
        )
        async with Queue(storage, transports=transports, config=config, clock=clock) as queue:
            made = await run(queue, given, before)
            hooks = await _hooks(storage, after=made.hooks_before)
            got: dict[str, Any] = {
                "hooks": [_told(hook) for hook in hooks],
                "retired": await _retired(queue, given, made.id),
                "suppressions": [
                    (s.base_address, s.original_address, s.manual, bool(s.reason))
                    for s in (await queue.list_suppressions()).items
                ],
            }
    expected = _expected(case, made)
    if case["name"] == NOT_READ:
        for side in (expected, got):
            side["hooks"] = [hook["payload"]["Meta"] for hook in side["hooks"]]
    if case["name"] in READ_OTHERWISE:
        for side in (expected, got):
            for hook in side["hooks"]:
                hook["payload"] |= {"Text": "", "HTML": "", "Structure": {}}
    return expected, got


@dataclass
class Made:
    id: int = 0
    hooks_before: int = 0
    history_before: int = 0


class Before:
    """A transport that answers as it is told."""

    def __init__(self) -> None:
        self.answers: list[Outcome] = []

    async def deliver(self, delivery: Delivery) -> Sequence[Outcome]:
        return [self.answers.pop(0) for _ in delivery.messages]


class Server:
    """One reply to each command; data is read to its dot; without replies it closes."""

    def __init__(self, replies: Sequence[str]) -> None:
        self._replies = list(replies)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 remote.example ESMTP\r\n")
        try:
            while (await reader.readline()) and self._replies:
                reply = self._replies.pop(0)
                writer.write(reply.encode())
                if reply.startswith("354"):
                    while await reader.readline() != b".\r\n":
                        pass
                    writer.write(self._replies.pop(0).encode())
        finally:
            writer.close()


async def _queue(queue: Queue, given: dict[str, Any], before: Before) -> Made:
    for address in given["suppressed_addresses"] or ():
        await queue.suppress(address, cause=Cause.MANUAL, reason="test")
    made = Made()
    if given["action"] == "consecutive":
        for _ in range(2):
            before.answers.append(CONTENT)
            await _submit(queue, given)
            await run_until_idle(queue)
            made.hooks_before += 1
            made.history_before += 1
    [receipt] = await _submit(queue, given)
    made.id = receipt.id
    for _ in range(given["attempts_before"]):
        before.answers.append(LATER)
        await queue.retry_now(MessageFilter(ids=(receipt.id,)))
        await run_until_idle(queue)
        made.hooks_before += 1
    where = MessageFilter(ids=(receipt.id,))
    match given["action"]:
        case "drop":
            await queue.drop(where)
        case "fail":
            await queue.fail(where)
        case _:
            await queue.set_transport(where, "smtp")
            await queue.retry_now(where)
            await run_until_idle(queue)
    return made


async def _submit(queue: Queue, given: dict[str, Any]) -> Any:
    fromid = given["fromid"]
    sender = f"mjl+{fromid}@mox.example" if fromid else "mjl@mox.example"
    message_id = f"Message-ID: {given['message_id']}\r\n" if given["message_id"] else ""
    mail = f"From: <mjl@mox.example>\r\nSubject: {given['subject']}\r\n{message_id}\r\ntest\r\n"
    return await queue.submit(
        mail.encode(),
        sender=sender,
        recipients=given["rcpt"],
        extra=given["extra"],
        fromid=fromid or None,
        transport="before",
    )


async def _dsn(queue: Queue, given: dict[str, Any], before: Before) -> Made:
    original = given["original"]
    before.answers.append(Delivered())
    [receipt] = await _submit(queue, {"rcpt": original["recipient"], **original, "extra": original.get("extra")})
    await run_until_idle(queue)
    await queue.incoming(b64decode(given["raw"]), IncomingEnvelope(recipients=(given["rcpt_to"],)))
    return Made(id=receipt.id, hooks_before=1)


async def _incoming(queue: Queue, given: dict[str, Any], _: Before) -> Made:
    meta = given["meta"]
    envelope = IncomingEnvelope(
        recipients=(meta["RcptTo"],),
        mail_from=meta["MailFrom"],
        remote_ip=meta["RemoteIP"],
        message=meta["MsgID"],
        mailbox=meta["MailboxName"],
        mail_from_validated=meta["MailFromValidated"],
        from_validated=meta["MsgFromValidated"],
        dkim_domains=tuple(meta["DKIMVerifiedDomains"] or ()),
    )
    await queue.incoming(b64decode(given["raw"]), envelope)
    return Made()


async def _hooks(storage: MemoryStorage, *, after: int) -> Sequence[Hook]:
    page = await storage.hooks.list_waiting(HookFilter(), sort=Sort.QUEUED, descending=False, limit=100, after=None)
    return page.items[after:]


def _told(hook: Hook) -> dict[str, Any]:
    headers = call_headers(
        HOOK.call([(hook.id, hook.payload)], attempt=1), now=hook.queued, authorization=AUTHORIZATION
    )
    payload = json.loads(hook.payload)
    return {
        "event": "" if hook.event == INCOMING else hook.event,
        "headers": {name: value for name, value in headers.items() if name.startswith(("X-Mox", "Auth"))},
        "payload": _without_variables(payload),
    }


def _without_variables(payload: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with what varies, and what is not compared, replaced."""
    if "Meta" in payload:
        structure = payload["Structure"]
        if structure["ContentType"] == "/":
            structure = structure | {"ContentType": "text/plain"}
        return payload | {"Meta": payload["Meta"] | {"Received": ""}, "Structure": structure}
    subject = payload["Subject"].replace("\t", " ")
    return payload | {"Subject": subject, "WebhookQueued": "", "QueueMsgID": 0, "Error": bool(payload["Error"])}


async def _retired(queue: Queue, given: dict[str, Any], id_: int) -> object:
    retired = await queue.get_retired(id_) if id_ else None
    if retired is None:
        return None
    last = _last_of_dsn(retired) if given["kind"] == "dsn" else _last(retired)
    return {"last": last, "success": retired.success, "attempts": 0 if given["kind"] == "dsn" else retired.attempts}


def _last(retired: Retired) -> dict[str, Any]:
    result = retired.results[-1]
    success = result.kind.value == "delivered"
    return _result(result.code, result.enhanced, bool(result.text) and not success, success=success)


def _last_of_dsn(retired: Retired) -> dict[str, Any]:
    [result] = retired.feedback
    success = result.event.value in ("delivered", "relayed", "expanded")
    return _result(result.code, result.enhanced, bool(result.source), success=success)


def _result(code: int, enhanced: str, error: bool, *, success: bool) -> dict[str, Any]:
    return {"Code": code, "Secode": "" if success else enhanced.partition(".")[2], "Error": error, "Success": success}


def _expected(case: dict[str, Any], made: Made) -> dict[str, Any]:
    retired = (case["retired_messages"] or [None])[0]
    if retired is not None:
        last = retired["last_result"] | {"Error": bool(retired["last_result"]["Error"])}
        if last["Success"]:
            last["Secode"] = ""
        retired = {"last": last, "success": retired["success"], "attempts": retired["attempts"]}
    hooks: list[dict[str, Any]] = []
    wanted: list[dict[str, Any]] = case["hooks"] or []
    for number, hook in enumerate(wanted, made.hooks_before + 1):
        headers: dict[str, str] = {name: values[0] for name, values in hook["http_headers"].items()}
        names = {"X-Mox-Webhook-Id": "X-Mox-Webhook-ID"}
        headers = {names.get(name, name): value.replace("HOOKID", str(number)) for name, value in headers.items()}
        payload = json.loads(hook["payload"])
        if "mox_quirk_minor" in case and payload.get("Extra", {}) is None:
            payload["Extra"] = {}
        hooks.append(
            {
                "event": hook["hook_event"],
                "headers": {name: value for name, value in headers.items() if name.startswith(("X-Mox", "Auth"))},
                "payload": _without_variables(payload),
            }
        )
    return {
        "hooks": hooks,
        "retired": retired,
        "suppressions": [
            (s["BaseAddress"], s["OriginalAddress"], s["Manual"], bool(s["Reason"]))
            for s in case["suppressions_after"] or ()
        ],
    }
