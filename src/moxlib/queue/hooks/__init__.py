"""Webhooks of the queue: where they go, how a call is made, and what its answer means.

HookConfig(url=..., secrets=...)    an endpoint; refuses what could not work, or should not
HookCaller()                        `async with`; `await caller.call(config, config.call([...], attempt=1))`
CallResult                          what became of it: `verdict`, `status`, `text`, `duration`, `error`
judge(status, headers, now=...)     what an answer means: Success | Retry | Refused | Disable
next_call(verdict, schedule, ...)   when the next attempt is; HOOK_SCHEDULE
Hook, RetiredHook, HookResult       what is kept of a webhook: `queue.list_webhooks()` and others; HookEndpoint
HookFilter, HookHistoryFilter       which of them
Replay                              which events to send once more: `queue.replay_webhooks()`
"""

from moxlib.queue.hooks.addresses import AddressRefused
from moxlib.queue.hooks.caller import CallResult, HookCaller
from moxlib.queue.hooks.config import HookConfig, Keep
from moxlib.queue.hooks.records import Hook, HookEndpoint, HookOutcome, HookResult, Replay, RetiredHook
from moxlib.queue.hooks.retry_after import MAX_RETRY_AFTER
from moxlib.queue.hooks.selection import HookFilter, HookHistoryFilter
from moxlib.queue.hooks.verdict import (
    HOOK_SCHEDULE,
    Disable,
    Refused,
    Retry,
    Success,
    Verdict,
    judge,
    next_call,
)

__all__ = [
    "HOOK_SCHEDULE",
    "MAX_RETRY_AFTER",
    "AddressRefused",
    "CallResult",
    "Disable",
    "Hook",
    "HookCaller",
    "HookConfig",
    "HookEndpoint",
    "HookFilter",
    "HookHistoryFilter",
    "HookOutcome",
    "HookResult",
    "Keep",
    "Refused",
    "Replay",
    "RetiredHook",
    "Retry",
    "Success",
    "Verdict",
    "judge",
    "next_call",
]
