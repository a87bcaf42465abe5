"""Direct delivery, sentence by sentence: the table `CASES` names the sentence that each row is for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.direct_world import (
    BODY,
    DOMAIN,
    NO,
    YES,
    Authorities,
    InMemory,
    MailHost,
    World,
    delivery,
    running,
)

from moxlib.queue import Deferred, Delivered, Failed, Outcome, Unknown
from moxlib.testing import Close

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ONE, TWO, SIX = "127.0.0.2", "127.0.0.3", "::1"
MX1, MX2 = "mx1.example.org", "mx2.example.org"

# What is promised of direct delivery. Each sentence has rows in the table; the test at its end sees to that.
SENTENCES = {
    "cname": "follow CNAME",
    "preference": "MX by preference",
    "implicit": "implicit MX",
    "null": "null MX fails for good (as 556 5.1.10)",
    "literal": "IP literals",
    "addresses": "All addresses of a host in turn until one connects",
    "family": "each attempt prefers the family not used the last time",
    "dual-stack": "a first policy rejection (X.7.x) by a dual-stack host counts as temporary",
    "sts-temporary": "a temporary error in looking MTA-STS up defers the whole attempt (unless TLS-Required: No)",
    "sts-enforce": "enforce skips hosts that do not match and verifies certificates",
    "sts-testing": "testing only reports",
    "sts-domain": "MTA-STS at the original domain",
    "dane-verify": "DANE when every answer on the way was authenticated: usable TLSA records must verify",
    "dane-unusable": "TLSA records of which none is usable still require STARTTLS, unverified",
    "dane-lookup": "failing to look TLSA records up defers that host, never plaintext",
    "opportunistic": "otherwise STARTTLS if offered, unverified",
    "fallback": "after a TLS failure one plain attempt, only where no policy, no DANE and no requirement forbids it",
    "reports": "and never for reports",
    "require-yes": "RequireTLS=yes: enforced MTA-STS or usable TLSA, and the peer's REQUIRETLS, else 5.7.30",
    "require-all": "temporary for that host, for good only if every host lacks it",
    "require-no": "RequireTLS=no relaxes policies",
    "permanent": "a permanent error of one MX ends the attempt",
    "temporary": "a temporary one moves on",
    "smtputf8": "SMTPUTF8 needed and not offered: temporary",
    "size": "SIZE exceeded: for good",
    "8bit": "8BITMIME is used when offered, not insisted on",
    "results": "TLS results in RFC 8460 form go to the observer",
}

POLICY = f"version: STSv1\nmode: {{}}\nmx: {MX1}\nmax_age: 86400\n"
ENFORCE, TESTING = POLICY.format("enforce"), POLICY.format("testing")


def dns(*names: str, **more: Any) -> dict[str, Any]:
    """The usual zone: MX1 before MX2, at their addresses."""
    mx = {DOMAIN: [(10, MX1), (20, MX2)]} if len(names) != 1 else {DOMAIN: [(10, names[0])]}
    return {"mx": mx, "a": {MX1: [ONE], MX2: [TWO]}, **more}


def host(address: str = ONE, tls: str = "", there: Mapping[str, Any] | None = None, **more: Any) -> MailHost:
    return MailHost(address=address, tls=tls, **(there or {}), **more)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row: what there is, what is delivered, and what must come of it."""

    sentence: str
    name: str
    hosts: Sequence[MailHost] = (host(),)
    dns: Mapping[str, Any] = field(default_factory=lambda: dns(MX1))
    tlsa: Mapping[str, Sequence[str]] = field(default_factory=dict)
    policy: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    message: Mapping[str, Any] = field(default_factory=dict)
    recipient: str = f"b@{DOMAIN}"
    content: bytes = BODY
    outcome: type[Outcome] = Delivered
    code: int | None = None
    enhanced: str | None = None
    text: str = ""
    """Stands in the outcome's text."""
    served: Sequence[str] | None = None
    """Who took the message, by address; the first host, where it was delivered and nothing is said."""
    called: Sequence[str] | None = None
    """Who was connected to."""
    tls: str | None = None
    """What protected it, behind the version."""
    reported: Sequence[tuple[str, str, int, int, str]] | None = None
    """Policy type, domain, successes, failures, and result types with reasons, of each result."""


def refuse(answer: str, at: str = "MAIL FROM:") -> dict[str, Any]:
    return {at: answer}


SIGNED = {"all_authentic": True}
TWO_HOSTS: dict[str, Any] = {"hosts": (host(ONE), host(TWO)), "dns": dns()}
REQUIRETLS = ("PIPELINING", "REQUIRETLS", "ENHANCEDSTATUSCODES", "8BITMIME")

CASES = [
    # who takes the mail
    Case(
        sentence="cname",
        name="of the domain",
        dns={"cname": {DOMAIN: "other.example"}, "mx": {"other.example": [(10, MX1)]}, "a": {MX1: [ONE]}},
    ),
    Case(
        sentence="cname",
        name="of the host",
        dns={"mx": {DOMAIN: [(10, MX1)]}, "cname": {MX1: "box.example"}, "a": {"box.example": [ONE]}},
    ),
    Case(
        sentence="cname",
        name="in a circle",
        dns={"cname": {DOMAIN: "a.example", "a.example": DOMAIN}},
        outcome=Deferred,
        enhanced="4.4.3",
        called=[],
    ),
    Case(sentence="preference", name="the best one", **TWO_HOSTS, served=[ONE], called=[ONE]),
    Case(
        sentence="preference",
        name="the next one",
        hosts=(host(TWO),),
        dns=dns(),
        served=[TWO],
    ),
    Case(sentence="implicit", name="the domain's own address", dns={"a": {DOMAIN: [ONE]}}),
    Case(
        sentence="implicit",
        name="no address",
        dns={"txt": {DOMAIN: ["x"]}},
        outcome=Deferred,
        enhanced="4.4.4",
    ),
    Case(sentence="implicit", name="no such domain", dns={}, outcome=Failed, code=550, enhanced="5.1.2"),
    Case(
        sentence="implicit",
        name="nobody knows whether there is such a domain",
        dns={"fail": {f"mx {DOMAIN}": "SERVFAIL"}},
        outcome=Deferred,
        code=451,
        enhanced="4.4.3",
    ),
    Case(
        sentence="preference",
        name="no such host",
        dns={"mx": {DOMAIN: [(10, MX1)]}},
        outcome=Deferred,
        enhanced="4.4.4",
    ),
    Case(
        sentence="null",
        name="RFC 7505",
        dns={"mx": {DOMAIN: [(0, ".")]}, "a": {DOMAIN: [ONE]}},
        outcome=Failed,
        code=556,
        enhanced="5.1.10",
        called=[],
    ),
    Case(sentence="literal", name="IPv4", recipient=f"b@[{ONE}]", dns={}, message={"recipient_domain": f"[{ONE}]"}),
    Case(
        sentence="literal",
        name="IPv6",
        hosts=(host(SIX),),
        recipient="b@[IPv6:::1]",
        dns={},
        message={"recipient_domain": "[IPv6:::1]"},
    ),
    # at which address
    Case(
        sentence="addresses",
        name="the second one",
        hosts=(host(TWO),),
        dns=dns(MX1) | {"a": {MX1: [ONE, TWO]}},
        served=[TWO],
    ),
    Case(
        sentence="addresses",
        name="none",
        hosts=(host("127.0.0.9"),),
        dns=dns(MX1) | {"a": {MX1: [ONE, TWO]}},
        outcome=Deferred,
        called=[],
    ),
    *[
        Case(
            sentence="family",
            name=f"{last} last",
            hosts=(host(ONE), host(SIX)),
            dns=dns(MX1, aaaa={MX1: [SIX]}),
            message={"dialed": [(MX1, last)]},
            served=[other],
            called=[other],
        )
        for last, other in ((ONE, SIX), (SIX, ONE))
    ],
    *[
        Case(
            sentence="family",
            name=f"only {family}",
            hosts=(host(ONE), host(SIX)),
            dns=dns(MX1, aaaa={MX1: [SIX]}),
            options={"family": family},
            served=[address],
            called=[address],
        )
        for family, address in (("ipv4", ONE), ("ipv6", SIX))
    ],
    Case(
        sentence="dual-stack",
        name="first attempt",
        hosts=(host(ONE, answers=refuse("550 5.7.1 go away")), host(SIX, answers=refuse("550 5.7.1 go away"))),
        dns=dns(MX1, aaaa={MX1: [SIX]}),
        outcome=Deferred,
        code=550,
        enhanced="5.7.1",
    ),
    Case(
        sentence="dual-stack",
        name="to the recipient",
        hosts=(host(ONE), host(SIX, answers=refuse("550 5.7.1 go away", "RCPT TO:"))),
        dns=dns(MX1, aaaa={MX1: [SIX]}),
        outcome=Deferred,
        enhanced="5.7.1",
    ),
    Case(
        sentence="dual-stack",
        name="second attempt",
        hosts=(host(ONE, answers=refuse("550 5.7.1 go away")), host(SIX, answers=refuse("550 5.7.1 go away"))),
        dns=dns(MX1, aaaa={MX1: [SIX]}),
        message={"dialed": [(MX1, ONE)]},
        outcome=Failed,
        enhanced="5.7.1",
    ),
    Case(
        sentence="dual-stack",
        name="one family",
        hosts=(host(ONE, answers=refuse("550 5.7.1 go away")),),
        outcome=Failed,
        enhanced="5.7.1",
    ),
    Case(
        sentence="dual-stack",
        name="no policy",
        hosts=(host(ONE), host(SIX, answers=refuse("550 5.1.1 gone", "RCPT TO:"))),
        dns=dns(MX1, aaaa={MX1: [SIX]}),
        outcome=Failed,
        enhanced="5.1.1",
    ),
    # MTA-STS
    Case(
        sentence="sts-temporary",
        name="defers",
        dns=dns(MX1, fail={f"txt _mta-sts.{DOMAIN}": "SERVFAIL"}),
        outcome=Deferred,
        code=0,
        enhanced="4.7.5",
        called=[],
        reported=[("sts", DOMAIN, 0, 1, "sts-policy-fetch-error dns-lookup")],
    ),
    Case(
        sentence="sts-temporary",
        name="TLS-Required: No",
        dns=dns(MX1, fail={f"txt _mta-sts.{DOMAIN}": "SERVFAIL"}),
        message={"require_tls": NO},
    ),
    Case(sentence="sts-enforce", name="verified", hosts=(host(tls="good"),), policy=ENFORCE, tls="pkix"),
    *[
        Case(
            sentence="sts-enforce", name=f"{tls or 'no TLS'}", hosts=(host(tls=tls),), policy=ENFORCE, outcome=Deferred
        )
        for tls in ("", "refused", "broken", "wrong name", "untrusted")
    ],
    Case(
        sentence="sts-enforce",
        name="skips",
        hosts=(host(ONE), host(TWO, tls="good")),
        dns=dns() | {"mx": {DOMAIN: [(10, MX2), (20, MX1)]}, "a": {MX2: [ONE], MX1: [TWO]}},
        policy=ENFORCE,
        served=[TWO],
        called=[TWO],
        tls="pkix",
    ),
    Case(
        sentence="sts-enforce",
        name="skips all",
        dns=dns(MX2),
        hosts=(host(TWO, tls="good"),),
        policy=ENFORCE,
        outcome=Deferred,
        enhanced="4.7.5",
        called=[],
        reported=[
            ("sts", DOMAIN, 0, 1, "validation-failure mtasts-policy-mx-mismatch"),
        ],
    ),
    Case(
        sentence="sts-testing",
        name="no TLS",
        policy=TESTING,
        tls="",
        reported=[
            ("sts", DOMAIN, 0, 0, "starttls-not-supported"),
            ("no-policy-found", MX1, 0, 0, "starttls-not-supported"),
        ],
    ),
    Case(
        sentence="sts-testing",
        name="wrong name",
        hosts=(host(tls="wrong name"),),
        policy=TESTING,
        tls="unverified",
        reported=[
            ("sts", DOMAIN, 1, 1, "certificate-host-mismatch"),
            ("no-policy-found", MX1, 1, 1, ""),
        ],
    ),
    Case(sentence="sts-testing", name="verified", hosts=(host(tls="good"),), policy=TESTING, tls="pkix"),
    Case(sentence="sts-testing", name="broken", hosts=(host(tls="broken"),), policy=TESTING, tls=""),
    Case(
        sentence="sts-testing",
        name="does not skip",
        dns=dns(MX2),
        hosts=(host(TWO),),
        policy=TESTING,
        served=[TWO],
    ),
    Case(
        sentence="sts-domain",
        name="not of the CNAME",
        dns={"cname": {DOMAIN: "other.example"}, "mx": {"other.example": [(10, MX1)]}, "a": {MX1: [ONE]}},
        policy=ENFORCE,
        outcome=Deferred,
    ),
    Case(sentence="sts-domain", name="none to be fetched", policy="-"),
    # DANE
    Case(
        sentence="dane-verify",
        name="DANE-EE",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["good"]},
        tls="dane",
        reported=[("no-policy-found", DOMAIN, 1, 0, ""), ("tlsa", MX1, 1, 0, "")],
    ),
    Case(
        sentence="dane-verify",
        name="DANE-TA",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["ta"]},
        tls="dane",
    ),
    Case(
        sentence="dane-verify",
        name="DANE-TA, wrong name",
        hosts=(host(tls="wrong name"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["ta"]},
        outcome=Deferred,
    ),
    Case(
        sentence="dane-verify",
        name="no match",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["other"]},
        outcome=Deferred,
        reported=[
            ("no-policy-found", DOMAIN, 0, 1, ""),
            ("tlsa", MX1, 0, 1, "validation-failure dane-no-match"),
        ],
    ),
    Case(
        sentence="dane-verify",
        name="one of several",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["unusable", "other", "good"]},
        tls="dane",
    ),
    *[
        Case(
            sentence="dane-verify",
            name=f"{tls or 'no TLS'}",
            hosts=(host(tls=tls),),
            dns=dns(MX1, **SIGNED),
            tlsa={MX1: ["good"]},
            outcome=Deferred,
        )
        for tls in ("", "refused", "broken", "untrusted")
    ],
    *[
        Case(
            sentence="dane-verify",
            name=f"{what} not authenticated",
            hosts=(host(tls="good"),),
            dns=dns(MX1, all_authentic=True, inauthentic=[what]),
            tlsa={MX1: ["other"]},
            tls="unverified",
        )
        for what in (f"mx {DOMAIN}", f"a {MX1}", f"tlsa _25._tcp.{MX1}")
    ],
    Case(
        sentence="dane-verify",
        name="and MTA-STS",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["good"]},
        policy=ENFORCE,
        tls="pkix+dane",
    ),
    Case(
        sentence="dane-verify",
        name="MTA-STS does not override it",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["other"]},
        policy=ENFORCE,
        outcome=Deferred,
    ),
    Case(
        sentence="dane-unusable",
        name="unverified",
        hosts=(host(tls="untrusted"),),
        dns=dns(MX1, **SIGNED),
        tlsa={MX1: ["unusable"]},
        tls="unverified",
        reported=[
            ("no-policy-found", DOMAIN, 1, 0, ""),
            ("tlsa", MX1, 1, 0, "tlsa-invalid all-unusable-records+ignored"),
        ],
    ),
    *[
        Case(
            sentence="dane-unusable",
            name=f"{tls or 'no TLS'}",
            hosts=(host(tls=tls),),
            dns=dns(MX1, **SIGNED),
            tlsa={MX1: ["unusable"]},
            outcome=Deferred,
        )
        for tls in ("", "refused", "broken")
    ],
    Case(
        sentence="dane-lookup",
        name="defers",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED, fail={f"tlsa _25._tcp.{MX1}": "SERVFAIL"}),
        outcome=Deferred,
        enhanced="4.7.5",
        called=[],
        reported=[("tlsa", MX1, 0, 1, "tlsa-invalid dns-lookup")],
    ),
    Case(
        sentence="dane-lookup",
        name="bogus",
        hosts=(host(tls="good"),),
        dns=dns(MX1, **SIGNED, bogus=[f"tlsa _25._tcp.{MX1}"]),
        outcome=Deferred,
        called=[],
        reported=[("tlsa", MX1, 0, 1, "dnssec-invalid dns-extended-error-6-dnssec-bogus")],
    ),
    Case(
        sentence="dane-lookup",
        name="that host only",
        hosts=(host(ONE, tls="good"), host(TWO)),
        dns=dns(**SIGNED, fail={f"tlsa _25._tcp.{MX1}": "SERVFAIL"}),
        served=[TWO],
        called=[TWO],
    ),
    # without a policy
    Case(sentence="opportunistic", name="not offered", tls=""),
    *[
        Case(sentence="opportunistic", name=tls, hosts=(host(tls=tls),), tls="unverified")
        for tls in ("good", "wrong name", "untrusted")
    ],
    *[Case(sentence="fallback", name=tls, hosts=(host(tls=tls),), tls="") for tls in ("refused", "broken")],
    *[
        Case(
            sentence="reports",
            name=tls,
            hosts=(host(tls=tls),),
            message={"is_report": True},
            outcome=Deferred,
            reported=[],
        )
        for tls in ("refused", "broken")
    ],
    Case(sentence="reports", name="no TLS at all", message={"is_report": True}, tls=""),
    Case(
        sentence="reports",
        name="TLS-Required: No",
        hosts=(host(tls="broken"),),
        message={"is_report": True, "require_tls": NO},
        outcome=Deferred,
    ),
    # what the message requires
    *[
        Case(
            sentence="require-yes",
            name=name,
            hosts=(host(tls="good", extensions=REQUIRETLS),),
            dns=dns(MX1, **more),
            tlsa=tlsa,
            policy=policy,
            message={"require_tls": YES},
            tls=by,
        )
        for name, more, tlsa, policy, by in (
            ("MTA-STS", {}, {}, ENFORCE, "pkix"),
            ("DANE", SIGNED, {MX1: ["good"]}, None, "dane"),
        )
    ],
    *[
        Case(
            sentence="require-yes",
            name=name,
            hosts=(host(tls="good", extensions=REQUIRETLS),),
            dns=dns(MX1, **SIGNED),
            tlsa=tlsa,
            policy=policy,
            message={"require_tls": YES},
            outcome=Failed,
            code=554,
            enhanced="5.7.30",
            called=[],
        )
        for name, tlsa, policy in (
            ("no policy", {}, None),
            ("testing", {}, TESTING),
            ("unusable records", {MX1: ["unusable"]}, None),
        )
    ],
    Case(
        sentence="require-yes",
        name="no REQUIRETLS",
        hosts=(host(tls="good"),),
        policy=ENFORCE,
        message={"require_tls": YES},
        outcome=Failed,
        code=554,
        enhanced="5.7.30",
    ),
    Case(
        sentence="require-all",
        name="another host has it",
        hosts=(host(ONE, tls="good"), host(TWO, tls="good", extensions=REQUIRETLS)),
        dns=dns(),
        policy=ENFORCE + f"mx: {MX2}\n",
        message={"require_tls": YES},
        served=[TWO],
        tls="pkix",
    ),
    Case(
        sentence="require-all",
        name="another host is down",
        hosts=(host(ONE, tls="good"),),
        dns=dns(),
        policy=ENFORCE + f"mx: {MX2}\n",
        message={"require_tls": YES},
        outcome=Deferred,
    ),
    *[
        Case(
            sentence="require-no",
            name=f"MTA-STS, {tls or 'no TLS'}",
            hosts=(host(tls=tls),),
            policy=ENFORCE,
            message={"require_tls": NO},
            tls="unverified" if tls == "wrong name" else "",
        )
        for tls in ("", "wrong name", "broken")
    ],
    Case(
        sentence="require-no",
        name="MTA-STS, another host",
        dns=dns(MX2),
        hosts=(host(TWO),),
        policy=ENFORCE,
        message={"require_tls": NO},
        served=[TWO],
    ),
    *[
        Case(
            sentence="require-no",
            name=f"DANE, {tls or 'no TLS'}",
            hosts=(host(tls=tls),),
            dns=dns(MX1, **SIGNED),
            tlsa={MX1: ["good"]},
            message={"require_tls": NO},
            tls="unverified" if tls == "untrusted" else "",
        )
        for tls in ("", "untrusted", "broken")
    ],
    Case(
        sentence="require-no",
        name="TLSA not to be looked up",
        hosts=(host(),),
        dns=dns(MX1, **SIGNED, fail={f"tlsa _25._tcp.{MX1}": "SERVFAIL"}),
        message={"require_tls": NO},
    ),
    # what hosts say
    *[
        Case(
            sentence="permanent",
            name=at,
            hosts=(host(ONE, there=there), host(TWO)),
            dns=dns(),
            outcome=Failed,
            code=550,
            enhanced="5.1.1",
            called=[ONE],
        )
        for at, there in (
            ("MAIL FROM", {"answers": refuse("550 5.1.1 no")}),
            ("RCPT TO", {"answers": refuse("550 5.1.1 no", "RCPT TO:")}),
            ("DATA", {"answers": refuse("550 5.1.1 no", "DATA")}),
            ("end of data", {"answers": refuse("550 5.1.1 no", ".")}),
        )
    ],
    Case(
        sentence="permanent",
        name="greeting",
        hosts=(host(ONE, greeting="554 no service"), host(TWO)),
        dns=dns(),
        outcome=Failed,
        code=554,
        called=[ONE],
    ),
    *[
        Case(
            sentence="temporary",
            name=at,
            hosts=(host(ONE, there=there), host(TWO)),
            dns=dns(),
            served=[TWO],
        )
        for at, there in (
            ("greeting", {"greeting": "421 4.3.2 not now"}),
            ("disconnect", {"greeting": Close()}),
            ("MAIL FROM", {"answers": refuse("451 4.3.0 later")}),
            ("RCPT TO", {"answers": refuse("450 4.2.1 later", "RCPT TO:")}),
            ("DATA", {"answers": refuse("451 4.3.0 later", "DATA")}),
            ("disconnect at MAIL FROM", {"answers": {"MAIL FROM:": Close()}}),
        )
    ],
    Case(
        sentence="temporary",
        name="end of data",
        hosts=(host(ONE, answers=refuse("451 4.3.0 later", ".")), host(TWO)),
        dns=dns(),
        served=[ONE, TWO],
    ),
    Case(
        sentence="temporary",
        name="but not where the message may have arrived",
        hosts=(host(ONE, answers={".": Close()}), host(TWO)),
        dns=dns(),
        outcome=Unknown,
        served=[ONE],
        called=[ONE],
    ),
    Case(
        sentence="temporary",
        name="everywhere",
        hosts=(host(ONE, answers=refuse("451 4.3.0 later")), host(TWO, answers=refuse("452 4.3.1 full"))),
        dns=dns(),
        outcome=Deferred,
        code=452,
        called=[ONE, TWO],
    ),
    Case(
        sentence="temporary",
        name="what was said stands when the next one is down",
        hosts=(host(ONE, answers=refuse("451 4.3.0 later")),),
        dns=dns(),
        outcome=Deferred,
        code=451,
        text="later",
    ),
    # what the message needs
    Case(
        sentence="smtputf8",
        name="not offered",
        hosts=(host(extensions=("PIPELINING",)),),
        message={"needs_smtputf8": True},
        outcome=Deferred,
    ),
    Case(
        sentence="smtputf8",
        name="offered by another",
        hosts=(host(ONE, extensions=("PIPELINING",)), host(TWO)),
        dns=dns(),
        message={"needs_smtputf8": True},
        served=[TWO],
    ),
    Case(
        sentence="size",
        name="announced",
        hosts=(host(ONE, extensions=("SIZE 10",)), host(TWO)),
        dns=dns(),
        outcome=Failed,
        called=[ONE],
    ),
    Case(
        sentence="8bit",
        name="not offered",
        hosts=(host(extensions=("PIPELINING",)),),
        message={"needs_8bit": True},
        content=BODY + "grüße\r\n".encode(),
    ),
    Case(sentence="8bit", name="offered", message={"needs_8bit": True}, content=BODY + "grüße\r\n".encode()),
    Case(
        sentence="results",
        name="nothing offered",
        reported=[
            ("no-policy-found", DOMAIN, 0, 0, "starttls-not-supported"),
            ("no-policy-found", MX1, 0, 0, "starttls-not-supported"),
        ],
    ),
    Case(
        sentence="results",
        name="enforced, and failed",
        hosts=(host(tls="untrusted"),),
        policy=ENFORCE,
        outcome=Deferred,
        reported=[
            ("sts", DOMAIN, 0, 1, "certificate-not-trusted unable-to-get-local-issuer-certificate"),
            ("no-policy-found", MX1, 0, 1, ""),
        ],
    ),
    Case(
        sentence="results",
        name="STARTTLS refused",
        hosts=(host(tls="refused"),),
        policy=ENFORCE,
        outcome=Deferred,
        reported=[
            ("sts", DOMAIN, 0, 1, "starttls-not-supported smtp-starttls-reply-code-454"),
            ("no-policy-found", MX1, 0, 1, "starttls-not-supported smtp-starttls-reply-code-454"),
        ],
    ),
]


@pytest.fixture(scope="module")
def authorities() -> Authorities:
    return Authorities()


@pytest.mark.parametrize("case", CASES, ids=[f"{case.sentence}: {case.name}" for case in CASES])
async def test_direct_delivery(case: Case, authorities: Authorities) -> None:
    world = World(hosts=case.hosts, dns=case.dns, tlsa=case.tlsa, policy=case.policy, options=case.options)
    async with running(world, authorities) as there:
        [outcome] = await there.transport.deliver(
            delivery(case.recipient, content=InMemory(case.content), **case.message)
        )
    assert type(outcome) is case.outcome, outcome
    if not isinstance(outcome, Unknown):
        assert case.code in (None, outcome.code), outcome
        assert case.enhanced in (None, outcome.enhanced), outcome
    assert case.text in outcome.text
    delivered = [case.hosts[0].address] if case.outcome is Delivered else []
    if case.served is not None or case.outcome is Delivered:
        assert there.served() == (delivered if case.served is None else case.served)
    if case.called is not None:
        assert there.called() == case.called
    if case.tls is not None:
        assert outcome.trace.tls.partition(" ")[2] == case.tls
    for peer in there.peers.values():
        assert all(message == case.content for message in peer.messages)
    if case.reported is not None:
        assert sorted(map(told_of, there.merged())) == sorted(case.reported)


def told_of(result: Any) -> tuple[str, str, int, int, str]:
    details = [f"{each.result_type.value} {each.failure_reason_code}".strip() for each in result.details]
    return (result.policy.type.value, result.policy.domain, result.successful, result.failed, ", ".join(details))


def test_each_sentence_has_its_rows() -> None:
    assert {case.sentence for case in CASES} == set(SENTENCES)
