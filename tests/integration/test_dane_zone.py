"""DANE from end to end: a real signed zone, a real validating name server, and a handshake with the host it names."""

from __future__ import annotations

import contextlib
import ssl
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from tests.dnssec import ProgramMissingError, SignedZones
from tests.integration.direct_world import NO, YES, delivery

from moxlib.dane import record_for
from moxlib.queue import Deferred, Delivered, DirectTransport, Failed
from moxlib.testing import ByCommand, SMTPPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from moxlib.queue import Outcome, RequireTLS

AUTHORITY = trustme.CA()
BELOW = AUTHORITY.create_child_ca()
NAMES = ("mx.good.example", "mx.anchor.example", "mx.other.example", "mx.spoilt.example", "mx.unsigned.example")
LEAF = BELOW.issue_cert(*NAMES)
OTHER = trustme.CA()
EXTENSIONS = ("STARTTLS", "PIPELINING", "REQUIRETLS", "ENHANCEDSTATUSCODES")


class Setting:
    """A mail host under several names, and what the DNS says of each."""

    def __init__(self, peer: SMTPPeer, zones: SignedZones, transport: DirectTransport) -> None:
        self.peer = peer
        self.zones = zones
        self.transport = transport

    async def deliver(self, domain: str, require_tls: RequireTLS | None = None) -> Outcome:
        changes: dict[str, Any] = {} if require_tls is None else {"require_tls": require_tls}
        [outcome] = await self.transport.deliver(delivery(f"b@{domain}", **changes))
        return outcome


@contextlib.asynccontextmanager
async def setting() -> AsyncIterator[Setting]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    LEAF.configure_cert(context)
    async with SMTPPeer(ByCommand(extensions=EXTENSIONS), tls_context=context) as peer:
        certificate = record_for(LEAF.cert_chain_pems[0].bytes())
        published = {
            "good.example": [certificate],
            "anchor.example": [record_for(BELOW.cert_pem.bytes(), usage=2)],
            "other.example": [record_for(OTHER.cert_pem.bytes())],
            "spoilt.example": [certificate],
            "unsigned.example": [record_for(OTHER.cert_pem.bytes())],
        }
        records = {f"mx {domain}": [f"10 mx.{domain}."] for domain in published}
        records |= {f"a mx.{domain}": ["127.0.0.1"] for domain in published}
        records |= {f"tlsa _{peer.port}._tcp.mx.{domain}": [*map(str, tlsa)] for domain, tlsa in published.items()}
        try:
            zones = SignedZones(
                records,
                signed=[domain for domain in published if domain != "unsigned.example"],
                unsigned=["unsigned.example"],
                tampered=[f"tlsa _{peer.port}._tcp.mx.spoilt.example"],
            )
        except ProgramMissingError as error:
            pytest.skip(str(error))
        with zones:
            transport = DirectTransport(
                ehlo_name="client.example",
                resolver=zones.resolver(),
                mta_sts=None,
                port=peer.port,
                random=Random(1),
            )
            async with transport.running():
                yield Setting(peer, zones, transport)


async def test_what_the_zone_says_is_what_must_be() -> None:
    async with setting() as there:
        for domain, by in (("good.example", "dane"), ("anchor.example", "dane"), ("unsigned.example", "unverified")):
            outcome = await there.deliver(domain)
            assert isinstance(outcome, Delivered), outcome
            assert outcome.trace.tls == f"tls1.3 {by}"
        delivered = len(there.peer.messages)

        other = await there.deliver("other.example")
        assert isinstance(other, Deferred)
        assert "no TLSA record matches" in other.text
        spoilt = await there.deliver("spoilt.example")
        assert isinstance(spoilt, Deferred)
        assert "TLSA" in spoilt.text
        assert len(there.peer.messages) == delivered

        for domain in ("other.example", "spoilt.example"):
            assert isinstance(await there.deliver(domain, NO), Delivered)
        assert isinstance(await there.deliver("good.example", YES), Delivered)
        refused = await there.deliver("unsigned.example", YES)
        assert isinstance(refused, Failed)
        assert (refused.code, refused.enhanced) == (554, "5.7.30")
