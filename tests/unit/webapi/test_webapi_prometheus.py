"""Calls of the webapi in Prometheus' text, in mox's names."""

import subprocess
import sys
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry

from moxlib.contrib.prometheus import PrometheusObserver


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def test_calls_are_counted(registry: CollectorRegistry) -> None:
    metrics = PrometheusObserver(registry)
    metrics.called("Send", "ok", timedelta(seconds=0.3))
    metrics.called("Send", "badauth", timedelta(seconds=0.02))
    value = registry.get_sample_value
    assert value("mox_webapi_results_total", {"method": "Send", "result": "ok"}) == 1
    assert value("mox_webapi_results_total", {"method": "Send", "result": "badauth"}) == 1
    assert value("mox_webapi_duration_seconds_count", {"method": "Send"}) == 2
    assert value("mox_webapi_duration_seconds_sum", {"method": "Send"}) == pytest.approx(0.32)
    assert value("mox_webapi_duration_seconds_bucket", {"method": "Send", "le": "0.05"}) == 1


@pytest.mark.parametrize(
    ("result", "label"),
    [
        ("ok", "ok"),
        ("badFrom", "badfrom"),
        ("domainDisabled", "domaindisabled"),
        ("messageLimitReached", "messagelimiterror"),
        ("recipientLimitReached", "recipientlimiterror"),
        ("server", "queueerror"),
        ("missingBody", "missingBody"),
    ],
)
def test_submissions_have_moxs_labels(registry: CollectorRegistry, result: str, label: str) -> None:
    PrometheusObserver(registry).submitted_by_call(result)
    assert registry.get_sample_value("mox_webapi_submission_total", {"result": label}) == 1
    errors = registry.get_sample_value("mox_webapi_errors_total", {"error": "submit"})
    assert errors == (1 if result == "server" else None)


def test_a_registry_has_one(registry: CollectorRegistry) -> None:
    PrometheusObserver(registry)
    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusObserver(registry)
    PrometheusObserver(CollectorRegistry())


def test_without_prometheus_client() -> None:
    program = """
import sys
sys.modules["prometheus_client"] = None
from moxlib.contrib.prometheus import PrometheusObserver
from moxlib.errors import MissingExtra
try:
    PrometheusObserver()
except MissingExtra as error:
    print(error.extra)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "metrics\n"
