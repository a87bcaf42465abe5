"""What a queue does with mail that comes in: feedback on what was sent, webhooks of the rest. `Queue` inherits it."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from moxlib._clock import Clock
from moxlib.message import Part, read_message
from moxlib.queue.config import QueueConfig
from moxlib.queue.feedback import IncomingEnvelope, ReceivedFeedback, RecordedFeedback, is_automated, read_report
from moxlib.queue.fromid import fromid_of
from moxlib.queue.hooks.incoming import incoming_hooks
from moxlib.queue.hooks.records import NewHook
from moxlib.queue.reply_class import Classifier
from moxlib.queue.storage.base import Storage
from moxlib.smtp import Address

if TYPE_CHECKING:
    from moxlib.message.source import SupportsReadAt

__all__ = ["IncomingMethods", "NotFeedback"]

IN_THREAD = 64 * 1024  # octets; larger messages, and files, are read in a thread, as that may take a while


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFeedback:
    """A message that came in is about none that was sent: mail for people, or for the host's own programs."""

    automated: bool
    """A program sent it, so that none should answer it."""
    webhooks: int = 0
    """How many webhooks tell of it."""


class IncomingMethods:
    """Mail that comes in: the host takes it from its server, and hands it in here."""

    _storage: Storage
    _config: QueueConfig
    _clock: Clock

    def _logged(self) -> None:
        raise NotImplementedError  # the queue has followers of its log, and workers

    async def incoming(
        self,
        message: "bytes | Part | SupportsReadAt",
        envelope: IncomingEnvelope,
        *,
        account: str | None = None,
    ) -> RecordedFeedback | NotFeedback:
        """Take a message that came in: if it is feedback on one that was sent, record that; else tell webhooks of it.

        It is feedback if it came in for an address with a fromid; or if it is a DSN, a bounce of another form or an
        abuse report, and names the envelope identifier or returns the Message-ID of one that was sent. What it says of
        each recipient is added to the history of that recipient's message, may suppress the recipient, and causes an
        event and its webhook; all of it in one transaction, and once, however often the same message is handed in. A
        message that is in the queue still goes on to be delivered.

        What this queue wrote itself to tell a sender is mail, not feedback: what it says is known.

        Mail that is no feedback is only told to the incoming webhook of `account`, if there is one: each time that it
        is handed in. When this returns, all of it is durable.

        Who can send mail can send a forged bounce. With fromids, it has to guess one; a Message-ID is known to whoever
        has got the message. Hand in what your server took for feedback addresses only.

        Args:
            message: the message, its lines ended by CRLF or LF; or an open file, which is read by position.
            envelope: how it came in.
            account: whose mail it is: feedback on other accounts' messages is then none. None: of any account, and for
                webhooks that with the empty name.

        Returns:
            What was recorded; or `NotFeedback`, and the message is the host's to deal with.

        Raises:
            StorageFull, StorageBusy, StorageError, StorageUnavailable: it could not be stored; hand it in again.
            OSError: what reading the file does.
        """
        part = message if isinstance(message, Part) else read_message(message)
        in_memory = isinstance(message, bytes) and len(message) <= IN_THREAD
        report = self._report(part, envelope) if in_memory else await asyncio.to_thread(self._report, part, envelope)
        if report.fromids or report.envid or report.message_id:
            recorded = await self._storage.record_feedback(
                await self._with_known_envid(report),
                account=account,
                policy_for=self._config.suppression_for,
                plan_for=self._config.hook_plan,
                now=self._clock.now(),
            )
            if recorded.recorded:
                self._logged()
                return recorded
        if in_memory:
            hooks = self._hooks(part, envelope, account or "")
        else:
            hooks = await asyncio.to_thread(self._hooks, part, envelope, account or "")
        if hooks:
            await self._storage.hooks.insert(hooks)
            self._logged()
        return NotFeedback(automated=is_automated(part, envelope.mail_from), webhooks=len(hooks))

    async def _with_known_envid(self, report: ReceivedFeedback) -> ReceivedFeedback:
        """Return a report with what its envelope identifier stands for in xtext, if it matches nothing as it stands.

        Not in the transaction that records it: no message gets the identifier of a report that is there already.
        """
        if not report.decoded_envid:
            return report
        found = await self._storage.match_feedback(fromids=report.fromids, envid=report.envid)
        return report if found.by else replace(report, envid=report.decoded_envid)

    def _report(self, part: Part, envelope: IncomingEnvelope) -> ReceivedFeedback:
        return read_report(part, addresses=envelope.addresses(), fromids=self._fromids, classifier=self._classifier)

    @cached_property
    def _classifier(self) -> Classifier:
        return self._config.classifier or Classifier.default()

    def _hooks(self, part: Part, envelope: IncomingEnvelope, account: str) -> tuple[NewHook, ...]:
        plan = self._config.incoming_hook_plan(account)
        if plan is None:
            return ()
        return incoming_hooks(part, envelope, plan=plan, account=account, now=self._clock.now())

    def _fromids(self, addresses: Iterable[Address]) -> tuple[str, ...]:
        """Return what may be fromids in addresses, by the separators of everybody who has some."""
        found: dict[str, None] = {}
        for address in addresses:
            for config in self._config.all_fromids():
                found |= dict.fromkeys(fromid_of(address, config.separators_for(address)))
        return tuple(found)
