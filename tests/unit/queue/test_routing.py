"""Routes: domains, subdomains, attempts already made, and the first that matches."""

import pytest

from moxlib.errors import InputError
from moxlib.queue.routing import Route, choose


@pytest.mark.parametrize(
    ("patterns", "domain", "matches"),
    [
        ((), "there.example", True),
        (("there.example",), "there.example", True),
        (("there.example",), "mx.there.example", False),
        (("there.example",), "elsewhere.example", False),
        ((".there.example",), "there.example", True),
        ((".there.example",), "mx.there.example", True),
        ((".there.example",), "a.b.there.example", True),
        ((".there.example",), "notthere.example", False),
        ((".there.example",), "there.example.org", False),
        (("a.example", ".there.example"), "mx.there.example", True),
        (("a.example", "b.example"), "b.example", True),
        (("a.example",), "", False),
        ((), "", True),
    ],
)
def test_domains(patterns: tuple[str, ...], domain: str, matches: bool) -> None:
    to = Route(transport="t", recipient_domains=patterns)
    assert to.matches(sender_domain="here.example", recipient_domain=domain, attempts=0) == matches
    by = Route(transport="t", sender_domains=patterns)
    assert by.matches(sender_domain=domain, recipient_domain="x.example", attempts=0) == matches


def test_sender_and_recipient_must_both_match() -> None:
    route = Route(transport="t", sender_domains=("a.example",), recipient_domains=("b.example",))
    assert route.matches(sender_domain="a.example", recipient_domain="b.example", attempts=0)
    assert not route.matches(sender_domain="b.example", recipient_domain="b.example", attempts=0)
    assert not route.matches(sender_domain="a.example", recipient_domain="a.example", attempts=0)


def test_a_route_may_wait_for_attempts_to_fail() -> None:
    route = Route(transport="t", min_attempts=2)
    applies = [route.matches(sender_domain="a", recipient_domain="b", attempts=n) for n in range(4)]
    assert applies == [False, False, True, True]


def test_the_first_route_that_matches_is_chosen() -> None:
    late = Route(transport="late", min_attempts=3)
    local = Route(transport="local", recipient_domains=(".here.example",))
    everything = Route(transport="relay")
    routes = [late, local, everything]

    def chosen(domain: str, attempts: int) -> Route | None:
        return choose(routes, sender_domain="here.example", recipient_domain=domain, attempts=attempts)

    assert chosen("mx.here.example", 0) is local
    assert chosen("there.example", 0) is everything
    assert chosen("mx.here.example", 3) is late
    assert choose([local], sender_domain="x", recipient_domain="there.example", attempts=0) is None
    assert choose([], sender_domain="x", recipient_domain="there.example", attempts=0) is None


@pytest.mark.parametrize("domain", ["Here.example", "bücher.example", "", "."])
def test_a_domain_that_would_never_match_is_refused(domain: str) -> None:
    with pytest.raises(InputError, match="lower-case ASCII"):
        Route(transport="t", sender_domains=(domain,))
    with pytest.raises(InputError, match="lower-case ASCII"):
        Route(transport="t", recipient_domains=("here.example", domain))
