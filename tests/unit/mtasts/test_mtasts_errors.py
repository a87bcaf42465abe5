"""Errors come through pickling whole, and say little that is not ours; the extra is asked for when it is needed."""

import pickle
import subprocess
import sys

import pytest

from moxlib._http import NoAddress
from moxlib.errors import MissingExtra, RemoteError
from moxlib.mtasts import HTTPSFetcher, PolicyFetchError
from moxlib.testing import MockResolver
from moxlib.tlsrpt import ResultType


def test_a_fetch_error_by_its_fields() -> None:
    error = PolicyFetchError(
        domain="example.com",
        reason="HTTP status 302, where 200 is wanted",
        result_type=ResultType.STS_POLICY_FETCH_ERROR,
        reason_code="http-status-302",
        status=302,
    )
    assert isinstance(error, RemoteError)
    assert str(error) == "MTA-STS policy of 'example.com': HTTP status 302, where 200 is wanted"
    copy = pickle.loads(pickle.dumps(error))
    assert vars(copy) == vars(error)
    assert str(copy) == str(error)


def test_no_address_by_its_host() -> None:
    error = NoAddress("mta-sts.example.com")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.host, str(copy)) == (error.host, str(error))


def test_without_aiohttp_the_constructor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(MissingExtra) as caught:
        HTTPSFetcher(MockResolver())
    assert (caught.value.extra, caught.value.what) == ("http", "MTA-STS")


def test_aiohttp_is_not_loaded_before_it_is_needed() -> None:
    program = "import sys, moxlib.mtasts; print('aiohttp' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
