"""What users of moxlib need to test their own code: a clock that obeys, servers and storage that do as they are told.

FakeClock(start)                      time moves when the test says so
RecordingTransport(answers)           a transport in memory: keeps what it gets, ends attempts as told; Hang, Recorded
run_until_idle(queue)                 deliver all that is due, without waiting
run_until_empty(queue, clock)         the same, moving the clock to each retry until nothing is left
SMTPPeer(answers)                     a real SMTP server on loopback that answers by a script: ByCommand, Script,
                                      Close, Stall, StartTLS
HostilePeer(misdeeds)                 the same, misbehaving: Misdeed, Fault, Step, Say, Pace, Then; FAULTS, LIES, Lie;
                                      all_cases() has each fault at each step of a session
MockResolver(mx=..., a=..., tlsa=...)  a DNS in plain maps: failures, DNSSEC, and what was asked
MemoryStorage()                       the `Storage` protocol in plain dictionaries: nothing is on disk
pytest_plugin                         fixtures: `pytest_plugins = ["moxlib.testing.pytest_plugin"]`
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.testing.clock import FakeClock
    from moxlib.testing.faults import FAULTS, LIES, Fault, Lie, Misdeed, Pace, Say, Step, Then, all_cases
    from moxlib.testing.hostile import HostilePeer
    from moxlib.testing.memory_storage import MemoryStorage
    from moxlib.testing.resolver import MockResolver
    from moxlib.testing.run import run_until_empty, run_until_idle
    from moxlib.testing.smtp_peer import Answer, ByCommand, Close, PeerSession, Script, SMTPPeer, Stall, StartTLS
    from moxlib.testing.transport import Hang, Recorded, RecordingTransport

__all__ = [
    "FAULTS",
    "LIES",
    "Answer",
    "ByCommand",
    "Close",
    "FakeClock",
    "Fault",
    "Hang",
    "HostilePeer",
    "Lie",
    "MemoryStorage",
    "Misdeed",
    "MockResolver",
    "Pace",
    "PeerSession",
    "Recorded",
    "RecordingTransport",
    "SMTPPeer",
    "Say",
    "Script",
    "Stall",
    "StartTLS",
    "Step",
    "Then",
    "all_cases",
    "run_until_empty",
    "run_until_idle",
]

_FAULTS = "FAULTS LIES Fault Lie Misdeed Pace Say Step Then all_cases"
_SMTP_PEER = "Answer ByCommand Close PeerSession SMTPPeer Script Stall StartTLS"

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            **dict.fromkeys(_FAULTS.split(), ".faults"),
            **dict.fromkeys(_SMTP_PEER.split(), ".smtp_peer"),
            **dict.fromkeys(("Hang", "Recorded", "RecordingTransport"), ".transport"),
            **dict.fromkeys(("run_until_empty", "run_until_idle"), ".run"),
            "FakeClock": ".clock",
            "HostilePeer": ".hostile",
            "MemoryStorage": ".memory_storage",
            "MockResolver": ".resolver",
        },
    )
