"""The wire: what leaves in one write."""

import asyncio

import pytest

from moxlib.smtpclient import Accepted, DeliveryResult, Session, SMTPConnection, Timeouts, Transaction, Unknown
from moxlib.smtpclient.wire import Wire
from moxlib.testing import FakeClock


class Recorder(asyncio.Transport):
    """A transport that keeps each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None:
        pass


def receive(wire: Wire, data: bytes) -> None:
    wire.get_buffer(len(data))[: len(data)] = data
    wire.buffer_updated(len(data))


async def greeted() -> tuple[Wire, Recorder]:
    wire, recorder = Wire(Session("client.example"), FakeClock(), Timeouts()), Recorder()
    greeting = wire.session.greet()
    wire.connection_made(recorder)
    done = asyncio.create_task(wire.finish(greeting))
    await asyncio.sleep(0)
    receive(wire, b"220 mx.example\r\n")
    await asyncio.sleep(0)
    receive(wire, b"250-mx.example\r\n250 PIPELINING\r\n")
    await done
    recorder.writes.clear()
    return wire, recorder


def transaction(wire: Wire, name: str) -> Transaction:
    content = f"Subject: {name}\r\n\r\n".encode()
    session = wire.session
    return Transaction(
        session, mail_from="a@x", recipients=[f"{name}@x"], content=content, size=len(content), lines_checked=True
    )


def group(name: str) -> bytes:
    return f"MAIL FROM:<a@x>\r\nRCPT TO:<{name}@x>\r\nDATA\r\n".encode()


async def test_a_message_leaves_with_the_commands_of_who_was_woken_by_the_reply_before() -> None:
    wire, recorder = await greeted()

    async def lane(*names: str) -> None:
        for name in names:
            await wire.run(transaction(wire, name))

    lanes = [asyncio.create_task(lane("first", "third")), asyncio.create_task(lane("second"))]
    await asyncio.sleep(0)
    assert recorder.writes == [group("first")]
    taken = b"250 ok\r\n250 ok\r\n354 go on\r\n"
    receive(wire, taken)
    await asyncio.sleep(0)
    receive(wire, b"250 ok\r\n" + taken)  # the first has its message; the second may send its own
    assert len(recorder.writes) == 2
    await asyncio.sleep(0)
    assert recorder.writes[1:] == [
        b"Subject: first\r\n\r\n.\r\n" + group("second"),
        b"Subject: second\r\n\r\n.\r\n" + group("third"),
    ]
    receive(wire, b"250 ok\r\n" + taken)
    await asyncio.sleep(0)
    receive(wire, b"250 ok\r\n")
    await asyncio.gather(*lanes)
    assert recorder.writes[3:] == [b"Subject: third\r\n\r\n.\r\n"]
    wire.abort("the test is over")


TAKEN = b"250 ok\r\n250 ok\r\n354 go on\r\n"


async def cancelled(*replies: bytes) -> list[DeliveryResult]:
    """Return what is told of a delivery that is cancelled in the same moment as the last of the replies comes."""
    wire, _ = await greeted()
    told: list[DeliveryResult] = []
    connection = SMTPConnection(wire, host="mx.example", port=25)
    delivering = asyncio.create_task(connection.deliver("a@x", ["b@x"], b"hi\r\n", when_cancelled=told.append))
    await asyncio.sleep(0)
    for reply in replies:
        receive(wire, reply)
    delivering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await delivering
    return told


async def test_a_reply_that_comes_together_with_a_cancellation_counts() -> None:
    [result] = await cancelled(TAKEN, b"250 2.0.0 taken\r\n")
    assert [type(one) for one in result.recipients] == [Accepted]
    assert result.usable


async def test_without_it_nobody_knows_of_a_message_that_was_sent_whole() -> None:
    [result] = await cancelled(TAKEN)
    assert [type(one) for one in result.recipients] == [Unknown]
    assert not result.usable


async def test_a_delivery_that_has_not_begun_is_not_told_of() -> None:
    wire, _ = await greeted()
    told: list[DeliveryResult] = []
    connection = SMTPConnection(wire, host="mx.example", port=25)
    first = asyncio.create_task(connection.deliver("a@x", ["b@x"], b"hi\r\n"))
    second = asyncio.create_task(connection.deliver("a@x", ["c@x"], b"hi\r\n", when_cancelled=told.append))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert told == []
    receive(wire, TAKEN)
    receive(wire, b"250 ok\r\n")
    assert [type(one) for one in (await first).recipients] == [Accepted]
