"""pytest fixtures for code that uses moxlib.

Name this module in `conftest.py`::

    pytest_plugins = ["moxlib.testing.pytest_plugin"]

It is not registered as a plugin by itself: a test run that does not ask for it pays nothing.
"""

import pytest

from moxlib.testing.clock import FakeClock
from moxlib.testing.memory_storage import MemoryStorage
from moxlib.testing.transport import RecordingTransport

__all__ = ["fake_clock", "memory_storage", "recording_transport"]


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock that stands still until the test moves it."""
    return FakeClock()


@pytest.fixture
def memory_storage() -> MemoryStorage:
    """An empty storage in memory, for `Queue(memory_storage, ...)`."""
    return MemoryStorage()


@pytest.fixture
def recording_transport() -> RecordingTransport:
    """A transport that records what it gets and says that it was delivered."""
    return RecordingTransport()
