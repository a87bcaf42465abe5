"""The wire: what leaves in one write."""

import asyncio

from moxlib.smtpclient import Session, Timeouts, Transaction
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
