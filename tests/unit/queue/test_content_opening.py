"""A content file that is opened for somebody who has gone."""

import asyncio
import threading
from io import BytesIO
from typing import BinaryIO

import pytest

from moxlib.queue.storage.content import open_in_thread


async def test_a_file_that_is_opened_for_a_caller_who_was_cancelled_is_closed() -> None:
    asked, given, closed = threading.Event(), threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    class File(BytesIO):
        def close(self) -> None:
            if not self.closed:
                loop.call_soon_threadsafe(closed.set)
            super().close()

    def slow() -> BinaryIO:
        asked.set()
        given.wait()
        return File()

    opening = asyncio.create_task(open_in_thread(slow))
    await asyncio.to_thread(asked.wait)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert not closed.is_set()
    given.set()
    await closed.wait()


async def test_an_error_of_opening_is_the_callers() -> None:
    def fails() -> BinaryIO:
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await open_in_thread(fails)
