"""Servers on loopback, for developing and testing mail software; needs the extra `localserve`.

LoopbackServer(rules)            an SMTP server that keeps what it accepts, and refuses what the rules say
LoopbackReceiver(secrets=...)    an HTTP server that verifies webhooks, and keeps what they carry
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.localserve.receiver import LoopbackReceiver
    from moxlib.localserve.server import AcceptAll, LoopbackServer, Received, Rules

__all__ = ["AcceptAll", "LoopbackReceiver", "LoopbackServer", "Received", "Rules"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(__name__, dict.fromkeys(__all__, ".server") | {"LoopbackReceiver": ".receiver"})
