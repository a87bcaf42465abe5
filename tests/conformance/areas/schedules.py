"""How answers to webhook calls are judged, by calls to a real receiver; and retry schedules, nominal and with jitter.

mox names itself in User-Agent; so do we. An `error` is compared only in whether there is one.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from moxlib.errors import InputError
from moxlib.queue import MOX_SCHEDULE, RetrySchedule
from moxlib.queue.hooks import HOOK_SCHEDULE, CallResult, HookCaller, HookConfig, Success
from moxlib.queue.schedule import next_attempt
from moxlib.webhook import USER_AGENT

NOW = datetime(2026, 1, 1, tzinfo=UTC)
JITTER = 0.012  # mox's, at the most: its queue's is in whole seconds of the first wait


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    match case["kind"]:
        case "http_response":
            return _response(case)
        case "hook_schedule":
            nominal = case["nominal_seconds_after_attempt"]
            return _schedule(nominal, case["total_attempts"], case["measured"]), _of(HOOK_SCHEDULE, case["measured"])
        case "queue_schedule":
            measured = [each for each in case["measured"] if "final" not in each]
            nominal = [each["nominal_seconds"] for each in measured]
            return _schedule(nominal, case["max_attempts_default"], measured), _of(MOX_SCHEDULE, measured)
        case kind:
            raise AssertionError(f"unknown kind {kind}")


def _response(case: dict[str, Any]) -> tuple[object, object]:
    if case.get("bad_url"):
        try:
            HookConfig(url="://bad")
        except InputError:
            return {"success": False, "error": True}, {"success": False, "error": bool(case["error"])}
    asked: list[bytes] = []
    result = asyncio.run(_call(case, asked))
    got: dict[str, Any] = {
        "status": case["status"],
        "result_code": result.status,
        "result_response_len": len(result.text),
        "success": isinstance(result.verdict, Success),
        "error": bool(result.error),
    }
    expected = {"error": "error" in case} | {key: case[key] for key in got if key != "error"}
    if "sent_headers" in case:
        expected["sent_headers"] = case["sent_headers"]
        got["sent_headers"] = _headers(asked[0], case["sent_headers"])
    return expected, got


async def _call(case: dict[str, Any], asked: list[bytes]) -> CallResult:
    head = f"HTTP/1.1 {case['status']} x\r\nContent-Length: {case['response_body_len']}\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readuntil(b"\r\n\r\n"))
        await reader.readexactly(len(b"{}"))
        writer.write(head.encode() + b"x" * case["response_body_len"])
        await writer.drain()
        writer.close()

    attempt = int(case.get("sent_headers", {}).get("X-Mox-Webhook-Attempt", "1")[0])
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, HookCaller() as caller:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        config = HookConfig(url=url, allow_private=True, authorization=case.get("authorization", ""))
        return await caller.call(config, config.call([(5, b"{}")], attempt=attempt))


def _headers(head: bytes, wanted: dict[str, Any]) -> dict[str, list[str]]:
    """Return the headers as Go shows them, without those that every request has."""
    pairs = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:] if line]
    names = {name.lower(): name for name in wanted}
    return {
        names.get(name.lower(), name): [value.replace(USER_AGENT, "mox/VERSION (webhook)")]
        for name, value in pairs
        if name.lower() not in {"host", "content-length"}
    }


def _schedule(nominal: list[int], attempts: int, measured: list[dict[str, Any]]) -> object:
    return {"waits": nominal, "attempts": attempts, "within": [True] * len(measured), "end": None}


def _of(schedule: RetrySchedule, measured: list[dict[str, Any]]) -> object:
    def wait(attempt: int, jitter: float) -> timedelta:
        at = next_attempt(schedule, attempts=attempt, max_attempts=attempt + 1, now=NOW, jitter=jitter)
        assert at is not None
        return at - NOW

    attempts = schedule.max_attempts
    within = [
        abs(wait(each["attempt"], 0).total_seconds() / each["measured_backoff_seconds"] - 1) <= JITTER
        and wait(each["attempt"], -1) < wait(each["attempt"], 0) < wait(each["attempt"], 1)
        for each in measured
    ]
    return {
        "waits": [int(wait.total_seconds()) for wait in schedule.waits],
        "attempts": attempts,
        "within": within,
        "end": next_attempt(schedule, attempts=attempts, max_attempts=attempts + 1, now=NOW, jitter=0),
    }
