"""`MockResolver`: what tests say to it and ask of it; what it answers, the resolvers' contract tests."""

import pytest

from moxlib.dns import MX, TLSA, DNSError, InvalidDomain
from moxlib.errors import InputError
from moxlib.testing import MockResolver


async def test_what_was_asked_is_kept() -> None:
    resolver = MockResolver(cname={"www.example.com": "example.com"}, fail=["mx example.com"])
    await resolver.lookup_ip("Example.com.")
    await resolver.lookup_ip("example.com", ipv6=False)
    await resolver.lookup_ip("example.com", ipv4=False)
    with pytest.raises(DNSError):
        await resolver.lookup_mx("www.example.com")
    await resolver.lookup_txt("_mta-sts.example.com")
    await resolver.lookup_tlsa("_25._tcp.mx.example.com")
    await resolver.lookup_cname("www.example.com")
    assert resolver.lookups == [
        "ip example.com",
        "a example.com",
        "aaaa example.com",
        "mx www.example.com",
        "txt _mta-sts.example.com",
        "tlsa _25._tcp.mx.example.com",
        "cname www.example.com",
    ]


async def test_records_may_be_given_as_what_they_become() -> None:
    mx = MX(preference=10, host="mx.example.com")
    tlsa = TLSA(usage=3, selector=1, matching_type=1, data=b"\x01" * 32)
    resolver = MockResolver(
        mx={"a.example": [mx], "b.example": [(10, "MX.example.com.")]},
        tlsa={"a.example": [tlsa], "b.example": [(3, 1, 1, b"\x01" * 32)]},
    )
    for name in ("a.example", "b.example"):
        assert (await resolver.lookup_mx(name)).records == (mx,)
        assert (await resolver.lookup_tlsa(name)).records == (tlsa,)


@pytest.mark.parametrize("where", ["MX Example.com.", "example.com", "cname www.example.com", "www.example.com"])
async def test_failures_by_type_or_name_also_on_the_way(where: str) -> None:
    resolver = MockResolver(
        mx={"example.com": [(10, "mx.example.com")]},
        cname={"www.example.com": "example.com"},
        fail={where: "no answer"},
    )
    with pytest.raises(DNSError) as caught:
        await resolver.lookup_mx("www.example.com")
    assert (caught.value.name, caught.value.kind, caught.value.reason) == ("www.example.com", "MX", "no answer")
    assert not caught.value.bogus


async def test_failures_of_another_type_or_name_do_not_matter() -> None:
    resolver = MockResolver(mx={"example.com": [(10, "mx.example.com")]}, fail=["txt example.com", "mx.example.com"])
    assert (await resolver.lookup_mx("example.com")).records


async def test_ip_is_both_families() -> None:
    resolver = MockResolver(
        a={"mx.example": ["192.0.2.1"]}, aaaa={"mx.example": ["2001:db8::1"]}, fail=["ip mx.example"]
    )
    for families in ({}, {"ipv4": False}, {"ipv6": False}):
        with pytest.raises(DNSError):
            await resolver.lookup_ip("mx.example", **families)


@pytest.mark.parametrize(
    ("options", "authentic"),
    [
        ({}, False),
        ({"all_authentic": True}, True),
        ({"authentic": ["mx example.com"]}, True),
        ({"authentic": ["EXAMPLE.com."]}, True),
        ({"authentic": ["txt example.com"]}, False),
        ({"all_authentic": True, "inauthentic": ["example.com"]}, False),
        ({"all_authentic": True, "inauthentic": ["txt example.com"]}, True),
        ({"authentic": ["example.com"], "inauthentic": ["mx example.com"]}, False),
    ],
)
async def test_what_is_authentic(options: dict[str, object], authentic: bool) -> None:
    resolver = MockResolver(mx={"example.com": [(10, "mx.example.com")]}, **options)  # type: ignore[arg-type]
    assert (await resolver.lookup_mx("example.com")).authentic is authentic


@pytest.mark.parametrize("where", ["max example.com", "mx  example.com", "ns example.com"])
@pytest.mark.parametrize("option", ["fail", "bogus", "authentic", "inauthentic"])
def test_a_type_that_is_never_looked_up_is_a_mistake(option: str, where: str) -> None:
    with pytest.raises(InputError):
        MockResolver(**{option: [where]})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["mx", "a", "aaaa", "txt", "tlsa"])
def test_a_name_that_is_none_is_a_mistake(option: str) -> None:
    with pytest.raises(InvalidDomain):
        MockResolver(**{option: {"a..example": []}})  # type: ignore[arg-type]
