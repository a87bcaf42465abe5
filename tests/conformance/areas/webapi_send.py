"""Send: what is answered, what is queued, what is kept in Sent. See `tests/conformance/webapi_host.py`.

Each case has a host of its own. Compared of an error is its code; of an answer, all of it, with Message-IDs and fromids
that are made by their place; of a queued message the envelope, and the message by what it says
(`tests/conformance/composed.py`), and the tags of its signature that do not depend on the key and the time.

A message that is to be released in the past is due at once with us; mox keeps the past time. That a release was asked
for shows in the next attempt. A subject in the queue is what the header says, without blanks around it and in encoded
words; domains are in ASCII.
"""

import asyncio
import base64
import json
import re
from collections.abc import Mapping
from datetime import UTC, timedelta
from typing import Any

from tests.conformance.composed import content
from tests.conformance.webapi_host import Host, authorization, hosting

from moxlib.message import decode_words, read_message
from moxlib.queue import Message, RequireTLS, SendingLimits
from moxlib.smtp import parse_address

TLS = {RequireTLS.POLICY: None, RequireTLS.YES: True, RequireTLS.NO: False}
TAGS = ("v", "d", "s", "i", "a", "h")


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    return asyncio.run(_outcome(case))


async def _outcome(case: dict[str, Any]) -> tuple[object, object]:
    async with hosting() as host:
        before = await _before(host, case)
        type_, body = _posted(case, host)
        headers = [("Content-Type", type_), authorization(case["login"])]
        answer = await host.call("POST", "/v0/Send", headers=headers, body=body)
        queued = [m for m in (await host.queue.list_messages(limit=1000)).items if m.id > before]
        fromids = {m.fromid: f"FROMID{index}" for index, m in enumerate(queued, 1) if m.fromid}
        first = min([m.id for m in queued], default=1)
        got = {
            "status": answer.status,
            "type": answer.headers.get("content-type"),
            "answer": _answered(json.loads(answer.body), fromids, first),
            "queued": [await _row(host, m, fromids) for m in queued],
            "sent": await _sent(host) if case.get("sent_mailbox") else None,
        }
    expected = {
        "status": case["status"],
        "type": case["response_headers"]["Content-Type"][0],
        "answer": _answered(json.loads(case["response"]), {}, 1),
        "queued": [_expected_row(row) for row in case["queued"]],
        "sent": None,
    }
    if sent := case.get("sent_mailbox"):
        raw = base64.b64decode(sent["raw"])
        expected["sent"] = {"raw": content(raw), "tags": {tag: sent["dkim_tags"][tag] for tag in TAGS}}
    return expected, got


async def _before(host: Host, case: Mapping[str, Any]) -> int:
    """Use up what the account has of its limits, as it had when mox was asked; return the last id."""
    if not case["login"].startswith("msglimit"):
        return 0
    raw, sender = b"From: <msglimit@mox.example>\r\n\r\n", "msglimit@mox.example"
    limits = SendingLimits(messages_per_day=1)
    [receipt] = await host.queue.submit(
        raw, account="msglimit", sender=sender, recipients="a@remote.example", limits=limits
    )
    return receipt.id


def _posted(case: Mapping[str, Any], host: Host) -> tuple[str, bytes]:
    """Return the form and its type."""

    def time(match: re.Match[str]) -> str:
        return (host.clock.now() + timedelta(seconds=int(match[1]))).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    octets = re.sub(r"@NOW\+(\d+)@", time, case["request"]).encode("utf-8", "surrogateescape")
    if case["mode"] == "urlencoded":
        return "application/x-www-form-urlencoded", b"request=" + b"".join([b"%%%02X" % octet for octet in octets])
    parts = [b'Content-Disposition: form-data; name="request"\r\n\r\n' + octets]
    for file in case["files"]:
        name = f'form-data; name="{file["field"]}"; filename="{file["filename"]}"'
        fields = {"Content-Disposition": name, **file["headers"]}
        head = "".join([f"{key}: {value}\r\n" for key, value in fields.items()])
        parts.append(head.encode() + b"\r\n" + base64.b64decode(file["data"]))
    body = b"".join([b"--bound\r\n" + part + b"\r\n" for part in parts]) + b"--bound--\r\n"
    return "multipart/form-data; boundary=bound", body


def _answered(answer: dict[str, Any], fromids: Mapping[str, str], first: int) -> object:
    if "Code" in answer:
        return {"Code": answer["Code"], "Message": bool(answer["Message"])}
    return {
        "MessageID": re.sub(r"^<(MSGID|[A-Za-z0-9_-]{20,22})@", "<MSGID@", answer["MessageID"]),
        "Submissions": [
            each
            | {
                "QueueMsgID": each["QueueMsgID"] - first + 1,
                "FromID": fromids.get(each["FromID"], each["FromID"]),
            }
            for each in answer["Submissions"]
        ],
    }


async def _sent(host: Host) -> dict[str, Any]:
    """Return what is in the Sent mailbox, which is the first message of all."""
    async with await host.mailbox.open("mjl", 1) as message:
        assert message.message.mailbox == "Sent"
        raw = b"".join([chunk async for chunk in message.raw()])
    return {"raw": content(raw), "tags": _tags(raw)}


async def _row(host: Host, message: Message, fromids: Mapping[str, str]) -> dict[str, Any]:
    raw = b"".join([chunk async for chunk in host.queue.dump(message.id)])
    sender = message.mail_from or message.sender
    if message.fromid:
        sender = sender.replace(message.fromid, fromids[message.fromid])
    delta = (message.next_attempt - host.clock.now()).total_seconds()
    return {
        "recipient": _ascii(message.recipient),
        "sender": _ascii(sender),
        "fromid": fromids.get(message.fromid, ""),
        "message_id": _id(message.message_id),
        "subject": _words(message.subject),
        "extra": dict(message.extra),
        "require_tls": TLS[message.require_tls],
        "smtputf8": message.needs_smtputf8,
        "has8bit": message.needs_8bit,
        "next_attempt": max(0, round(delta)),
        "tags": _tags(raw),
        "received": _received(raw),
        "raw": content(raw),
    }


def _expected_row(row: Mapping[str, Any]) -> dict[str, Any]:
    raw = base64.b64decode(row["raw"])
    return {
        "recipient": _ascii(row["recipient"]),
        "sender": _ascii(row["sender"]),
        "fromid": row["fromid"],
        "message_id": _id(row["message_id"]),
        "subject": _words(decode_words(row["subject"])),
        "extra": row["extra"] or {},
        "require_tls": row["require_tls"],
        "smtputf8": row["smtputf8"],
        "has8bit": row["has8bit"],
        "next_attempt": max(0, row["next_attempt_delta_seconds"]),
        "tags": {tag: row["dkim_tags"][tag] for tag in TAGS} if row.get("dkim_tags") else None,
        "received": _received(raw),
        "raw": content(raw),
    }


def _ascii(address: str) -> str:
    """Return an address with its domain in ASCII."""
    return str(parse_address(address))


def _words(subject: str) -> str:
    return " ".join(subject.split())


def _id(message_id: str) -> str:
    return re.sub(r"^<(MSGID|[A-Za-z0-9_-]{20,22})@", "<MSGID@", message_id)


def _tags(raw: bytes) -> dict[str, str] | None:
    """Return the tags of the signature that do not depend on the key and the time."""
    found = list(read_message(raw).values("DKIM-Signature"))
    if not found:
        return None
    tags = dict([tag.strip().split("=", 1) for tag in re.sub(r"\s+", "", found[0]).split(";") if tag])
    return {tag: tags[tag] for tag in TAGS}


def _received(raw: bytes) -> str:
    """Return the trace field, without the id and the time."""
    [value] = read_message(raw).values("Received")
    value = re.sub(r"\s+", " ", value.replace(" for <>", "")).partition(";")[0]
    return re.sub(r" id \S+", " id RECVID", value)
