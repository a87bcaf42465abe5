"""The contract of `Storage`: content in chunks. It comes back as it was, or is known to be damaged; it is streamed."""

import hashlib
import io
import tempfile
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import pytest
from tests.contract.database import IN_DATABASES, connect, counts, execute

from moxlib.queue import ContentDamaged, EventType, MessageFilter, Queue, QueueConfig
from moxlib.queue.storage.content import MessageContent
from moxlib.queue.storage.operations.insert import CHUNK
from moxlib.queue.submission import StoredContent
from moxlib.testing import FakeClock, RecordingTransport, run_until_idle

if TYPE_CHECKING:
    from tests.contract.conftest import Desk

MB = 1_000_000
HEAD = (
    b"From: sender@here.example\r\nTo: a@one.example\r\n"
    b"Date: Thu, 1 Jan 2026 12:00:00 +0000\r\nMessage-ID: <1@here.example>\r\n\r\n"
)
LINE = b"y" * 78 + b"\r\n"


def body_of(size: int) -> bytes:
    """Return content of which no two parts are alike."""
    return b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]


def spooled(body: bytes) -> StoredContent:
    """Return content on its way into chunks, from a file that stands where writing has left it."""
    file = io.BytesIO()
    file.write(body)
    return StoredContent(size=len(body), sha256=hashlib.sha256(body).digest(), spool=file)


async def read(desk: "Desk", stored: StoredContent) -> bytes:
    return b"".join([piece async for piece in desk.storage.pieces(stored)])


async def stored(desk: "Desk", body: bytes, *recipients: str) -> StoredContent:
    """Submit content in chunks and return where it lies."""
    first, *_ = await desk.submit(*(recipients or ("a@x.example",)), content=spooled(body))
    found = await desk.storage.content(first.base_id)
    assert found is not None
    return found


@IN_DATABASES
@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK, 10 * CHUNK + 5])
async def test_content_in_chunks_comes_back_as_it_was(desk: "Desk", size: int) -> None:
    body = body_of(size)
    await desk.submit("before@x.example")
    found = await stored(desk, body)
    assert found == StoredContent(size=size, sha256=hashlib.sha256(body).digest(), chunks_of=2)
    assert await read(desk, found) == body
    content = MessageContent(b"Received: x\r\n", found, desk.storage)
    await content.verify()
    assert (content.size, content.data) == (size + 13, None)
    assert b"".join([chunk async for chunk in content.chunks()]) == b"Received: x\r\n" + body
    assert counts(desk.storage, "chunk") == {"chunk": -(-size // CHUNK)}
    await desk.reopen()
    assert await read(desk, found) == body
    assert (await desk.message(2)).size == size


@IN_DATABASES
async def test_pieces_are_of_bounded_size(desk: "Desk") -> None:
    found = await stored(desk, body_of(3 * CHUNK + 1))
    assert [len(piece) async for piece in desk.storage.pieces(found)] == [CHUNK, CHUNK, CHUNK, 1]


@IN_DATABASES
async def test_a_claim_brings_no_content_that_lies_in_chunks(desk: "Desk") -> None:
    await desk.submit("a@x.example", content=spooled(b"small"))
    assert (await desk.claim_one(await desk.worker())).content is None


@IN_DATABASES
async def test_contents_do_not_mix(desk: "Desk") -> None:
    bodies = [body_of(CHUNK + n)[::-1] for n in range(5)]
    found = [await stored(desk, body) for body in bodies]
    assert [await read(desk, content) for content in found] == bodies


@IN_DATABASES
async def test_reading_may_be_broken_off(desk: "Desk") -> None:
    found = await stored(desk, body_of(5 * CHUNK))
    pieces = desk.storage.pieces(found)
    assert len(await anext(pieces)) == CHUNK
    await pieces.aclose()
    assert len(await read(desk, found)) == 5 * CHUNK


# going


@IN_DATABASES
async def test_chunks_go_with_the_last_message_that_is_delivered(desk: "Desk") -> None:
    await stored(desk, body_of(3 * CHUNK), "a@x.example", "b@x.example")
    keeps = await stored(desk, body_of(2 * CHUNK), "c@y.example")
    worker = await desk.worker()
    a, b = [claim for claim in (await desk.claim(worker)).claims if claim.message.base_id == 1]
    await desk.settle(worker, desk.deliver(a.message), desk.retry(b.message, after=0))
    assert counts(desk.storage, "chunk", "content") == {"chunk": 5, "content": 2}
    [b] = (await desk.claim(worker)).claims
    await desk.settle(worker, desk.deliver(b.message))
    assert counts(desk.storage, "chunk", "content") == {"chunk": 2, "content": 1}
    assert await desk.storage.content(1) is None
    assert await read(desk, keeps) == body_of(2 * CHUNK)


@IN_DATABASES
async def test_chunks_go_with_the_last_message_that_is_dropped(desk: "Desk") -> None:
    await stored(desk, body_of(CHUNK + 1), "a@x.example", "b@x.example")
    for name, left in (("a@", 2), ("b@", 0)):
        where = MessageFilter(recipient=name)
        await desk.storage.retire(where, event=EventType.CANCELED, text="dropped", now=desk.now, keep={})
        assert counts(desk.storage, "chunk") == {"chunk": left}
    assert counts(desk.storage, "content", "submission") == {"content": 0, "submission": 0}


@IN_DATABASES
async def test_what_is_read_while_it_goes_is_damaged_not_short(desk: "Desk") -> None:
    found = await stored(desk, body_of(4 * CHUNK))
    pieces = desk.storage.pieces(found)
    await anext(pieces)
    await desk.storage.retire(MessageFilter(), event=EventType.FAILED, text="given up", now=desk.now, keep={})
    with pytest.raises(ContentDamaged, match="chunk 1 of submission 1 is missing"):
        await anext(pieces)


# damage

LENGTH = "is missing or has another length"
DAMAGES = {
    "the first is missing": ("DELETE FROM moxlib_chunk WHERE number = 0", f"chunk 0 of submission 1 {LENGTH}"),
    "one amidst is missing": ("DELETE FROM moxlib_chunk WHERE number = 1", f"chunk 1 of submission 1 {LENGTH}"),
    "the last is missing": ("DELETE FROM moxlib_chunk WHERE number = 2", f"chunk 2 of submission 1 {LENGTH}"),
    "all are missing": ("DELETE FROM moxlib_chunk", f"chunk 0 of submission 1 {LENGTH}"),
    "one is empty": ("UPDATE moxlib_chunk SET data = '' WHERE number = 1", f"chunk 1 of submission 1 {LENGTH}"),
    "the last is too long": (
        "UPDATE moxlib_chunk SET data = (SELECT data FROM moxlib_chunk WHERE number = 0) WHERE number = 2",
        f"chunk 2 of submission 1 {LENGTH}",
    ),
    "the last is too short": (
        "UPDATE moxlib_chunk SET data = substr(data, 1, 1) WHERE number = 2",
        f"chunk 3 of submission 1 {LENGTH}",
    ),
    "two have changed places": (
        """UPDATE moxlib_chunk SET data = (SELECT data FROM moxlib_chunk c WHERE c.number = 1 - moxlib_chunk.number)
        WHERE number < 2""",
        "content in chunks does not match its SHA-256",
    ),
    "bytes have changed": (
        "UPDATE moxlib_chunk SET data = (SELECT data FROM moxlib_chunk c WHERE c.number = 0) WHERE number = 1",
        "content in chunks does not match its SHA-256",
    ),
}


@IN_DATABASES
@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_before_anything_is_sent(desk: "Desk", damage: str) -> None:
    found = await stored(desk, body_of(2 * CHUNK + 7))
    sql, text = DAMAGES[damage]
    execute(desk.storage, sql)
    with pytest.raises(ContentDamaged, match=text):
        await MessageContent(b"", found, desk.storage).verify()
    if "SHA-256" not in text:
        with pytest.raises(ContentDamaged, match=text):
            await read(desk, found)


@IN_DATABASES
async def test_a_damaged_message_is_quarantined_and_the_others_go(desk: "Desk") -> None:
    transport = RecordingTransport()
    async with Queue(desk.make(), transports={"test": transport}, clock=FakeClock()) as queue:
        with connect(desk.storage) as connection:
            [damaged] = await queue.submit(HEAD + LINE * 10_000, connection=connection)
            [sound] = await queue.submit(HEAD + LINE * 10_001, recipients="b@two.example", connection=connection)
            connection.commit()
        execute(desk.storage, f"DELETE FROM moxlib_chunk WHERE number = 2 AND submission = {damaged.id}")
        await run_until_idle(queue)
        message = await queue.get(damaged.id)
        assert message is not None
        assert message.hold
        assert "chunk 2" in message.quarantine
        assert transport.delivered(damaged.recipient) == []
        assert transport.delivered(sound.recipient) == [HEAD + LINE * 10_001]


@IN_DATABASES
async def test_content_that_lies_elsewhere_is_no_content_in_chunks(desk: "Desk") -> None:
    found = StoredContent(size=1, sha256=bytes(32), body=b"x")
    with pytest.raises(ContentDamaged):
        await read(desk, StoredContent(size=1, sha256=bytes(32), chunks_of=4711))
    with pytest.raises(ContentDamaged, match="lies in no chunks"):
        await read(desk, found)


# memory


@contextmanager
def peak_below(limit: int) -> Iterator[None]:
    """Fail if more than so many bytes of Python's are in use at any time in the block."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < limit, f"{peak / MB:.1f} MB at the peak"


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A message of 50 MB."""
    path = tmp_path / "large.eml"
    with path.open("wb") as file:
        file.write(HEAD)
        for _ in range(500):
            file.write(LINE * (100_000 // len(LINE)))
    assert path.stat().st_size > 49 * MB
    return path


@IN_DATABASES
@pytest.mark.parametrize("within", [False, True], ids=["submit", "within"])
async def test_memory_does_not_grow_with_the_message(desk: "Desk", large: Path, within: bool) -> None:
    sha256 = hashlib.sha256()
    async with Queue(desk.make(), clock=FakeClock(), config=QueueConfig(), token=lambda: "token") as queue:
        await queue.submit(HEAD + LINE * 10_000)  # so that what is loaded at first is there
        with peak_below(8 * MB), connect(desk.storage) as connection:
            [receipt] = await queue.submit(large, connection=connection if within else None)
            connection.commit()
            async for piece in queue.dump(receipt.id):
                sha256.update(piece)
        with large.open("rb") as file:
            assert sha256.digest() == hashlib.file_digest(file, "sha256").digest()


@IN_DATABASES
async def test_a_spool_is_read_from_its_start_wherever_it_stands(desk: "Desk") -> None:
    with tempfile.TemporaryFile() as file:
        file.write(body_of(CHUNK + 1))
        file.seek(17)
        content = StoredContent(
            size=CHUNK + 1, sha256=hashlib.sha256(body_of(CHUNK + 1)).digest(), spool=cast("BinaryIO", file)
        )
        await desk.submit("a@x.example", content=content)
        assert not file.closed
    found = await desk.storage.content(1)
    assert found is not None
    assert await read(desk, found) == body_of(CHUNK + 1)
