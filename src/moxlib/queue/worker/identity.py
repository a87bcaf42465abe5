"""Which process a worker is, so that its successor on the same machine can know that it is dead."""

import json
import os
import socket
from pathlib import Path

__all__ = ["is_known_dead", "own_identity"]


def own_identity() -> str:
    """Return this process's identity: machine, boot, process namespace, process id and start time.

    Where the machine does not tell these apart (no /proc), the identity says so, and only the lease decides.
    """
    return json.dumps({"place": _place(), "pid": os.getpid(), "started": _start_time(os.getpid())})


def is_known_dead(identity: str) -> bool:
    """Say whether the process is known to be gone. False when that cannot be known from here."""
    try:
        fields = json.loads(identity)
        place, pid, started = fields["place"], int(fields["pid"]), fields["started"]
    except (ValueError, KeyError, TypeError):
        return False  # written by something else: its lease decides
    if place is None or place != _place():
        return False
    return started is None or _start_time(pid) != started


def _place() -> list[str] | None:
    """Return what must be equal for process ids to mean the same; None when that is unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
    return [socket.gethostname(), boot, namespace]


def _start_time(pid: int) -> str | None:
    """Return the process's start in clock ticks since boot (proc(5), field 22 of stat); None when there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    fields = stat[stat.rfind(b")") + 2 :].split()  # the name, field 2, may hold anything
    if fields[0] in (b"Z", b"X"):  # a zombie does nothing any more
        return None
    return fields[19].decode()
