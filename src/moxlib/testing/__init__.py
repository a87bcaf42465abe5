"""What users of moxlib need to test their own code: a clock that obeys, storage and transport in memory.

FakeClock(start)                 time moves when the test says so
MemoryStorage()                  the `Storage` protocol in plain dictionaries: fast to make, nothing on disk
pytest_plugin                    fixtures: `pytest_plugins = ["moxlib.testing.pytest_plugin"]`
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.testing.clock import FakeClock
    from moxlib.testing.memory_storage import MemoryStorage

__all__ = ["FakeClock", "MemoryStorage"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(__name__, {"FakeClock": ".clock", "MemoryStorage": ".memory_storage"})
