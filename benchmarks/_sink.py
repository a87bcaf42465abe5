"""A minimal SMTP sink in a process of its own: `python -m benchmarks._sink [--port N] [--no-pipelining] [--chunking]`.

It takes every message and keeps none, with as little work as Python allows, so that what is measured is the client. On
start it prints its port; HELP tells how many messages it has taken. `Sink` starts one, or Debian's `smtp-sink` where
that is installed and can do what is asked for, and stops it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import select
import shutil
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from types import TracebackType

GREETING = b"220 sink.example ESMTP\r\n"
EXTENSIONS = (b"SIZE 104857600", b"8BITMIME", b"SMTPUTF8", b"ENHANCEDSTATUSCODES")
END = b"\r\n.\r\n"
REPLIES = {
    b"MAIL": b"250 2.1.0 Ok\r\n",
    b"RCPT": b"250 2.1.5 Ok\r\n",
    b"RSET": b"250 2.0.0 Ok\r\n",
    b"NOOP": b"250 2.0.0 Ok\r\n",
    b"HELO": b"250 sink.example\r\n",
}


class Server:
    """What the connections share."""

    def __init__(self, *, pipelining: bool, chunking: bool) -> None:
        lines = [b"sink.example", *EXTENSIONS]
        if pipelining:
            lines.append(b"PIPELINING")
        if chunking:
            lines.append(b"CHUNKING")
        self.ehlo = b"".join(b"250%s%s\r\n" % (b" " if line is lines[-1] else b"-", line) for line in lines)
        self.messages = 0


class Connection(asyncio.Protocol):
    """One client. Lines and messages may be cut anywhere."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.rest = b""
        self.in_data = False
        self.octets = 0  # that are still to come of a chunk
        self.is_last = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        assert self.transport is not None
        if self.rest:
            data = self.rest + data
        out: list[bytes] = []
        position = 0
        while True:
            if self.octets:
                taken = min(self.octets, len(data) - position)
                position += taken
                self.octets -= taken
                if self.octets:
                    break
                out.append(self.chunk_reply())
                continue
            if self.in_data:
                end = data.find(END, position)
                if end < 0:
                    position = max(position, len(data) - len(END) + 1)  # the end may be cut
                    break
                position = end + len(END)
                self.in_data = False
                out.append(self.queued())
                continue
            end = data.find(b"\n", position)
            if end < 0:
                break
            verb = data[position : position + 4].upper()
            if verb == b"BDAT":
                _, size, *last = data[position:end].split()
                position = end + 1
                self.octets, self.is_last = int(size), bool(last)
                if not self.octets:
                    out.append(self.chunk_reply())
                continue
            # DATA's own line end stays, and may be the one before a dot that comes at once.
            position = end - 1 if verb == b"DATA" else end + 1
            out.append(self.reply(verb))
        self.rest = data[position:]
        if out:
            self.transport.write(b"".join(out))
            if out[-1].startswith(b"221"):
                self.transport.close()

    def queued(self) -> bytes:
        self.server.messages += 1
        return b"250 2.0.0 Ok: queued as %X\r\n" % self.server.messages

    def chunk_reply(self) -> bytes:
        return self.queued() if self.is_last else b"250 2.0.0 Ok\r\n"

    def reply(self, verb: bytes) -> bytes:
        if verb == b"DATA":
            self.in_data = True
            return b"354 End data with <CR><LF>.<CR><LF>\r\n"
        if verb == b"EHLO":
            return self.server.ehlo
        if verb == b"HELP":
            return b"214 %d\r\n" % self.server.messages
        if verb == b"QUIT":
            return b"221 2.0.0 Bye\r\n"
        return REPLIES.get(verb, b"500 5.5.1 Error\r\n")


async def serve(port: int, *, pipelining: bool, chunking: bool) -> None:
    """Listen on loopback, print the port, and serve until the process is ended."""
    server = Server(pipelining=pipelining, chunking=chunking)
    listener = await asyncio.get_running_loop().create_server(lambda: Connection(server), "127.0.0.1", port)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


class Sink:
    """A sink in a process of its own, as a context manager.

    Attributes:
        port: where it listens, on 127.0.0.1.
        program: what it is, for a report.
    """

    def __init__(self, *, pipelining: bool = True, chunking: bool = False) -> None:
        # With chunks ours: smtp-sink does not know them.
        smtp_sink = None if chunking else shutil.which("smtp-sink", path="/usr/sbin:/usr/local/sbin:/usr/bin")
        self.port = 0
        self.program = "smtp-sink" if smtp_sink is not None else "benchmarks._sink"
        options = ([] if pipelining else ["--no-pipelining"]) + (["--chunking"] if chunking else [])
        self._command = [sys.executable, "-m", "benchmarks._sink", *options]
        if smtp_sink is not None:
            self.port = free_port()
            options = [] if pipelining else ["-p"]
            if os.geteuid() == 0:
                options += ["-u", "nobody"]  # it insists
            self._command = [smtp_sink, "-m", "1000", *options, f"127.0.0.1:{self.port}", "1000"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        if self.port:
            self._process = subprocess.Popen(self._command)
            wait_for(self.port)
        else:
            self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
            assert self._process.stdout is not None
            self.port = int(self._process.stdout.readline())
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()


def free_port() -> int:
    """Return a port that nobody listened on a moment ago: `smtp-sink` cannot say which one it took."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when someone listens on `port`."""
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            select.select([], [], [], 0.01)
        else:
            return


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser("python -m benchmarks._sink", description="A minimal SMTP sink.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--no-pipelining", dest="pipelining", action="store_false")
    parser.add_argument("--chunking", action="store_true")
    arguments = parser.parse_args()
    try:
        asyncio.run(serve(arguments.port, pipelining=arguments.pipelining, chunking=arguments.chunking))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
