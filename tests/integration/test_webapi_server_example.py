"""examples/webapi_server.py under uvicorn, and the curl line in it, as they stand but for the ports."""

import asyncio
import json
import os
import re
import shlex
import shutil
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from runpy import run_path

import pytest

from moxlib.testing import ByCommand, SMTPPeer
from moxlib.testing.smtp_peer import Answer, PeerSession

ROOT = Path(__file__).parents[2]
README, EXAMPLE = ROOT / "README.md", ROOT / "examples" / "webapi_server.py"
RUNNING = re.compile(rb"running on (http://127\.0\.0\.1:\d+) ")
LIMIT = 60.0  # seconds; it takes two, so this only ends what hangs


class Relay:
    """Tells when the end of a message has come."""

    def __init__(self) -> None:
        self.received = asyncio.Event()
        self._answers = ByCommand()

    def __call__(self, line: str, session: PeerSession) -> Answer:
        if line.startswith((".", "BDAT")):
            self.received.set()
        return self._answers(line, session)


async def started(server: Process) -> str:
    assert server.stderr is not None
    log = b""
    while not (found := RUNNING.search(log)):
        line = await server.stderr.readline()
        assert line, log.decode()
        log += line
    return found[1].decode()


async def test_curl_sends_a_message_through_the_example(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed (Debian: curl)")
    _, start, call = run_path(str(EXAMPLE))["__doc__"].split("\n\n")
    assert f"```sh\n{call}```\n" in README.read_text("utf-8")
    relay = Relay()
    async with asyncio.timeout(LIMIT), SMTPPeer(relay) as peer:
        *variables, uvicorn, factory, target = shlex.split(start)
        environment = dict([variable.split("=") for variable in variables]) | {"RELAY_PORT": str(peer.port)}
        path = os.pathsep.join([str(EXAMPLE.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        server = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-m", uvicorn, factory, target, "--port", "0"),
            cwd=tmp_path,
            env=os.environ | environment | {"PYTHONPATH": path},
            stdout=DEVNULL,
            stderr=PIPE,
        )
        try:
            url = await started(server)
            curl = call.strip().replace("http://127.0.0.1:8000", url)
            called = await asyncio.create_subprocess_shell(f"{curl} --silent --show-error --fail", stdout=PIPE)
            answered, _ = await called.communicate()
            assert called.returncode == 0
            assert [one["Address"] for one in json.loads(answered)["Submissions"]] == ["ann@example.com"]
            await relay.received.wait()
        finally:
            server.send_signal(signal.SIGTERM)
            _, said = await server.communicate()
        assert "Traceback" not in said.decode()
        [message] = peer.messages
    assert b"\r\nFrom: <mjl@example.org>\r\n" in b"\r\n" + message
    assert message.endswith(b"\r\n\r\nHello, Ann.\r\n")
