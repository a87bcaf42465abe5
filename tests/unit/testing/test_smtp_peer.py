"""`SMTPPeer` as its client sees it, byte by byte: content in chunks, LMTP, and what it notes of both."""

from collections.abc import Sequence

import pytest
from tests.unit.testing.raw_client import client_of

from moxlib.testing import ByCommand, Close, Script, SMTPPeer

MAIL = "MAIL FROM:<a@x>"


async def test_content_in_chunks() -> None:
    async with SMTPPeer() as peer, client_of(peer) as client:
        assert await client.say(MAIL, "RCPT TO:<b@x>") == ["250", "250"]
        client.writer.write(b"BDAT 5\r\n.\r\n.\rBDAT 0\r\nbdat 2 last\r\n\n.")
        assert [(await client.hear())[:3] for _ in range(3)] == ["250"] * 3
        assert await client.say("QUIT") == ["221"]
    assert peer.messages == [b".\r\n.\r\n."]
    assert peer.lines[-4:] == ["BDAT 5", "BDAT 0", "bdat 2 last", "QUIT"]


async def test_the_answer_to_any_chunk_and_to_the_last() -> None:
    answers = ByCommand({"BDAT": "250 2.0.0 more", "BDAT LAST": ["451 4.3.0 later", "250 2.0.0 kept"]})
    async with SMTPPeer(answers) as peer, client_of(peer) as client:
        for code in ("451", "250"):
            assert await client.say(MAIL, "RCPT TO:<b@x>") == ["250", "250"]
            client.writer.write(b"BDAT 1\r\nhBDAT 3 LAST\r\ni\r\n")
            assert await client.hear() == "250 2.0.0 more"
            assert (await client.hear())[:3] == code
    assert peer.messages == [b"hi\r\n"] * 2


async def test_a_chunk_without_a_recipient_is_refused_and_taken_off_the_wire() -> None:
    async with SMTPPeer(ByCommand({"RCPT": "550 5.1.1 no"})) as peer, client_of(peer) as client:
        assert await client.say(MAIL, "RCPT TO:<b@x>") == ["250", "550"]
        client.writer.write(b"BDAT 6 LAST\r\nQUIT\r\n")
        assert (await client.hear())[:3] == "503"
        assert await client.say("NOOP") == ["250"]
    assert peer.messages == []


async def test_after_a_refused_chunk_the_others_are_refused_until_rset() -> None:
    answers = ByCommand({"BDAT 1": "452 4.3.1 full"})  # is looked for without the size: no chunk is "BDAT 1"
    async with SMTPPeer(answers) as peer, client_of(peer) as client:
        await client.say(MAIL, "RCPT TO:<b@x>")
        client.writer.write(b"BDAT 1\r\nhBDAT 1 LAST\r\ni")
        assert [(await client.hear())[:3] for _ in range(2)] == ["250"] * 2
    answers = ByCommand({"BDAT": ["452 4.3.1 full", "503 5.5.1 not after that", "250 2.0.0 ok"]})
    async with SMTPPeer(answers) as peer, client_of(peer) as client:
        await client.say(MAIL, "RCPT TO:<b@x>")
        client.writer.write(b"BDAT 1\r\nhBDAT 1 LAST\r\ni")
        assert [(await client.hear())[:3] for _ in range(2)] == ["452", "503"]
        assert await client.say("RSET", MAIL, "RCPT TO:<b@x>") == ["250"] * 3
        client.writer.write(b"BDAT 1 LAST\r\nx")
        assert (await client.hear())[:3] == "250"
    assert peer.messages == [b"x"], "the first was never whole"


async def test_a_chunk_whose_size_is_none() -> None:
    async with SMTPPeer() as peer, client_of(peer) as client:
        assert await client.say("BDAT", "BDAT x LAST", "BDAT 1 FIRST") == ["501"] * 3


@pytest.mark.parametrize("end", ["DATA", "BDAT"])
async def test_lmtp_answers_for_each_recipient(end: str) -> None:
    refused = {". <c@": "550 5.2.2 full", "BDAT LAST <c@": "550 5.2.2 full"}
    answers = ByCommand({"RCPT TO:<no@": "550 5.1.1 no", **refused}, lmtp=True, extensions=("PIPELINING", "CHUNKING"))
    recipients = ["<b@x>", "<no@x>", "<c@x> NOTIFY=NEVER", '<"d>"@x>']
    async with SMTPPeer(answers) as peer, client_of(peer, "LHLO client.example") as client:
        assert await client.say(MAIL, *(f"RCPT TO:{one}" for one in recipients)) == ["250", "250", "550", "250", "250"]
        if end == "DATA":
            assert await client.say("DATA") == ["354"]
            client.writer.write(b"hi\r\n.\r\n")
        else:
            client.writer.write(b"BDAT 4 LAST\r\nhi\r\n")
        assert [(await client.hear())[:3] for _ in range(3)] == ["250", "550", "250"]
        assert await client.say("QUIT") == ["221"]
    assert peer.messages == [b"hi\r\n"]
    assert peer.sessions[0].lmtp


async def test_what_lmtp_asks_about() -> None:
    script = Script(
        ("LHLO", "250 ok"),
        ("MAIL", "250 ok"),
        ("RCPT", "250 ok"),
        ("RCPT", "250 ok"),
        ("DATA", "354 go"),
        (". <b@x>", "250 ok"),
        ('. <"d>"@x>', Close(b"25")),
    )
    async with SMTPPeer(script) as peer, client_of(peer, "LHLO x") as client:
        await client.say(MAIL, "RCPT TO:<b@x>", 'RCPT TO:<"d>"@x>', "DATA")
        assert await client.say(".") == ["250"]
        assert await client.rest() == b"25"
    assert script.steps == []


@pytest.mark.parametrize(
    ("lmtp", "known", "unknown"), [(True, ["LHLO"], ["EHLO", "HELO"]), (False, ["EHLO"], ["LHLO"])]
)
async def test_lmtp_or_smtp(lmtp: bool, known: Sequence[str], unknown: Sequence[str]) -> None:
    answers = ByCommand(lmtp=lmtp)
    async with SMTPPeer(answers) as peer, client_of(peer, f"{known[0]} x") as client:
        assert await client.say(*(f"{word} x" for word in unknown)) == ["500"] * len(unknown)
