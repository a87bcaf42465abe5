"""Programs that end with their queue open, fork with it open, or are asked to stop: real processes, warnings as errors.

Whatever way a program ends, it ends by itself and says nothing that is not its own; what was accepted is on disk, and
the worker has drained.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from moxlib.blocking import Queue
from moxlib.queue import ResultKind

GUARD = 60  # seconds after which a program that hangs fails its test

HEAD = """
import asyncio, atexit, os, sys, threading
from moxlib.blocking import Queue
from moxlib.queue import Delivered, QueueClosed

MAIL = b"From: s@here.example\\r\\nTo: a@one.example\\r\\nDate: x\\r\\nMessage-ID: <1@x>\\r\\n\\r\\nhello\\r\\n"

def say(*words):
    print(*words, flush=True)
"""


def start(directory: Path, program: str, *options: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", *options, "-c", HEAD + program],
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(directory: Path, program: str) -> tuple[int, str, str]:
    """Run a program to its end; return its status, and what it wrote to stdout and stderr."""
    with start(directory, program) as process:
        try:
            out, err = process.communicate(timeout=GUARD)
        finally:
            process.kill()
        return process.returncode, out, err


def queued(directory: Path) -> int:
    """Return how many messages are queued, in a file that was left in good order."""
    assert not list(directory.glob("mail.db-*"))  # SQLite's own files go when the last connection is closed
    with Queue.open(directory / "mail.db") as queue:
        portal, behind = queue._reach()
        assert portal.call(behind._storage.workers) == ()
        page = queue.list_messages()
        assert not any(message.in_flight for message in page.items)
        return queue.count_messages()


OPENED = """
queue = Queue.open("mail.db").start()
queue.submit(MAIL)
"""


def test_the_end_of_the_script_closes_it(tmp_path: Path) -> None:
    assert run(tmp_path, OPENED) == (0, "", "")
    assert queued(tmp_path) == 1


def test_so_does_the_end_of_a_function_that_kept_it_to_itself(tmp_path: Path) -> None:
    program = """
    def main():
        queue = Queue.open("mail.db").start()
        queue.submit(MAIL)
        sys.exit(3)
    main()
    """
    assert run(tmp_path, program.replace("\n    ", "\n")) == (3, "", "")
    assert queued(tmp_path) == 1


def test_sys_exit_keeps_its_status(tmp_path: Path) -> None:
    assert run(tmp_path, OPENED + "sys.exit(3)") == (3, "", "")
    assert queued(tmp_path) == 1


def test_an_unhandled_error_is_told_of_and_nothing_else(tmp_path: Path) -> None:
    status, out, err = run(tmp_path, OPENED + "1 / 0")
    assert (status, out) == (1, "")
    assert err.count("Traceback") == 1
    assert err.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert {line.split(",")[0].strip() for line in err.splitlines() if "File" in line} == {'File "<string>"'}
    assert queued(tmp_path) == 1


def test_closed_in_time_nothing_is_left_to_do(tmp_path: Path) -> None:
    assert run(tmp_path, OPENED + "queue.close()") == (0, "", "")
    assert queued(tmp_path) == 1


def test_an_open_worker_with_queued_mail_drains(tmp_path: Path) -> None:
    program = """
class Quick:
    async def deliver(self, delivery):
        return [Delivered()] * len(delivery.recipients)

queue = Queue.open("mail.db", transports={"quick": Quick()}).start()
for number in range(100):
    queue.submit(MAIL)
worker = queue.worker()
worker.__enter__()
"""
    assert run(tmp_path, program) == (0, "", "")
    with Queue.open(tmp_path / "mail.db") as queue:
        for retired in queue.list_history(limit=100).items:
            assert [result.kind for result in retired.results] == [ResultKind.DELIVERED]
        assert queue.count_history() + queue.count_messages() == 100
    queued(tmp_path)


@pytest.mark.parametrize("ending", ["", "sys.exit(0)"])
def test_an_attempt_under_way_ends_after_the_main_thread_did(tmp_path: Path, ending: str) -> None:
    program = """
begun = threading.Event()

class Slow:  # delivers when the main thread is at its end, and with it everything in concurrent.futures
    async def deliver(self, delivery):
        begun.set()
        await asyncio.to_thread(threading.main_thread().join)
        size = sum([len(chunk) async for chunk in delivery.content.chunks()])  # of a file
        await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 25)
        say(size > 300_000)
        return [Delivered()] * len(delivery.recipients)

queue = Queue.open("mail.db", transports={"slow": Slow()}).start()
worker = queue.worker()
worker.__enter__()
queue.submit(MAIL + b"0123456789\\r\\n" * 30_000)
begun.wait()
"""
    assert run(tmp_path, program + ending) == (0, "True\n", "")
    assert queued(tmp_path) == 0


def test_a_thread_that_goes_on_after_the_main_thread_can_use_all_of_it(tmp_path: Path) -> None:
    program = """
class Quick:
    async def deliver(self, delivery):
        async for _ in delivery.content.chunks():
            pass
        return [Delivered()] * len(delivery.recipients)

def go_on():
    threading.main_thread().join()
    with queue.worker() as worker:
        [receipt] = queue.submit(MAIL + b"0123456789\\r\\n" * 30_000)
        worker.wait_idle()
    say(queue.get_retired(receipt.id) is not None)
    queue.submit(MAIL)

queue = Queue.open("mail.db", transports={"quick": Quick()}).start()
threading.Thread(target=go_on).start()
"""
    assert run(tmp_path, program) == (0, "True\n", "")
    assert queued(tmp_path) == 1


def test_a_daemon_thread_that_still_submits_ends_in_silence(tmp_path: Path) -> None:
    program = """
submitted = threading.Event()

def submit():
    while True:
        queue.submit(MAIL)
        submitted.set()

queue = Queue.open("mail.db").start()
for _ in range(4):
    threading.Thread(target=submit, daemon=True).start()
submitted.wait()
"""
    assert run(tmp_path, program) == (0, "", "")
    assert queued(tmp_path) >= 1


def test_a_daemon_thread_can_clean_up_and_be_waited_for_at_exit(tmp_path: Path) -> None:
    program = """
submitted = threading.Event()

def submit():
    try:
        while True:
            queue.submit(MAIL)
            submitted.set()
    finally:
        say("cleaned up")

thread = threading.Thread(target=submit, daemon=True)
atexit.register(thread.join)  # before the queue is opened, so it runs after the queue is closed
queue = Queue.open("mail.db").start()
thread.start()
submitted.wait()
"""
    assert run(tmp_path, program) == (0, "cleaned up\n", "")
    assert queued(tmp_path) >= 1


def test_a_daemon_thread_that_works_ends_with_the_program(tmp_path: Path) -> None:
    program = """
delivered = threading.Event()

class Quick:
    async def deliver(self, delivery):
        delivered.set()
        return [Delivered()] * len(delivery.recipients)

queue = Queue.open("mail.db", transports={"quick": Quick()}).start()
threading.Thread(target=queue.run_worker, daemon=True).start()
queue.submit(MAIL)
delivered.wait()
"""
    assert run(tmp_path, program) == (0, "", "")
    assert queued(tmp_path) == 0


def test_handlers_at_exit_use_it_until_it_is_closed(tmp_path: Path) -> None:
    program = """
def too_late():
    try:
        queue.submit(MAIL)
    except QueueClosed:
        say("too late")

atexit.register(too_late)
queue = Queue.open("mail.db").start()
atexit.register(lambda: say(len(queue.submit(MAIL))))
"""
    assert run(tmp_path, program) == (0, "1\ntoo late\n", "")
    assert queued(tmp_path) == 1


# fork

FORK = (
    OPENED
    + """
child = os.fork()
if child:
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    queue.submit(MAIL)
    sys.exit(status)
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_to_open_its_own(tmp_path: Path) -> None:
    program = (
        """
import warnings
warnings.simplefilter("ignore")  # of Python 3.12 and later: that a process with threads forks is what this is about
"""
        + FORK
        + """
def tried(call):
    try:
        call()
    except RuntimeError as error:
        say(error)

tried(lambda: queue.submit(MAIL))
tried(lambda: next(queue.dump(1)))
tried(queue.start)
tried(queue.run_worker)
queue.close()  # not this process's to close
with Queue.open("mail.db") as own:
    own.submit(MAIL)
sys.exit(7)
"""
    )
    status, out, err = run(tmp_path, program)
    text = "the queue was opened before this process was forked: open one after the fork, in it"
    assert (status, out.splitlines(), err) == (7, [text] * 4, "")
    assert queued(tmp_path) == 3


# run_worker

WORKER = """
class Asking:
    async def deliver(self, delivery):
        say("begun")
        await asyncio.to_thread(sys.stdin.readline)
        return [Delivered()] * len(delivery.recipients)

with Queue.open("mail.db", transports={"asking": Asking()}) as queue:
    queue.submit(MAIL)
    queue.run_worker()
    say("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_attempts_finish_and_ends_the_process(tmp_path: Path, number: signal.Signals) -> None:
    with start(tmp_path, WORKER) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(number)
            process.send_signal(number)  # an impatient one changes nothing
            assert process.communicate("go on\n", timeout=GUARD) == ("ended\n", "")
        finally:
            process.kill()
    assert process.returncode == 0
    assert queued(tmp_path) == 0


INTERRUPTED = """
class Asking:
    async def deliver(self, delivery):
        say("begun")
        await asyncio.Event().wait()

with Queue.open("mail.db", transports={"asking": Asking()}) as queue, queue.worker() as worker:
    threading.Thread(target=lambda: (worker.ended(), say("draining"))).start()
    queue.submit(MAIL)
    worker.wait_idle()
"""


def test_ctrl_c_ends_a_wait_and_again_the_draining(tmp_path: Path) -> None:
    with start(tmp_path, INTERRUPTED) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline() == "draining\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=GUARD)
        finally:
            process.kill()
    assert out == ""
    assert err.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
    assert queued(tmp_path) == 1
