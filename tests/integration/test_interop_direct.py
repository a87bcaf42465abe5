"""Direct delivery to Postfix and Exim, as Debian has them: MX, MTA-STS and DANE with servers that people run."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from tests.integration.direct_world import Policies, delivery
from tests.mtas.running import WITH_TLS, named, running, trust, watched
from tests.mtas.server import Answer, MailServer, Settings

from moxlib.dane import record_for
from moxlib.queue import Deferred, Delivered, DirectTransport, Failed, Outcome
from moxlib.testing import MockResolver

if TYPE_CHECKING:
    from collections.abc import Iterator

HOST = "mx1.example.org"
ENFORCE = f"version: STSv1\nmode: enforce\nmx: {HOST}\nmax_age: 86400\n"
RECIPIENT = "b@example.org"


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert(HOST)


@pytest.fixture(scope="module", params=WITH_TLS, ids=named)
def shared(request: pytest.FixtureRequest, certificate: trustme.LeafCert) -> Iterator[MailServer]:
    with running(request.param, Settings(hostname=HOST, certificate=certificate)) as server:
        yield server


@pytest.fixture
def server(shared: MailServer) -> Iterator[MailServer]:
    with watched(shared):
        yield shared


async def deliver(server: MailServer, authority: trustme.CA, *, policy: str | None = None, **dns: Any) -> Outcome:
    """Deliver one message to a domain whose host the server is."""
    if policy is not None:
        dns["txt"] = {"_mta-sts.example.org": ["v=STSv1; id=1;"]}
    tlsa = {f"_{server.port}._tcp.{HOST}": dns.pop("tlsa", ())}
    resolver = MockResolver(mx={"example.org": [(10, HOST)]}, a={HOST: ["127.0.0.1"]}, tlsa=tlsa, **dns)
    transport = DirectTransport(
        ehlo_name="client.example",
        resolver=resolver,
        mta_sts=Policies(policy),
        port=server.port,
        random=Random(1),
        verified_context=lambda: trust(authority),
    )
    async with transport.running():
        [outcome] = await transport.deliver(delivery(RECIPIENT))
    return outcome


async def test_without_a_policy_tls_is_taken_as_it_comes(server: MailServer, authority: trustme.CA) -> None:
    outcome = await deliver(server, authority)
    assert isinstance(outcome, Delivered), outcome
    assert outcome.trace.tls.endswith(" unverified")
    [mail] = await server.mail()
    assert mail.recipient == RECIPIENT


async def test_an_enforced_policy_is_met(server: MailServer, authority: trustme.CA) -> None:
    outcome = await deliver(server, authority, policy=ENFORCE)
    assert isinstance(outcome, Delivered), outcome
    assert outcome.trace.tls.endswith(" pkix")
    assert len(await server.mail()) == 1


async def test_an_enforced_policy_is_not_met_by_another_authority(server: MailServer) -> None:
    outcome = await deliver(server, trustme.CA(), policy=ENFORCE)
    assert isinstance(outcome, Deferred), outcome
    assert "certificate" in outcome.text
    assert await server.mail() == []


@pytest.mark.parametrize("form", [(3, 1, 1), (3, 0, 2)], ids=str)
async def test_its_tlsa_record_verifies_it(
    server: MailServer, authority: trustme.CA, certificate: trustme.LeafCert, form: tuple[int, int, int]
) -> None:
    usage, selector, matching = form
    pem = certificate.cert_chain_pems[0].bytes()
    record = record_for(pem, usage=usage, selector=selector, matching_type=matching)
    outcome = await deliver(server, authority, tlsa=[record], all_authentic=True)
    assert isinstance(outcome, Delivered), outcome
    assert outcome.trace.tls.endswith(" dane")
    assert len(await server.mail()) == 1


async def test_another_tlsa_record_does_not(server: MailServer, authority: trustme.CA) -> None:
    record = record_for(trustme.CA().cert_pem.bytes())
    outcome = await deliver(server, authority, tlsa=[record], all_authentic=True)
    assert isinstance(outcome, Deferred), outcome
    assert await server.mail() == []


async def test_a_recipient_that_it_refuses_fails(server: MailServer, authority: trustme.CA) -> None:
    server.answer(RECIPIENT, Answer.REFUSED)
    outcome = await deliver(server, authority)
    assert isinstance(outcome, Failed), outcome
    assert (outcome.code, outcome.command) == (550, "RCPT TO")


async def test_a_recipient_that_it_defers_is_for_later(server: MailServer, authority: trustme.CA) -> None:
    server.answer(RECIPIENT, Answer.LATER)
    outcome = await deliver(server, authority)
    assert isinstance(outcome, Deferred), outcome
    assert (outcome.code, outcome.command) == (451, "RCPT TO")
