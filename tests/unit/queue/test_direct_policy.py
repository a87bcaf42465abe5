"""What must protect a connection: every combination of what decides it, against what is promised, said another way."""

from __future__ import annotations

from itertools import product

import pytest

from moxlib.dns import TLSA, Domain, parse_domain
from moxlib.queue import RequireTLS
from moxlib.queue.transport.direct.policy import DANE, Refusal, STSMode, Try, tries
from moxlib.smtpclient import TLSMode

RECORD = TLSA(usage=3, selector=1, matching_type=1, data=b"\x01" * 32)
NAMES: tuple[Domain, ...] = (parse_domain("mx.example.org"), parse_domain("example.org"))
RECORDS = {
    "no records": None,
    "usable": DANE(records=(RECORD,), names=NAMES),
    "unusable": DANE(records=(), names=NAMES),
}
IF_OFFERED = Try(mode=TLSMode.OPPORTUNISTIC)
IN_CLEAR = Try(mode=TLSMode.NONE)
EVERYTHING = list(product(STSMode, (True, False), RECORDS, RequireTLS, (False, True)))


def named(row: tuple[STSMode, bool, str, RequireTLS, bool]) -> str:
    sts, matches, records, require, report = row
    return f"sts {sts.value}, {'listed' if matches else 'not listed'}, {records}, {require.value}{', report' * report}"


class Promise:
    """What is promised for one combination; each of these stands on its own."""

    def __init__(self, row: tuple[STSMode, bool, str, RequireTLS, bool]) -> None:
        self.sts, self.matches, self.records, require, self.is_report = row
        self.follows_policies = require is not RequireTLS.NO
        self.requires = require is RequireTLS.YES
        self.enforced = self.sts is STSMode.ENFORCE
        self.decision = tries(
            sts=self.sts,
            sts_matches=self.matches,
            dane=RECORDS[self.records],
            require_tls=require,
            is_report=self.is_report,
        )

    @property
    def made(self) -> tuple[Try, ...]:
        return () if isinstance(self.decision, Refusal) else self.decision

    @property
    def something_forbids_clear_text(self) -> bool:
        return self.requires or (self.follows_policies and (self.enforced or self.records != "no records"))


@pytest.fixture(params=EVERYTHING, ids=[named(row) for row in EVERYTHING])
def promise(request: pytest.FixtureRequest) -> Promise:
    return Promise(request.param)


def test_nothing_goes_in_clear_where_something_forbids_it(promise: Promise) -> None:
    if promise.something_forbids_clear_text:
        assert not {made.mode for made in promise.made} & {TLSMode.NONE, TLSMode.OPPORTUNISTIC}


def test_after_tls_failed_there_is_one_try_in_clear_where_nothing_forbids_it(promise: Promise) -> None:
    allowed = not promise.something_forbids_clear_text and not promise.is_report
    assert [made for made in promise.made if made.mode is TLSMode.NONE] == [IN_CLEAR] * allowed
    if allowed:
        assert promise.made[-2:] == (IF_OFFERED, IN_CLEAR)


def test_an_enforced_policy_has_certificates_verified(promise: Promise) -> None:
    """But for `TLS-Required: No`, and then first of all."""
    if promise.enforced:
        assert all(made.pkix for made in promise.made[: None if promise.follows_policies else 1])


def test_usable_records_verify_every_connection(promise: Promise) -> None:
    if promise.records == "usable":
        assert all(made.dane == (RECORD,) for made in promise.made[: None if promise.follows_policies else 1])
        assert all(made.names == NAMES for made in promise.made if made.dane)


def test_unusable_records_demand_tls_that_nothing_verifies(promise: Promise) -> None:
    if promise.records == "unusable" and not promise.enforced and not promise.requires:
        assert promise.made[0] == Try(mode=TLSMode.REQUIRED, names=NAMES)


def test_what_the_message_requires_is_verified(promise: Promise) -> None:
    if promise.requires:
        assert all(made.mode is TLSMode.REQUIRED and (made.pkix or made.dane) for made in promise.made)


def test_testing_only_reports(promise: Promise) -> None:
    """A verified try comes first, where the policy lists the host; what follows is as without a policy."""
    if promise.sts is STSMode.TESTING and promise.records == "no records" and not promise.requires:
        verified = (Try(mode=TLSMode.OPPORTUNISTIC, pkix=True),) if promise.matches else ()
        assert promise.made == (*verified, IF_OFFERED, *([] if promise.is_report else [IN_CLEAR]))


def test_without_a_policy_tls_is_taken_where_it_is_offered(promise: Promise) -> None:
    if promise.sts is STSMode.NONE and promise.records == "no records" and not promise.requires:
        assert promise.made == ((IF_OFFERED,) if promise.is_report else (IF_OFFERED, IN_CLEAR))


def test_delivery_before_secrecy_tries_what_the_policies_say_and_then_without(promise: Promise) -> None:
    if not promise.follows_policies and (promise.enforced or promise.records != "no records"):
        first, *rest = promise.made
        assert first.mode is TLSMode.REQUIRED
        assert rest == [IF_OFFERED, *([] if promise.is_report else [IN_CLEAR])]


def test_a_host_is_refused_for_two_reasons_only(promise: Promise) -> None:
    mismatch = promise.follows_policies and promise.enforced and not promise.matches
    unverifiable = promise.requires and not promise.enforced and promise.records != "usable"
    assert isinstance(promise.decision, Refusal) == (mismatch or unverifiable)
    if isinstance(promise.decision, Refusal):
        assert (promise.decision.sts_mismatch, promise.decision.lacks_verification) == (mismatch, unverifiable)
        assert promise.decision.text
    else:
        assert promise.made


def test_no_try_is_made_twice_and_none_is_of_another_kind_of_tls(promise: Promise) -> None:
    assert len(set(promise.made)) == len(promise.made)
    assert TLSMode.IMMEDIATE not in {made.mode for made in promise.made}


def test_a_report_is_never_protected_less_than_another_message(promise: Promise) -> None:
    other = tries(
        sts=promise.sts,
        sts_matches=promise.matches,
        dane=RECORDS[promise.records],
        require_tls=RequireTLS.YES if promise.requires else RequireTLS.POLICY,
    )
    if promise.follows_policies:
        expected = other if isinstance(other, Refusal) else tuple(made for made in other if made.mode != TLSMode.NONE)
        report = tries(
            sts=promise.sts,
            sts_matches=promise.matches,
            dane=RECORDS[promise.records],
            require_tls=RequireTLS.YES if promise.requires else RequireTLS.POLICY,
            is_report=True,
        )
        assert report == expected


def test_the_table_has_every_combination() -> None:
    assert len(set(EVERYTHING)) == 3 * 2 * 3 * 3 * 2
