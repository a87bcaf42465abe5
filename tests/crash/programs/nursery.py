"""Forks programs when a test asks for them, so that none has to load Python and the library anew.

A test asks by JSON on a socket, one question at a time, and gets a line for each. For a program, with the files that
are its standard ones and one to hold while it lives, that is its process id; for the process id of one that is over,
how it ended.
"""

import asyncio
import gc
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from tests.crash.programs import deliverer, submitter
from tests.crash.programs.mail import Settings, be_quiet

from moxlib.queue import Classifier

PROGRAMS: Mapping[str, Callable[[Settings], Coroutine[Any, Any, None]]] = {
    "deliverer": deliverer.main,
    "submitter": submitter.main,
}
MAX_QUESTION = 65536  # octets: a hundred times what there is to say
FILES = 4


def serve(test: socket.socket) -> Coroutine[Any, Any, None] | None:
    """Answer questions; return None when there are no more, and in each process that is made what it has to do.

    What still runs in the end is killed: the test is over, or was itself killed.
    """
    running: set[int] = set()
    while True:
        line, files, _, _ = socket.recv_fds(test, MAX_QUESTION, FILES)
        if not line:
            for pid in running:
                os.kill(pid, signal.SIGKILL)
            return None
        asked = json.loads(line)
        if "ended" in asked:
            _, status = os.waitpid(asked["ended"], 0)
            running.remove(asked["ended"])
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if answer == 0:
                test.close()
                for number, file in enumerate(files[:3]):
                    os.dup2(file, number)
                    os.close(file)
                return PROGRAMS[asked["program"]](Settings(**asked["settings"]))
            running.add(answer)
            for file in files:
                os.close(file)
        test.sendall(json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    be_quiet()
    Classifier.default()
    gc.freeze()  # what is here already need not be copied for being looked at
    with socket.socket(fileno=int(sys.argv[1])) as given:
        work = serve(given)
    if work is not None:
        asyncio.run(work)
