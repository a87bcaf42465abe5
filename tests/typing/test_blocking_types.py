"""What type checkers must infer from the queue for code that is not async; mypy and pyright check it, and it runs too.

A `type: ignore` here stands on what must be an error: where it is none, mypy reports the comment as unused.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import assert_type

import pytest

import moxlib.blocking
from moxlib.blocking import Queue, Worker
from moxlib.queue import Explanation, HoldRule, Message, MessageFilter, Page, QueueConfig, Retired, Submission
from moxlib.testing import MemoryStorage


class Shop(Queue):
    """A class of one's own."""


def test_the_queue_returns_typed_data(tmp_path: Path) -> None:
    with assert_type(Queue.open(tmp_path / "mail.db", config=QueueConfig()), Queue) as queue:
        assert_type(queue, Queue)
        message = b"From: a@here.example\r\nTo: b@there.example\r\n\r\n\r\n"
        [receipt] = assert_type(queue.submit(message, extra={"a": "b"}), tuple[Submission, ...])
        assert_type(queue.get(receipt.id), Message | None)
        assert_type(queue.list_messages(MessageFilter(), limit=1), Page[Message])
        assert_type(queue.list_history(), Page[Retired])
        assert_type(queue.explain(receipt.id), Explanation | None)
        assert_type(queue.dump(receipt.id), Iterator[bytes])
        assert_type(queue.next_due(), datetime | None)
        assert_type(queue.hold(MessageFilter()), int)
        assert_type(queue.add_hold_rule(account="x"), tuple[HoldRule, int])
        assert_type(queue.worker(), AbstractContextManager[Worker])
        with queue.worker() as worker:
            assert_type(worker.id, int)
            worker.wait_idle()
    assert_type(Queue(MemoryStorage(), config=QueueConfig()), Queue)
    assert_type(Shop.open(tmp_path / "mail.db").start(), Shop)


def test_what_is_passed_is_checked(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Queue.open(tmp_path / "mail.db", spam=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Queue(spam=1)  # type: ignore[call-arg]
    with Queue.open(tmp_path / "mail.db") as queue:
        with pytest.raises(TypeError):
            queue.get(1, 2)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            queue.count_messages(wher=None)  # type: ignore[call-arg]


def test_the_package_has_its_own_names_and_no_others() -> None:
    with pytest.raises(AttributeError):
        moxlib.blocking.Cue  # type: ignore[attr-defined]  # noqa: B018 - the access is the test
