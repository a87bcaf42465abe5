"""What a worker tells its observer, who must not disturb it; and waiting out what the disk refuses."""

import logging
from collections.abc import Awaitable, Callable, Sequence

from moxlib._clock import Clock
from moxlib.errors import StorageError
from moxlib.queue.observer import Observer
from moxlib.queue.storage.settlement import GiveBack, Settlement
from moxlib.tlsrpt import Result

__all__ = ["TROUBLE_SECONDS", "Telling"]

log: logging.Logger = logging.getLogger("moxlib.queue")

RAISED = "the observer raised"
TROUBLE_SECONDS = (0.1, 1.0, 5.0, 30.0)  # between tries while the disk refuses; the last one repeats


class Telling:
    """Tells an observer; what that raises is logged, and no more."""

    def __init__(self, observer: Observer, clock: Clock) -> None:
        self._observer = observer
        self._clock = clock

    async def retrying(self, doing: str, step: Callable[[], Awaitable[None]]) -> None:
        """Take a step until the storage lets it succeed; each failure is told, and waited out."""
        tries = 0
        while True:
            try:
                return await step()
            except StorageError as error:
                self.trouble(doing, error)
            await self.wait_out(tries)
            tries += 1

    async def wait_out(self, tries: int) -> None:
        """Wait before something is tried again that has failed so often before."""
        await self._clock.sleep(TROUBLE_SECONDS[min(tries, len(TROUBLE_SECONDS) - 1)])

    def trouble(self, doing: str, error: Exception) -> None:
        """Tell that the storage refused something, which will be tried again."""
        log.error("%s failed, and will be tried again: %s", doing, error)
        self._tell(lambda: self._observer.trouble(doing, error))

    def lease_lost(self, worker: int, lost: int) -> None:
        """Tell that so many of the worker's attempts had been taken back by others."""
        self._tell(lambda: self._observer.lease_lost(worker, lost))

    def attempts(self, settlements: Sequence[Settlement]) -> None:
        """Tell how attempts ended."""
        for settlement in settlements:
            if not isinstance(settlement, GiveBack):
                try:  # not by `_tell`: there are very many
                    self._observer.attempted(settlement.message, settlement.result)
                except Exception:
                    log.exception(RAISED)

    def tls_results(self, domain: str, results: tuple[Result, ...]) -> None:
        """Tell what was learned of TLS at a domain's hosts."""
        self._tell(lambda: self._observer.tls_results(domain, results))

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception:
            log.exception(RAISED)
