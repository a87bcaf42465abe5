"""`blocking.Queue` has every public name of the async queue, with the same parameters and the same help."""

import inspect
import pydoc
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager
from typing import Any, get_args, get_origin

import pytest

from moxlib.blocking import Queue, Worker
from moxlib.queue import Queue as AsyncQueue
from moxlib.queue.worker import Worker as AsyncWorker

ADDED = {"start"}  # opens without a `with` block
INNER = {"ready", "run"}  # of a worker: what `queue.worker()` itself calls


def public(class_: type) -> list[str]:
    return [name for name in dir(class_) if not name.startswith("_")]


def methods(class_: type) -> list[str]:
    return [name for name in public(class_) if callable(getattr(class_, name))]


def test_every_public_name_is_there_and_no_other() -> None:
    assert set(public(Queue)) - ADDED == set(public(AsyncQueue))
    assert set(public(Worker)) == set(public(AsyncWorker)) - INNER


@pytest.mark.parametrize("name", ["__init__", *methods(AsyncQueue)])
def test_a_method_of_the_queue_has_equal_parameters(name: str) -> None:
    here, there = inspect.signature(getattr(Queue, name)), inspect.signature(getattr(AsyncQueue, name))
    assert here.parameters == there.parameters
    match get_origin(there.return_annotation), name:
        case _, "worker":
            assert here.return_annotation == AbstractContextManager[Worker]
        case _, "on_event":
            assert here.return_annotation == AbstractContextManager[None]
        case origin, _ if origin is AsyncIterator:
            assert here.return_annotation == Iterator[get_args(there.return_annotation)]  # type: ignore[misc]
        case _:
            assert here.return_annotation == there.return_annotation


def test_annotations_agree_with_signatures() -> None:
    for name in methods(Queue):
        method = getattr(Queue, name)
        assert method.__annotations__["return"] == inspect.signature(method).return_annotation, name


@pytest.mark.parametrize("name", [name for name in methods(AsyncWorker) if name not in INNER])
def test_a_method_of_the_worker_has_an_equal_signature(name: str) -> None:
    assert inspect.signature(getattr(Worker, name)) == inspect.signature(getattr(AsyncWorker, name))


@pytest.mark.parametrize("class_", [Queue, Worker])
def test_nothing_is_a_coroutine_function_and_everything_is_documented(class_: type) -> None:
    for name in public(class_):
        member: Any = getattr(class_, name)
        assert not inspect.iscoroutinefunction(member), name
        assert not inspect.isasyncgenfunction(member), name
        assert member.__doc__, name
        assert "await " not in member.__doc__, name
        assert "async with" not in member.__doc__, name
        assert "async for" not in member.__doc__, name


def test_help_shows_what_the_async_method_says() -> None:
    shown = pydoc.plain(pydoc.render_doc(Queue.list_messages))
    assert "where: moxlib.queue.selection.MessageFilter | None = None" in shown
    assert "`page.next` is the `after` of the next one" in shown
