"""What a session says of its client, and what is said where aiosmtpd is missing."""

import pickle
import subprocess
import sys
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from moxlib.contrib.aiosmtpd.replies import Refused, refusal
from moxlib.contrib.aiosmtpd.sessions import received_field, remote_ip

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def session(peer: object, told: object = None) -> Any:
    proxy = None if told is None else SimpleNamespace(src_addr=told)
    return SimpleNamespace(peer=peer, proxy_data=proxy, host_name="a.example", extended_smtp=True, authenticated=None)


@pytest.mark.parametrize(
    ("peer", "told", "ip"),
    [
        (("192.0.2.1", 25), None, "192.0.2.1"),
        (("2001:db8::1", 25, 0, 0), None, "2001:db8::1"),
        (("fe80::1%eth0", 25, 0, 2), None, "fe80::1"),
        (("192.0.2.1", 25), "198.51.100.7", "198.51.100.7"),
        ("/run/smtp.sock", None, ""),
        ("", None, ""),
        (None, None, ""),
        ((), None, ""),
        (("a\r\nb", 25), None, ""),
    ],
)
def test_from_where(peer: object, told: object, ip: str) -> None:
    assert remote_ip(session(peer, told)) == ip


@pytest.mark.parametrize(
    ("peer", "shown"),
    [(("2001:db8::1", 25), "a.example ([IPv6:2001:db8::1])"), (None, "a.example")],
)
def test_a_received_field_with_the_address(peer: object, shown: str) -> None:
    field = received_field(
        session(peer),
        tls=True,
        smtputf8=False,
        hostname="mx.example",
        recipients=["<bob@[192.0.2.9]>"],
        show_address=True,
        now=NOW,
    )
    assert field.decode() == (
        f"Received: from {shown}\r\n\tby mx.example with ESMTPS\r\n\tfor <bob@[192.0.2.9]>;\r\n"
        "\tThu, 01 Jan 2026 00:00:00 +0000\r\n"
    )


def test_a_refusal_is_pickled_by_its_fields() -> None:
    again = pickle.loads(pickle.dumps(Refused(550, "5.7.1", "no")))
    assert refusal(again) == "550 5.7.1 no"


def test_without_aiosmtpd_the_extra_is_named() -> None:
    program = """
import asyncio, sys
sys.modules["aiosmtpd"] = None
from moxlib.contrib.aiosmtpd import IncomingHandler, SubmissionHandler
from moxlib.errors import MissingExtra
from moxlib.queue import Queue
from moxlib.testing import MemoryStorage

async def main():
    for handler in (IncomingHandler, SubmissionHandler):
        try:
            handler(Queue(MemoryStorage())).factory()
        except MissingExtra as error:
            print(error.extra)

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["aiosmtpd", "aiosmtpd"]
