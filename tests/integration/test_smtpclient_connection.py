"""The asyncio connection against a scripted server: deliveries, deadlines, lost connections, large content."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from moxlib.errors import InputError
from moxlib.smtpclient import (
    Accepted,
    Command,
    CommandTimeout,
    ConnectionLost,
    DeliveryResult,
    ExtensionMissing,
    InvalidContent,
    NotSent,
    ProtocolError,
    Refused,
    ReplyError,
    SMTPConnection,
    Timeouts,
    TLSMode,
    Unknown,
)
from moxlib.testing import FakeClock
from moxlib.testing.smtp_peer import Answer, ByCommand, Close, PeerSession, Script, SMTPPeer, Stall

MESSAGE = b"Subject: hi\r\n\r\n.dot\r\n"
STEPWISE = ("ENHANCEDSTATUSCODES",)
PIPELINED = ("PIPELINING", "ENHANCEDSTATUSCODES")


async def connect(peer: SMTPPeer, clock: FakeClock | None = None, timeouts: Timeouts | None = None) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1", peer.port, ehlo_name="client.example", tls=TLSMode.NONE, clock=clock, timeouts=timeouts
    )


async def deliver(connection: SMTPConnection, *recipients: str) -> DeliveryResult:
    return await connection.deliver("a@client.example", recipients or ["b@mx.example"], MESSAGE)


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
async def test_deliveries_on_one_connection(extensions: tuple[str, ...]) -> None:
    async with SMTPPeer(ByCommand({"RCPT TO:<no@": "550 5.1.1 no"}, extensions=extensions)) as peer:
        async with await connect(peer) as connection:
            for _ in range(3):
                result = await deliver(connection, "yes@x", "no@x")
                assert [type(one) for one in result.recipients] == [Accepted, Refused]
            assert connection.usable
            assert connection.transactions == 3
            assert connection.server == "peer.example ESMTP"
            assert connection.tls_info is None
        assert not connection.usable
        await peer.all_ended()
    assert peer.messages == [MESSAGE] * 3
    assert peer.lines[0] == "EHLO client.example"
    assert peer.lines[-1] == "QUIT"


async def test_concurrent_deliveries_keep_their_own_results() -> None:
    answers = ByCommand({"RCPT TO:<7@": "550 5.1.1 no", ".": "250 2.0.0 queued"}, extensions=PIPELINED)
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        results = await asyncio.gather(*(deliver(connection, f"{number}@x") for number in range(20)))
    kinds = [type(result.recipients[0]) for result in results]
    assert kinds == [Refused if number == 7 else Accepted for number in range(20)]
    assert len(peer.messages) == 19


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize(
    ("step", "kind", "command"),
    [
        ("MAIL", NotSent, Command.MAIL),
        ("RCPT", NotSent, Command.RCPT),
        ("DATA", NotSent, Command.DATA),
        (".", Unknown, Command.END_OF_DATA),
    ],
)
@pytest.mark.parametrize("end", [Close(), Close(reset=True)])
async def test_a_connection_lost_at_each_step(
    extensions: tuple[str, ...], step: str, kind: type[NotSent | Unknown], command: Command, end: Close
) -> None:
    async with SMTPPeer(ByCommand({step: end}, extensions=extensions)) as peer:
        connection = await connect(peer)
        result = await deliver(connection)
        [one] = result.recipients
        assert isinstance(one, kind)
        assert isinstance(one.error, ConnectionLost)
        assert one.error.command is command
        assert not result.usable
        assert not connection.usable
        again = await deliver(connection)
        assert isinstance(again.recipients[0], NotSent)
        assert not again.answered
        await connection.quit()
    assert len(peer.sessions) == 1


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "."])
async def test_garbage_at_each_step(step: str) -> None:
    async with SMTPPeer(ByCommand({step: b"\x00\x01 nonsense\r\n"}, extensions=STEPWISE)) as peer:
        connection = await connect(peer)
        [one] = (await deliver(connection)).recipients
        assert isinstance(one, NotSent | Unknown)
        assert isinstance(one.error, ProtocolError)
        assert one.lines == ("\\x00\\x01 nonsense",)
        assert isinstance(one, Unknown) is (step == ".")
        await connection.close()


LIMITS = Timeouts(greeting=11, hello=12, mail=13, rcpt=14, data=15, block=16, end_of_data=17, reset=18, quit=19)


@pytest.mark.parametrize(
    ("step", "seconds", "kind"),
    [("MAIL", 13, NotSent), ("RCPT", 14, NotSent), ("DATA", 15, NotSent), (".", 17, Unknown)],
)
async def test_a_deadline_at_each_step(step: str, seconds: int, kind: type[NotSent | Unknown]) -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand({step: Stall()}, extensions=STEPWISE)) as peer:
        connection = await connect(peer, clock, LIMITS)
        delivery = asyncio.create_task(deliver(connection))
        await peer.stalled()
        await clock.advance(seconds - 1)
        assert not delivery.done()
        await clock.advance(1)
        [one] = (await delivery).recipients
        assert isinstance(one, kind)
        assert isinstance(one.error, CommandTimeout)
        assert one.error.seconds == seconds
        await connection.close()


async def test_each_reply_sets_the_deadline_anew_but_a_trickle_does_not() -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand({"MAIL": Stall()})) as peer:
        connection = await connect(peer, clock, LIMITS)
        delivery = asyncio.create_task(deliver(connection, "a@x", "b@x"))
        await peer.stalled()

        def receive(data: bytes) -> None:
            wire = connection._wire
            wire.get_buffer(-1)[: len(data)] = data
            wire.buffer_updated(len(data))

        await clock.advance(12)
        receive(b"250 ok\r\n")  # to MAIL
        await clock.advance(13)
        receive(b"250-a line of many\r\n25")
        await clock.advance(0.5)
        assert not delivery.done()
        await clock.advance(0.5)
        [one, _] = (await delivery).recipients
        assert isinstance(one, NotSent)
        assert isinstance(one.error, CommandTimeout)
        assert one.error.command is Command.RCPT
        await connection.close()
        peer.resume()


async def test_an_idle_connection_has_no_deadline() -> None:
    clock = FakeClock()
    async with SMTPPeer() as peer, await connect(peer, clock, LIMITS) as connection:
        for _ in range(3):
            assert isinstance((await deliver(connection)).recipients[0], Accepted)
            await clock.advance(3600)
            assert connection.usable


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        ("554 5.7.1 go away", ReplyError),
        (Close("421 4.3.2 busy\r\n"), ReplyError),
        (Close(), ConnectionLost),
        (b"SSH-2.0-OpenSSH\r\n", ProtocolError),
        (b"x" * 5000, ProtocolError),
    ],
)
async def test_a_greeting_that_is_none(greeting: Answer, error: type[Exception]) -> None:
    async with SMTPPeer(greeting=greeting) as peer:
        with pytest.raises(error) as caught:
            await connect(peer)
        assert getattr(caught.value, "command", None) is Command.GREETING
        await peer.all_ended()


async def test_a_greeting_that_does_not_come() -> None:
    clock = FakeClock()
    async with SMTPPeer(greeting=Stall()) as peer:
        connecting = asyncio.create_task(connect(peer, clock, LIMITS))
        await peer.stalled()
        await clock.advance(11)
        with pytest.raises(CommandTimeout) as caught:
            await connecting
        assert (caught.value.command, caught.value.seconds) == (Command.GREETING, 11)
        peer.resume()


async def test_nobody_listens() -> None:
    async with SMTPPeer() as peer:
        pass
    with pytest.raises(ConnectionLost) as caught:
        await connect(peer)
    assert caught.value.command is Command.CONNECT


async def test_helo() -> None:
    answers = ByCommand({"EHLO": "502 5.5.1 no"})
    async with SMTPPeer(answers) as peer, await connect(peer) as connection:
        assert isinstance((await deliver(connection)).recipients[0], Accepted)
    assert peer.lines[:2] == ["EHLO client.example", "HELO client.example"]


async def test_local_faults_do_not_touch_the_network() -> None:
    script = Script(("EHLO", "250-peer\r\n250 SIZE 10"), ("QUIT", "221 bye"))
    async with SMTPPeer(script) as peer, await connect(peer) as connection:
        [large] = (await deliver(connection)).recipients
        assert isinstance(large, NotSent)
        assert (large.local, large.permanent) == (True, True)
        [wide] = (await connection.deliver("a@x", ["ü@x"], b"")).recipients
        assert isinstance(wide, NotSent)
        assert isinstance(wide.error, ExtensionMissing)
        assert wide.error.extension == "SMTPUTF8"
        with pytest.raises(InputError):
            await connection.deliver("a@x", [], b"")
        with pytest.raises(InputError):
            await connection.deliver("a@x", ["b@x\r\nRSET"], b"")
        assert connection.usable
    assert script.steps == []


async def test_reset() -> None:
    async with SMTPPeer() as peer, await connect(peer) as connection:
        await connection.reset()
    assert peer.lines == ["EHLO client.example", "RSET", "QUIT"]


async def test_quit_does_not_care_what_the_server_says() -> None:
    for answer in (Close(), Close(reset=True), b"nonsense\r\n", "500 what?"):
        async with SMTPPeer(ByCommand({"QUIT": answer})) as peer:
            await (await connect(peer)).quit()
            await peer.all_ended()


async def test_quit_waits_a_little() -> None:
    clock = FakeClock()
    async with SMTPPeer(ByCommand({"QUIT": Stall()})) as peer:
        quitting = asyncio.create_task((await connect(peer, clock, LIMITS)).quit())
        await peer.stalled()
        await clock.advance(19)
        await quitting
        peer.resume()


async def test_a_421_between_messages_is_seen_before_the_next() -> None:
    answers = ByCommand({".": Close("250 2.0.0 ok\r\n421 4.3.2 I close now\r\n")})
    async with SMTPPeer(answers) as peer:
        connection = await connect(peer)
        assert isinstance((await deliver(connection)).recipients[0], Accepted)
        await peer.all_ended()
        result = await deliver(connection)
        [one] = result.recipients
        assert isinstance(one, NotSent)
        assert not one.local
        assert not result.answered
        assert "421 4.3.2 I close now" in str(one.error)
        await connection.close()


async def test_a_421_ends_the_use_of_a_connection() -> None:
    async with SMTPPeer(ByCommand({"MAIL": "421 4.3.2 going down"})) as peer:
        connection = await connect(peer)
        result = await deliver(connection)
        assert [one.code for one in result.recipients] == [421]
        assert not result.usable
        assert not connection.usable
        await connection.quit()
    assert "QUIT" not in peer.lines


async def test_cancelling_a_delivery_under_way_aborts_the_connection() -> None:
    async with SMTPPeer(ByCommand({".": Stall()})) as peer:
        connection = await connect(peer)
        first, second = (asyncio.create_task(deliver(connection)) for _ in range(2))
        await peer.stalled()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert not connection.usable
        [one] = (await second).recipients
        assert isinstance(one, NotSent)
        await connection.close()
        peer.resume()


async def test_cancelling_a_delivery_that_waits_disturbs_nobody() -> None:
    async with (
        SMTPPeer(ByCommand({".": Stall("250 2.0.0 ok")}, extensions=STEPWISE)) as peer,
        await connect(peer) as connection,
    ):
        first, second, third = (asyncio.create_task(deliver(connection, f"{name}@x")) for name in "abc")
        await peer.stalled()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        peer.resume()
        assert [type(one) for one in (await first).recipients] == [Accepted]
        assert [type(one) for one in (await third).recipients] == [Accepted]
    assert [line for line in peer.lines if line.startswith("RCPT")] == ["RCPT TO:<a@x>", "RCPT TO:<c@x>"]


async def test_leaving_the_block_by_an_exception_closes_without_quit() -> None:
    async with SMTPPeer() as peer:
        connection = await connect(peer)
        with pytest.raises(KeyError):
            async with connection:
                raise KeyError
        await peer.all_ended()
    assert peer.lines == ["EHLO client.example"]


# Content in chunks


async def chunks_of(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


LARGE = b"Subject: large\r\n\r\n" + b".a line that begins with a dot\r\n" * 40_000


@pytest.mark.parametrize("extensions", [STEPWISE, PIPELINED])
@pytest.mark.parametrize("size", [7_919, 100_000, len(LARGE)])
async def test_content_in_chunks(extensions: tuple[str, ...], size: int) -> None:
    async with SMTPPeer(ByCommand(extensions=extensions)) as peer, await connect(peer) as connection:
        for _ in range(2):
            result = await connection.deliver("a@x", ["b@x"], chunks_of(LARGE, size), size=len(LARGE))
            assert [type(one) for one in result.recipients] == [Accepted]
    assert peer.messages == [LARGE] * 2


async def test_large_content_in_one_piece() -> None:
    async with SMTPPeer() as peer, await connect(peer) as connection:
        result = await connection.deliver("a@x", ["b@x"], LARGE)
        assert [type(one) for one in result.recipients] == [Accepted]
        [bad] = (await connection.deliver("a@x", ["b@x"], LARGE + b"\n")).recipients
        assert isinstance(bad, NotSent)
        assert isinstance(bad.error, InvalidContent)
        assert bad.error.where == len(LARGE)
        assert not connection.usable
    assert peer.messages == [LARGE]


async def test_chunks_need_a_size() -> None:
    async with SMTPPeer() as peer, await connect(peer) as connection:
        with pytest.raises(InputError):
            await connection.deliver("a@x", ["b@x"], chunks_of(LARGE, 10))


async def test_chunks_of_nobody_are_not_read() -> None:
    async def never() -> AsyncIterator[bytes]:
        raise AssertionError("read though no recipient was accepted")
        yield b""

    async with SMTPPeer(ByCommand({"RCPT": "550 5.1.1 no"})) as peer, await connect(peer) as connection:
        [one] = (await connection.deliver("a@x", ["b@x"], never(), size=1)).recipients
        assert isinstance(one, Refused)


@pytest.mark.parametrize(
    ("answers", "started"), [({}, True), ({"RCPT": "550 5.1.1 no"}, False), ({"DATA": Close()}, False)]
)
async def test_a_generator_of_chunks_is_closed(answers: dict[str, Answer | list[Answer]], started: bool) -> None:
    content = chunks_of(LARGE, 1000)
    async with SMTPPeer(ByCommand(answers)) as peer:
        connection = await connect(peer)
        await connection.deliver("a@x", ["b@x"], content, size=len(LARGE))
        with pytest.raises(StopAsyncIteration):
            await anext(content)
        await connection.close()
    assert bool(peer.messages) is started


async def test_content_that_fails_midway_is_not_taken_for_the_whole() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield LARGE
        raise OSError("disk error")

    async with SMTPPeer() as peer:
        connection = await connect(peer)
        with pytest.raises(OSError, match="disk error"):
            await connection.deliver("a@x", ["b@x"], broken(), size=1)
        assert not connection.usable
        await peer.all_ended()
        await connection.close()
    assert peer.messages == []


async def test_a_server_that_reads_no_more_holds_little_memory_and_ends_by_the_deadline() -> None:
    clock = FakeClock()
    taken = 0
    enough = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        while True:
            taken += 1
            if taken == 4:
                enough.set()
            yield b"x" * 998 + b"\r\n"

    async def stop_reading(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(reply)
        await closed.wait()
        writer.transport.abort()

    closed = asyncio.Event()
    server = await asyncio.start_server(stop_reading, "127.0.0.1", 0)
    async with server:
        connection = await SMTPConnection.connect(
            "127.0.0.1",
            server.sockets[0].getsockname()[1],
            ehlo_name="client.example",
            tls=TLSMode.NONE,
            clock=clock,
            timeouts=LIMITS,
        )
        delivery = asyncio.create_task(connection.deliver("a@x", ["b@x"], endless(), size=10**12))
        await enough.wait()
        before = -1
        while before != taken:  # until the peer's and the kernel's buffers are full
            before = taken
            for _ in range(100):
                await asyncio.sleep(0)
        assert connection._wire.transport.get_write_buffer_size() < 512 * 1024
        await clock.advance(16)
        [one] = (await delivery).recipients
        assert isinstance(one, NotSent)
        assert isinstance(one.error, CommandTimeout)
        assert one.error.command is Command.CONTENT
        await connection.close()
        closed.set()


async def test_a_refusal_during_the_content_is_heard() -> None:
    async def refuse_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 x\r\n")
        await reader.readline()
        writer.write(b"250-x\r\n250 PIPELINING\r\n")
        for reply in (b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"):
            await reader.readline()
            writer.write(reply)
        await reader.readexactly(10_000)
        writer.write(b"552 5.3.4 too much\r\n")
        await closed.wait()
        writer.transport.abort()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 998 + b"\r\n"
            await asyncio.sleep(0)

    closed = asyncio.Event()
    async with await asyncio.start_server(refuse_early, "127.0.0.1", 0) as server:
        connection = await SMTPConnection.connect(
            "127.0.0.1", server.sockets[0].getsockname()[1], ehlo_name="client.example", tls=TLSMode.NONE
        )
        [one] = (await connection.deliver("a@x", ["b@x"], endless(), size=10**12)).recipients
        assert isinstance(one, Refused)
        assert (one.command, one.code, one.enhanced) == (Command.CONTENT, 552, "")
        assert not connection.usable
        await connection.close()
        closed.set()


async def test_a_greeting_that_comes_before_connecting_is_over() -> None:
    """The loop may read it before `create_connection` returns."""
    loop = asyncio.get_running_loop()
    create_connection = loop.create_connection
    answered = asyncio.Event()
    accept = ByCommand()

    def answers(line: str, session: PeerSession) -> Answer:
        answered.set()
        return accept(line, session)

    async def late(*arguments: object, **options: object) -> object:
        made = await create_connection(*arguments, **options)  # type: ignore[call-overload]  # whatever it takes
        await answered.wait()  # the greeting was answered with EHLO
        return made

    async with SMTPPeer(answers) as peer:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop, "create_connection", late)
            connection = await connect(peer)
        assert isinstance((await deliver(connection)).recipients[0], Accepted)
        await connection.quit()
