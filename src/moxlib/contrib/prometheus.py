"""Counts and durations for Prometheus, in mox's names: of the queue's deliveries, and of the webapi's calls.

    metrics = PrometheusObserver()
    async with Queue.open(path, observer=metrics) as queue:
        app = asgi_app(Service(queue, accounts, observer=metrics))

The registry's own exporters show them (`prometheus_client.make_asgi_app()`).
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from moxlib.errors import MissingExtra
from moxlib.queue import NullObserver
from moxlib.queue.types import AttemptResult, Message, ResultKind

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["PrometheusObserver"]

CALL_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30)  # seconds, as mox
DELIVERY_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 60, 120)
MAX_ATTEMPT: Final = 20  # higher ones are one label: each label is a series of its own, for good

_SUBMISSIONS: Final = {
    "ok": "ok",
    "badFrom": "badfrom",
    "domainDisabled": "domaindisabled",
    "messageLimitReached": "messagelimiterror",
    "recipientLimitReached": "recipientlimiterror",
    "server": "queueerror",
}
_RESULTS: Final = {
    ResultKind.DELIVERED: "ok",
    ResultKind.DEFERRED: "temperror",
    ResultKind.FAILED: "permerror",
    ResultKind.INTERRUPTED: "canceled",
}


class PrometheusObserver(NullObserver):
    """An observer of a queue and of a webapi; one for both, or one for each with registries of their own.

    Series:

    - `mox_queue_delivery_duration_seconds`: attempts, by number ("20+" from 20 on), transport, what protected them
      (`tlsmode`, as the history says it) and result: ok, temperror, permerror, canceled or error.
    - `mox_webapi_results_total`: calls by method and result: ok, an error's code, badauth, ratelimited, busy, crosssite
      or gone.
    - `mox_webapi_duration_seconds`: how long they took, by method.
    - `mox_webapi_submission_total`: messages to be sent by result: ok, badfrom, domaindisabled, messagelimiterror,
      recipientlimiterror, queueerror, or an error's code.
    - `mox_webapi_errors_total`: what was the server's fault, by what it did: `submit`.

    Args:
        registry: where the series are; None: the process's own.

    Raises:
        MissingExtra: prometheus-client is not installed (extra: metrics).
        ValueError: the registry has these series already.
    """

    def __init__(self, registry: "CollectorRegistry | None" = None) -> None:
        try:
            from prometheus_client import REGISTRY, Counter, Histogram  # noqa: PLC0415 - an extra
        except ModuleNotFoundError as error:
            raise MissingExtra("metrics", "counting for Prometheus") from error
        where = REGISTRY if registry is None else registry
        self._deliveries = Histogram(
            "mox_queue_delivery_duration_seconds",
            "Attempts to deliver.",
            ("attempt", "transport", "tlsmode", "result"),
            registry=where,
            buckets=DELIVERY_BUCKETS,
        )
        self._results = Counter(
            "mox_webapi_results_total", "Calls of the webapi.", ("method", "result"), registry=where
        )
        self._durations = Histogram(
            "mox_webapi_duration_seconds",
            "How long calls of the webapi took.",
            ("method",),
            registry=where,
            buckets=CALL_BUCKETS,
        )
        self._submissions = Counter(
            "mox_webapi_submission_total", "Messages that the webapi was to send.", ("result",), registry=where
        )
        self._errors = Counter(
            "mox_webapi_errors_total", "Errors of the webapi that are the server's.", ("error",), registry=where
        )

    def attempted(self, message: Message, result: AttemptResult) -> None:  # noqa: ARG002 - the protocol's
        """Count an attempt."""
        number = str(result.attempt) if result.attempt < MAX_ATTEMPT else f"{MAX_ATTEMPT}+"
        labels = (number, result.transport, result.tls, _RESULTS.get(result.kind, "error"))
        self._deliveries.labels(*labels).observe(result.duration.total_seconds())

    def called(self, method: str, result: str, duration: timedelta) -> None:
        """Count a call."""
        self._results.labels(method, result).inc()
        self._durations.labels(method).observe(duration.total_seconds())

    def submitted_by_call(self, result: str) -> None:
        """Count a message that was to be sent."""
        self._submissions.labels(_SUBMISSIONS.get(result, result)).inc()
        if result == "server":
            self._errors.labels("submit").inc()
