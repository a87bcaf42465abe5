"""A small Internet on loopback: a DNS in plain maps, mail hosts on addresses of their own, and policies of MTA-STS."""

from __future__ import annotations

import ssl
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import trustme

from moxlib.dane import record_for
from moxlib.mtasts import MemoryPolicyCache, PolicyFetchError
from moxlib.queue import AttemptResult, Delivery, DirectTransport, Message, RequireTLS, ResultKind, Services
from moxlib.testing import Answer, ByCommand, Close, FakeClock, MockResolver, SMTPPeer
from moxlib.testing.clock import START
from moxlib.tlsrpt import Result, ResultType, merge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from moxlib.dns import TLSA, Domain

DOMAIN = "example.org"
BODY = b"Subject: hi\r\n\r\nhello\r\n"
ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES", "SIZE 1000000")


class Authorities:
    """A certificate authority that is known here, one that is not, and what they issue; made once."""

    def __init__(self) -> None:
        self.known = trustme.CA()
        self.below = self.known.create_child_ca()
        self.unknown = trustme.CA()
        self._certificates: dict[str, trustme.LeafCert] = {}

    def certificate(self, kind: str) -> trustme.LeafCert:
        """Return a certificate: "good", "wrong name" or "untrusted"."""
        if kind not in self._certificates:
            authority = self.unknown if kind == "untrusted" else self.below
            names = ("other.example",) if kind == "wrong name" else ("mx1.example.org", "mx2.example.org")
            self._certificates[kind] = authority.issue_cert(*names)
        return self._certificates[kind]

    def server_context(self, kind: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate(kind).configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.known.configure_trust(context)
        return context

    def tlsa(self, what: str) -> TLSA:
        """Return a TLSA record.

        Of the certificate "good", of the authority that signed it ("ta"), one that matches nothing ("other"), or one
        that is of no use for SMTP ("unusable").
        """
        good = self.certificate("good").cert_chain_pems[0].bytes()
        match what:
            case "good":
                return record_for(good)
            case "ta":
                return record_for(self.below.cert_pem.bytes(), usage=2)
            case "other":
                return record_for(self.certificate("untrusted").cert_chain_pems[0].bytes())
            case _:
                record = record_for(good)
                return type(record)(usage=1, selector=1, matching_type=1, data=record.data)


@dataclass(frozen=True, kw_only=True)
class MailHost:
    """A host that listens on an address; `tls` is the kind of its certificate, or what happens instead."""

    address: str
    tls: str = ""
    """ "good", "wrong name", "untrusted", "refused" (454 to STARTTLS), "broken" (no handshake), "" (not offered)."""
    extensions: Sequence[str] = ALL
    answers: Mapping[str, Answer | list[Answer]] = field(default_factory=dict)
    greeting: Answer = "220 host.example ESMTP"


@dataclass(frozen=True, kw_only=True)
class World:
    """Everything that is there."""

    hosts: Sequence[MailHost] = ()
    dns: Mapping[str, Any] = field(default_factory=dict)
    tlsa: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Kinds of TLSA records by host."""
    policy: str | None = None
    """The MTA-STS policy of the domain; with "-", it has a record, and the policy cannot be fetched."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the transport."""


@dataclass
class Running:
    """The world while it runs."""

    transport: DirectTransport
    peers: dict[str, SMTPPeer]
    resolver: MockResolver
    clock: FakeClock
    results: list[Result] = field(default_factory=list)
    """What the observer heard of TLS."""

    def served(self) -> list[str]:
        """The addresses of the hosts that took a message, in order of address."""
        return [address for address, peer in sorted(self.peers.items()) if peer.messages]

    def called(self) -> list[str]:
        """Those of the hosts that were connected to."""
        return [address for address, peer in sorted(self.peers.items()) if peer.sessions]

    def merged(self) -> tuple[Result, ...]:
        return merge(self.results)


class Policies:
    """A fetcher of MTA-STS policies that has one."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.fetched = 0

    async def fetch(self, domain: Domain) -> bytes:
        self.fetched += 1
        if self.text is None or self.text == "-":
            raise PolicyFetchError(
                domain=domain.ascii,
                reason="there is none",
                result_type=ResultType.STS_POLICY_FETCH_ERROR,
                reason_code="not-there",
            )
        return self.text.encode()


@asynccontextmanager
async def running(world: World, authorities: Authorities) -> AsyncIterator[Running]:
    clock = FakeClock()
    dns = dict(world.dns)
    dns["tlsa"] = {f"_25._tcp.{host}": [authorities.tlsa(kind) for kind in kinds] for host, kinds in world.tlsa.items()}
    if world.policy is not None:
        dns["txt"] = {f"_mta-sts.{DOMAIN}": ["v=STSv1; id=1;"]}
    async with AsyncExitStack() as stack:
        peers: dict[str, SMTPPeer] = {}
        port = 0
        for host in world.hosts:
            peer = await stack.enter_async_context(peer_of(host, port, authorities))
            port = port or peer.port
            peers[host.address] = peer
        dns = {key: _at_port(value, port) for key, value in dns.items()}
        resolver = MockResolver(**dns)
        options: dict[str, Any] = {"ehlo_name": "client.example", "mta_sts": Policies(world.policy), **world.options}
        transport = DirectTransport(
            resolver=resolver,
            port=port or 25,
            clock=clock,
            random=Random(1),
            verified_context=authorities.client_context,
            **options,
        )
        there = Running(transport, peers, resolver, clock)
        transport.attach(
            Services(policies=MemoryPolicyCache(), tls_results=lambda domain, results: there.results.extend(results))
        )
        async with transport.running():
            yield there


def _at_port(value: Any, port: int) -> Any:
    """Move TLSA records, and what is said of them, to where the hosts listen."""
    if isinstance(value, dict):
        return {name.replace("_25.", f"_{port}."): each for name, each in value.items()}
    return [name.replace("_25.", f"_{port}.") for name in value] if isinstance(value, list) else value


def peer_of(host: MailHost, port: int, authorities: Authorities) -> SMTPPeer:
    extensions = (*host.extensions, "STARTTLS") if host.tls else tuple(host.extensions)
    answers = dict(host.answers)
    context = None
    match host.tls:
        case "refused":
            answers["STARTTLS"] = "454 4.7.0 not now"
        case "broken":
            answers["STARTTLS"] = Close("220 go ahead\r\n")
        case "":
            answers.setdefault("STARTTLS", "502 5.5.1 not implemented")
        case kind:
            context = authorities.server_context(kind)
    return SMTPPeer(
        ByCommand(answers, extensions=extensions),
        greeting=host.greeting,
        tls_context=context,
        address=host.address,
        port=port,
    )


class InMemory:
    """Content that is in memory."""

    def __init__(self, data: bytes = BODY) -> None:
        self.data: bytes | None = data
        self.size = len(data)

    async def chunks(self) -> AsyncIterator[bytes]:
        assert self.data is not None
        yield self.data


def message(recipient: str, **changes: Any) -> Message:
    dialed: Sequence[tuple[str, str]] = changes.pop("dialed", ())
    results = tuple(
        AttemptResult(attempt=number, kind=ResultKind.DEFERRED, started=START, dialed=(pair,))
        for number, pair in enumerate(dialed, 1)
    )
    usual: dict[str, Any] = {
        "id": 1,
        "base_id": 1,
        "account": "",
        "sender": "a@client.example",
        "sender_domain": "client.example",
        "recipient": recipient,
        "recipient_domain": recipient.rpartition("@")[2],
        "destination": recipient.rpartition("@")[2],
        "queued": START,
        "hold": False,
        "attempts": 1 + len(results),
        "max_attempts": 8,
        "next_attempt": START,
        "last_attempt": None,
        "in_flight": True,
        "results": results,
        "size": len(BODY),
    }
    return Message(**(usual | changes))


def delivery(*recipients: str, content: InMemory | None = None, **changes: Any) -> Delivery:
    messages = tuple([message(recipient, **changes) for recipient in recipients or (f"b@{DOMAIN}",)])
    return Delivery(messages=messages, content=content or InMemory(), transport="direct")


LONG_AGO = START - timedelta(days=1)
NO = RequireTLS.NO
YES = RequireTLS.YES
