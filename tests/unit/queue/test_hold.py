"""Hold rules: an empty field matches anything, and all set fields must match."""

from itertools import product
from typing import Any

import pytest

from moxlib.queue.hold import first_match, matches
from moxlib.queue.types import HoldRule

FACTS = {"account": "shop", "sender_domain": "here.example", "recipient_domain": "there.example"}


@pytest.mark.parametrize("chosen", list(product(["unset", "equal", "other"], repeat=3)))
def test_a_rule_matches_when_each_field_is_unset_or_equal(chosen: tuple[str, ...]) -> None:
    fields: dict[str, Any] = {
        name: {"unset": "", "equal": fact, "other": f"x{fact}"}[how]
        for how, (name, fact) in zip(chosen, FACTS.items(), strict=True)
    }
    assert matches(HoldRule(**fields), **FACTS) == ("other" not in chosen)


def test_subdomains_are_other_domains() -> None:
    assert not matches(HoldRule(recipient_domain="example"), **FACTS)
    assert not matches(HoldRule(recipient_domain="mx.there.example"), **FACTS)


def test_an_empty_rule_holds_even_what_has_no_account_and_no_sender() -> None:
    assert matches(HoldRule(), account="", sender_domain="", recipient_domain="there.example")
    assert not matches(HoldRule(account="shop"), account="", sender_domain="", recipient_domain="there.example")


def test_the_first_match_is_returned() -> None:
    other, second, third = HoldRule(account="else"), HoldRule(account="shop"), HoldRule()
    assert first_match([other, second, third], **FACTS) is second
    assert first_match([other], **FACTS) is None
    assert first_match([], **FACTS) is None
