"""An SMTP server that lives on while its clients are killed, and logs what it takes before it says so."""

import asyncio
import hashlib
import re
from random import Random

from tests.crash.programs.mail import Log, Settings, say

from moxlib.testing.smtp_peer import Answer, ByCommand, PeerSession, SMTPPeer

ADDRESS = re.compile(r"RCPT TO:<([^>]*)>", re.IGNORECASE)
KEY = re.compile(rb"^Message-ID: (.*)\r$", re.MULTILINE)


class Sink:
    """Takes everything, or defers the message when the dice say so."""

    def __init__(self, settings: Settings) -> None:
        self._log = Log(settings.log)
        self._random = Random(settings.seed)
        self._usual = ByCommand()

    def __call__(self, line: str, session: PeerSession) -> Answer:
        if line != ".":
            return self._usual(line, session)
        data = session.messages.pop()
        said, session.lines = session.lines, ["."]  # all recipients are accepted, so those since MAIL are the message's
        if self._random.randrange(20) == 0:
            return "451 4.3.0 come back later"
        key = KEY.search(data)
        assert key is not None
        for address in filter(None, map(ADDRESS.match, said)):
            self._log.write(taken=key[1].decode(), recipient=address[1], sha256=hashlib.sha256(data).hexdigest())
        return "250 2.0.0 taken"


async def main(settings: Settings) -> None:
    async with SMTPPeer(Sink(settings)) as peer:
        say(port=peer.port)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Settings.given()))
