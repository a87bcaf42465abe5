"""What users of moxlib need to test their own code: a clock that obeys, servers and storage that do as they are told.

FakeClock(start)                      time moves when the test says so
RecordingTransport(answers)           a transport in memory: keeps what it gets, ends attempts as told; Hang, Recorded
run_until_idle(queue)                 deliver all that is due, without waiting
run_until_empty(queue, clock)         the same, moving the clock to each retry until nothing is left
SMTPPeer(answers)                     a real SMTP server on loopback that answers by a script: ByCommand, Script,
                                      Close, Stall, StartTLS
MemoryStorage()                       the `Storage` protocol in plain dictionaries: nothing is on disk
pytest_plugin                         fixtures: `pytest_plugins = ["moxlib.testing.pytest_plugin"]`
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.testing.clock import FakeClock
    from moxlib.testing.memory_storage import MemoryStorage
    from moxlib.testing.run import run_until_empty, run_until_idle
    from moxlib.testing.smtp_peer import Answer, ByCommand, Close, PeerSession, Script, SMTPPeer, Stall, StartTLS
    from moxlib.testing.transport import Hang, Recorded, RecordingTransport

__all__ = [
    "Answer",
    "ByCommand",
    "Close",
    "FakeClock",
    "Hang",
    "MemoryStorage",
    "PeerSession",
    "Recorded",
    "RecordingTransport",
    "SMTPPeer",
    "Script",
    "Stall",
    "StartTLS",
    "run_until_empty",
    "run_until_idle",
]

_SMTP_PEER = "Answer ByCommand Close PeerSession SMTPPeer Script Stall StartTLS"

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_SMTP_PEER.split(), ".smtp_peer"),
            **dict.fromkeys(("Hang", "Recorded", "RecordingTransport"), ".transport"),
            **dict.fromkeys(("run_until_empty", "run_until_idle"), ".run"),
            "FakeClock": ".clock",
            "MemoryStorage": ".memory_storage",
        },
    )
