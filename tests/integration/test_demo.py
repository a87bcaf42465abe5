"""`moxlib demo` as people run it, and what it proves."""

import subprocess
import sys
from pathlib import Path

import pytest

from moxlib.cli.demo.load import Sample, load, shipped
from moxlib.cli.demo.run import run
from moxlib.cli.demo.show import PlainDisplay
from moxlib.queue import HistoryFilter, Queue

LIMIT = 120.0  # seconds; it takes two, and this only ends what hangs


def demo(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "moxlib", "demo", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=LIMIT, check=False)


def test_it_shows_everything_a_queue_does_and_exits_with_0(tmp_path: Path) -> None:
    done = demo(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "6 messages for 48 recipients are on disk" in done.stdout
    assert "it matches the rule recipient domain held.example" in done.stdout
    assert "550 RCPT TO: 5.1.1 <moved.dmitri.4@post.example> is not known here" in done.stdout
    bela = done.stdout.partition("  bela.2@greylist.example: delivered\n")[2].splitlines()
    assert [("4.2.0" in bela[0]), ("4.3.1" in bela[1]), ("2.0.0" in bela[2])] == [True, True, True]
    totals = done.stdout[done.stdout.rindex("\n6 messages") :]
    assert [" ".join(line.split()) for line in totals.splitlines() if line.startswith("  ")] == [
        *("24 accepted at once", "12 deferred twice, then accepted", "11 refused"),
        "1 held by a rule, released, then accepted",
        *("37 delivered", "11 failed"),
        *("24 deferred", "37 delivered", "11 failed"),
    ]
    assert done.stdout.endswith("\nEvery message ended as planned, and arrived once and unchanged.\n")
    back = done.stdout.partition("What comes back:\n")[2]
    assert "So it is suppressed: reply 550 to RCPT TO" in back
    assert "Submitted to it again: moved.zoe@post.example is suppressed since" in back
    assert "mx.later.example sends a bounce, which is matched: 550 5.1.1 <gone.max@later.example> has left" in back
    assert "signatures verified: failed (49), suppressed (5" in back
    assert "failed by DSN (5" in back
    assert "In the mailbox of news@demo.example: Not delivered: The news; Not delivered: The news." in back
    assert list(tmp_path.iterdir()) == []


async def test_the_kept_queue_can_be_looked_at(tmp_path: Path) -> None:
    done = demo("--keep", "kept", "--recipients", "4", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.endswith("The queue is kept in kept/demo.db.\n")
    async with Queue.open(tmp_path / "kept" / "demo.db") as queue:
        assert await queue.count_messages() == 0
        assert await queue.count_history(HistoryFilter(account="demo")) == 24
        assert await queue.count_history(HistoryFilter(account="demo", success=False)) == 5
        [held] = (await queue.list_history(HistoryFilter(destination="held.example"))).items
        assert held.extra == {"file": "invitation.eml"}


def test_an_mbox_of_large_and_odd_messages(tmp_path: Path) -> None:
    large = b"From: a@a.example\nSubject: large\n\n" + b".dots and more\n" * 20_000
    long_line = b"From: b@b.example\nSubject: long\n\n" + b"x" * 100_000 + b"\n"
    raw = b"From: c@c.example\nSubject: raw\n\n\xff\xfe bytes\n"
    start = b"From x@x.example Thu Jan  1 00:00:00 2026\n"
    (tmp_path / "archive").write_bytes(b"".join(start + message + b"\n" for message in (large, long_line, raw)))
    done = demo("archive", "--recipients", "5", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "3 messages for 15 recipients are on disk" in done.stdout


def test_a_message_that_cannot_be_queued_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "a.eml").write_bytes(b"From: a@a.example\n\nfine\n")
    (tmp_path / "mail" / "b.eml").write_bytes(b"Subject: from nobody\n\nnot fine\n")
    done = demo("mail", "--recipients", "4", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, "")
    assert "b.eml: the queue does not take it: there is no sender" in done.stdout
    assert done.stdout.count("b.eml): it has not ended") == 4
    assert "a.eml): " not in done.stdout


async def test_a_queue_that_does_not_do_as_planned_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The servers defer a third time here, which is no part of the plan."""
    monkeypatch.setattr("moxlib.cli.demo.plan.Greylisting.message", lambda self, recipients: "452 4.3.1 still no space")
    story = await run(shipped()[:1], recipients=4, path=tmp_path / "q.db", show=PlainDisplay(sys.stdout))
    problems = story.problems()
    assert len(problems) == 2
    assert "planned was deferred twice, then accepted; it ended as failed after deferred, deferred, " in problems[0]
    assert "its server received it 0 times" in problems[1]
    assert "Not as planned:" in list(story.lines())


async def test_it_runs_twice_in_one_process(tmp_path: Path) -> None:
    samples: tuple[Sample, ...] = shipped()[:2]
    for name in ("one.db", "two.db"):
        story = await run(samples, recipients=4, path=tmp_path / name, show=PlainDisplay(sys.stderr))
        assert story.problems() == ()


def test_a_loaded_message_keeps_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.eml"
    path.write_bytes(b"From: a@a.example\r\n\r\n\xe9\r\n")
    assert load(path)[0].content == path.read_bytes()
