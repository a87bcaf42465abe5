"""`DNSServer`: a recursive name server on loopback, as far as a stub resolver can tell, that does what the test says.

Records and faults are named as in `moxlib.testing.MockResolver`: `"mx example.com"`, or `"example.com"` for all types.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Self, cast

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset

SOA = "ns.invalid. hostmaster.invalid. 1 3600 600 86400 {minimum}"

Fault = Callable[[dns.message.Message, dns.message.Message, bool], bytes | None]
"""From the query, the answer that would be right, and whether it came over TCP, makes what is sent; None: nothing."""


def stall(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> None:
    return None


def garbage(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    return b"\xff" * 40


def wire_of(answer: dns.message.Message, tcp: bool) -> bytes:
    """Leave out what does not fit, and say so, as a server does."""
    try:
        return answer.to_wire(max_size=65535 if tcp else 0)
    except dns.exception.TooBig:
        answer.flags |= dns.flags.TC
        answer.answer.clear()
        return answer.to_wire()


def half(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    wire = answer.to_wire()
    return wire[: len(wire) // 2]


def wrong_id(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    answer.id ^= 1
    return answer.to_wire()


def wrong_question(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    other = dns.message.make_response(dns.message.make_query("other.example", "MX", id=query.id))
    other.answer.append(dns.rrset.from_text("other.example.", 300, "IN", "MX", "1 mx.evil.example."))
    return other.to_wire()


def truncated(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    """Over UDP there is no room; over TCP there is."""
    if not tcp:
        answer.flags |= dns.flags.TC
        answer.answer.clear()
    return wire_of(answer, tcp)


def always_truncated(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    answer.flags |= dns.flags.TC
    return answer.to_wire()


def over_tcp(fault: Fault) -> Fault:
    """Truncate over UDP, so that TCP is tried, where `fault` comes."""

    def answer_so(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes | None:
        return fault(query, answer, tcp) if tcp else truncated(query, answer, tcp)

    return answer_so


def refuse(*extended: int, rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL) -> Fault:
    def answer_so(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
        refusal = dns.message.make_response(query)
        refusal.set_rcode(rcode)
        options: Sequence[Any] = [dns.edns.EDEOption(dns.edns.EDECode.make(code), "\x1b[31m" * 20) for code in extended]
        if query.edns >= 0:
            refusal.use_edns(0, options=list(options))
        return refusal.to_wire()

    return answer_so


def without_edns(query: dns.message.Message, answer: dns.message.Message, tcp: bool) -> bytes:
    """As a server that has never heard of it."""
    if query.edns >= 0:
        refusal = dns.message.make_response(query)
        refusal.use_edns(False)
        refusal.set_rcode(dns.rcode.FORMERR)
        return refusal.to_wire()
    answer.use_edns(False)
    return answer.to_wire()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: "DNSServer") -> None:
        self.server = server
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        answer = self.server.respond(data, tcp=False)
        assert self.transport is not None
        if answer is not None:
            self.transport.sendto(answer, addr)


class DNSServer:
    """Answers on UDP and TCP at `port` of `host`, between `async with` and its end.

    Args:
        records: rdata as in a zone file, for each `"type name"`.
        authentic: for what the AD bit is set: each step to the answer has to be listed, as `"type name"` or a name.
        all_authentic: for all.
        faults: what to do instead of answering.
        ttl: of all records.
        minimum: for how long it holds that there is nothing.
        chase: answer with what is behind a CNAME, not the CNAME alone.
        longest: names in one answer.
        host: the loopback address.
        port: 0 for one that is free.

    Attributes:
        asked: the questions, such as `"udp mx example.com"`.
        queries: as messages.
    """

    def __init__(
        self,
        records: Mapping[str, Sequence[str]] | None = None,
        *,
        authentic: Collection[str] = (),
        all_authentic: bool = False,
        faults: Mapping[str, Fault] | None = None,
        ttl: int = 300,
        minimum: int = 60,
        chase: bool = True,
        longest: int = 16,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.records = dict(records or {})
        self.authentic = authentic
        self.all_authentic = all_authentic
        self.faults = dict(faults or {})
        self.ttl = ttl
        self.minimum = minimum
        self.chase = chase
        self.longest = longest
        self.asked: list[str] = []
        self.queries: list[dns.message.Message] = []
        self.host = host
        self.port = port
        self.broken: list[Exception] = []
        self._news = asyncio.Condition()
        self._connections: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        while True:  # until a port is free for both
            self._tcp = await asyncio.start_server(self._connected, self.host, self.port)
            port = self._tcp.sockets[0].getsockname()[1]
            try:
                self._udp, _ = await loop.create_datagram_endpoint(
                    lambda: _Datagrams(self), local_addr=(self.host, port)
                )
            except OSError:
                self._tcp.close()
                await self._tcp.wait_closed()
                if self.port:
                    raise
            else:
                self.port = port
                return self

    async def __aexit__(self, *exc: object) -> None:
        self._udp.close()
        self._tcp.close()
        for writer in self._connections:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in self._connections), return_exceptions=True)
        await self._tcp.wait_closed()
        assert not self.broken

    async def wait_asked(self, count: int) -> None:
        """Return when `count` questions have come."""
        async with self._news:
            await self._news.wait_for(lambda: len(self.asked) >= count)

    def respond(self, wire: bytes, *, tcp: bool) -> bytes | None:
        try:
            return self._respond(wire, tcp)
        except Exception as error:
            self.broken.append(error)
            raise

    def _respond(self, wire: bytes, tcp: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = dns.rdatatype.to_text(question.rdtype).lower()
        self.queries.append(query)
        self.asked.append(f"{'tcp' if tcp else 'udp'} {kind} {name}")
        self._told = asyncio.get_running_loop().create_task(self._tell())
        answer = self._answer(query, kind, name)
        fault = self.faults.get(f"{kind} {name}", self.faults.get(name))
        return fault(query, answer, tcp) if fault is not None else wire_of(answer, tcp)

    async def _tell(self) -> None:
        async with self._news:
            self._news.notify_all()

    def _answer(self, query: dns.message.Message, kind: str, name: str) -> dns.message.Message:
        answer = dns.message.make_response(query, recursion_available=True)
        authentic = True
        for _ in range(self.longest):
            step = kind if f"{kind} {name}" in self.records or f"cname {name}" not in self.records else "cname"
            authentic = authentic and (
                self.all_authentic or f"{step} {name}" in self.authentic or name in self.authentic
            )
            records = self.records.get(f"{step} {name}", ())
            if records:
                answer.answer.append(dns.rrset.from_text_list(f"{name}.", self.ttl, "IN", step.upper(), list(records)))
            else:
                minimum = SOA.format(minimum=self.minimum)
                answer.authority.append(dns.rrset.from_text(".", self.ttl, "IN", "SOA", minimum))
                if not any(f".{where.split(' ')[1]}".endswith(f".{name}") for where in self.records):
                    answer.set_rcode(dns.rcode.NXDOMAIN)
            if step == kind or not self.chase:
                break
            name = dns.name.from_text(records[0]).to_text(omit_final_dot=True).lower()
        if authentic:
            answer.flags |= dns.flags.AD
        return answer

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        try:
            length = int.from_bytes(await reader.readexactly(2))
            answer = self.respond(await reader.readexactly(length), tcp=True)
            if answer is None:
                await reader.read()
            else:
                writer.write(len(answer).to_bytes(2) + answer)
                await writer.drain()
        except (OSError, EOFError):
            pass
        finally:
            writer.close()
            self._connections.discard(writer)
