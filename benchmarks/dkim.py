"""Signatures a second, made and verified, beside dkimpy.

One message of 4 KB, relaxed/relaxed, and the same header fields. dkimpy does RSA in Python, and Ed25519 by PyNaCl; it
parses the key each time. Keys are of 2048 bits.
"""

from __future__ import annotations

import asyncio
import base64
import io
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dkim  # type: ignore[import-untyped]
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from benchmarks._report import Figure, compare
from moxlib.dkim import Selector, Signer, generate_ed25519_key, generate_rsa_key, private_key_pem, verify
from moxlib.dns import Answer, parse_domain
from moxlib.testing import MockResolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._options import Options
    from moxlib.dns import Resolver

HEADERS = ("From", "To", "Subject", "Date", "Message-ID", "Content-Type")
HEADER = b"""\
Received: from client.example.org by mail.example.org; Mon, 11 Mar 2024 08:15:07 +0000
From: Shop <shop@example.org>
To: Jo <jo@example.com>
Subject: Your order 17
Date: Mon, 11 Mar 2024 08:15:07 +0000
Message-ID: <17@example.org>
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8

""".replace(b"\n", b"\r\n")
MESSAGE = HEADER + b"What you have ordered is on its way, and will be there soon.\r\n" * 62
NOW = datetime(2024, 3, 11, 8, 15, 7, tzinfo=UTC)
LARGE = 8 * 1024 * 1024  # octets of the body that shows how fast bodies are hashed


def figures(options: Options) -> Iterator[Figure]:
    """Yield the figures of `moxlib.dkim`."""
    rounds = 3 if options.quick else 11
    seconds = 0.05 if options.quick else 0.5
    ed25519, rsa = generate_ed25519_key(), generate_rsa_key()
    seed = base64.b64encode(ed25519.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    for name, key, secret in (("RSA-2048", rsa, private_key_pem(rsa).encode()), ("Ed25519", ed25519, seed)):
        selector = Selector(domain=parse_domain("example.org"), name="sel", private_key=key, headers=HEADERS)
        signer = Signer([selector])
        algorithm = f"{selector.record().key_type!s}-sha256".encode()
        record = str(selector.record())
        resolver = Published(record)

        def sign(signer: Signer = signer) -> object:
            return signer.sign(MESSAGE)

        def dkimpy_sign(secret: bytes = secret, algorithm: bytes = algorithm) -> object:
            return dkim.sign(
                MESSAGE,
                b"sel",
                b"example.org",
                secret,
                canonicalize=(b"relaxed", b"relaxed"),
                signature_algorithm=algorithm,
                include_headers=[header.lower().encode() for header in HEADERS],
            )

        signed = signer.sign(MESSAGE) + MESSAGE

        def dkimpy_verify(signed: bytes = signed, record: str = record) -> object:
            return dkim.verify(signed, dnsfunc=lambda _name, timeout=5: record.encode())  # noqa: ARG005

        yield compare(
            rate(sign, seconds),
            {"dkimpy": rate(dkimpy_sign, seconds)},
            rounds,
            name=f"dkim, sign, {name}",
            unit="signatures/s",
        )
        yield compare(
            verify_rate(signed, resolver, seconds),
            {"dkimpy": rate(dkimpy_verify, seconds)},
            rounds,
            name=f"dkim, verify, {name}",
            unit="signatures/s",
        )
    signer = Signer([Selector(domain=parse_domain("example.org"), name="sel", private_key=ed25519)])
    yield compare(large_rate(signer), None, rounds, name="dkim, sign, 8 MiB in a file, relaxed", unit="MiB/s")


class Published(MockResolver):
    """Answers at once, as a cache does, and as dkimpy is answered."""

    def __init__(self, record: str) -> None:
        super().__init__()
        self._answer = Answer(records=(record,), authentic=False, name="sel._domainkey.example.org")

    async def lookup_txt(self, name: str) -> Answer[str]:  # noqa: ARG002
        """Return the record, whatever was asked for."""
        return self._answer


def rate(work: Callable[[], object], seconds: float) -> Callable[[], float]:
    """Return what measures how many times a second `work` is done."""

    def measure() -> float:
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            work()
            done += 1
        return done / passed

    return measure


def verify_rate(signed: bytes, resolver: Resolver, seconds: float) -> Callable[[], float]:
    """Return what measures how many messages are verified a second, one after the other in one event loop."""

    async def measured() -> float:
        done, start = 0, time.perf_counter()
        while (passed := time.perf_counter() - start) < seconds:
            await verify(signed, resolver=resolver)
            done += 1
        return done / passed

    return lambda: asyncio.run(measured())


def large_rate(signer: Signer) -> Callable[[], float]:
    """Return what measures the MiB a second of a body of lines with single and double blanks."""
    line = b"What you  have ordered is on its way, and will be there soon.\r\n"
    body = line * (LARGE // len(line))

    class Source:
        def read_at(self, size: int, offset: int, /) -> bytes:
            file.seek(offset)
            return file.read(size)

    file = io.BytesIO(HEADER + body)

    def measure() -> float:
        start = time.perf_counter()
        signer.sign(Source(), size=len(HEADER) + len(body))
        return LARGE / 1024 / 1024 / (time.perf_counter() - start)

    return measure
