"""A mailbox in an SQLite file, and the message that the vectors' sequence of calls is about."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from moxlib.testing import FakeClock
from moxlib.webapi.sqlite_mailbox import SQLiteMailbox

# As webapi_json's seq-send composes it.
MAIL = (
    b'Bcc: "B" <bcc@remote.example>\r\n'
    b"From: =?utf-8?q?m=C3=B8x?= <mjl@nodkim.example>\r\n"
    b'Reply-To: "r" <reply@remote.example>\r\n'
    b"To: =?utf-8?q?m=C3=B3x?= <rcpt+to@remote.example>\r\n"
    b"Cc: <cc@remote.example>\r\n"
    b"Subject: =?utf-8?q?=C2=A1hello_=3Cworld=3E!?=\r\n"
    b"Date: Tue, 2 Jan 2024 03:04:05 +0100\r\n"
    b"Message-Id: <seq1@localhost>\r\n"
    b"References: <m0@localhost>\r\n\t<m1@localhost>\r\n"
    b"In-Reply-To: <m1@localhost>\r\n"
    b"MIME-Version: 1.0\r\n"
    b'Content-Type: multipart/mixed; boundary="MIXED"\r\n\r\n'
    b'--MIXED\r\nContent-Type: multipart/related; boundary="RELATED"\r\n\r\n'
    b'--RELATED\r\nContent-Type: multipart/alternative; boundary="ALT"\r\n\r\n'
    b"--ALT\r\nContent-Transfer-Encoding: 8bit\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    b"hi \xe2\x98\xba\r\n\r\n"
    b"--ALT\r\nContent-Transfer-Encoding: 7bit\r\nContent-Type: text/html; charset=us-ascii\r\n\r\n"
    b'<html><img src="cid:x" /></html>\r\n\r\n'
    b"--ALT--\r\n\r\n"
    b"--RELATED\r\nContent-Disposition: inline; filename=x.png\r\nContent-Id: <x>\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Type: image/png\r\n\r\ncG5nIGRhdGE=\r\n\r\n"
    b"--RELATED--\r\n\r\n"
    b"--MIXED\r\nContent-Disposition: attachment; filename=a.pdf\r\n"
    b"Content-Transfer-Encoding: base64\r\nContent-Type: application/pdf\r\n\r\nJVBERi0=\r\n\r\n"
    b"--MIXED--\r\n"
)
LARGE = MAIL.replace(b"hi \xe2\x98\xba", b"hi \xe2\x98\xba\r\n" + b"x" * 70 * 1024)


@pytest.fixture
async def mailbox(tmp_path: Path) -> AsyncIterator[SQLiteMailbox]:
    async with SQLiteMailbox(tmp_path / "mailbox.db", clock=FakeClock()) as opened:
        yield opened
