"""Base addresses: what makes two addresses one mailbox, and what does not."""

from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.suppression import BaseRules, base_address, mox_base_address
from moxlib.smtp import Address, Path, parse_address, parse_path, parse_unquoted_address


def base(text: str, rules: BaseRules | None = None) -> str:
    path = parse_path(text)
    return str(base_address(path) if rules is None else base_address(path, rules))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("Jane@Example.ORG", "jane@example.org"),
        ("jane+shop@example.org", "jane@example.org"),
        ("jane+a+b@example.org", "jane@example.org"),
        ("jean-luc@example.org", "jean-luc@example.org"),  # "`jean-luc@x` does not suppress `jean@x`"
        ("j.doe@example.org", "j.doe@example.org"),
        ("J.Doe+x@gmail.com", "jdoe@gmail.com"),  # "dots are dropped only for domains known to ignore them"
        ("j.doe@googlemail.com", "jdoe@googlemail.com"),
        ("j.doe@mail.gmail.com", "j.doe@mail.gmail.com"),
        ("+tag@example.org", "+tag@example.org"),  # "never to an empty localpart"
        ("++tag@example.org", "+@example.org"),
        ('"..."@gmail.com', '"..."@gmail.com'),
        ('".+x"@gmail.com', "+x@gmail.com"),
        ('""@example.org', '""@example.org'),
        ('"A B+c"@example.org', '"a b"@example.org'),
        ("JÖRG@bücher.example", "jörg@xn--bcher-kva.example"),
        ("ΣΊΣΥΦΟΣ+x@example.org", "σίσυφοσ@example.org"),
        ("User.x+y@[192.0.2.1]", "user.x@[192.0.2.1]"),
        ("<>", ""),
    ],
)
def test_only_what_a_domain_is_known_to_ignore_is_taken_off(address: str, expected: str) -> None:
    assert base(address) == expected


def test_separators_are_configured_for_the_recipient_domain() -> None:
    rules = BaseRules(separators={"dash.example": ("-", "+"), "none.example": ()}, dotless_domains=frozenset())
    assert base("a-b+c@dash.example", rules) == "a@dash.example"
    assert base("a+b-c@dash.example", rules) == "a@dash.example"
    assert base("a+b@none.example", rules) == "a+b@none.example"
    assert base("a-b+c@other.example", rules) == "a-b@other.example"
    assert base("a.b@gmail.com", rules) == "a.b@gmail.com"


def test_dots_that_hide_a_separator_do_not_leave_another_for_the_next_time() -> None:
    rules = BaseRules(separators={"gmail.com": ("--",)})
    assert base("a-.-b@gmail.com", rules) == "a@gmail.com"


def test_an_address_and_its_path_have_one_base_address() -> None:
    address = parse_address("J.Doe+x@gmail.com")
    assert base_address(address) == base_address(Path.of(address))


def test_a_name_that_does_not_fit_in_lower_case_stays_as_it_is() -> None:
    address = parse_unquoted_address("Ⱥ" * 64 + "@example.org")  # 128 octets, and 192 in lower case
    assert isinstance(address, Address)
    assert base_address(address) == Path.of(address)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("First.Last-Tag@example.org", "firstlast@example.org"),
        ("+tag@münchen.example", '""@münchen.example'),
        ("İ@example.org", "i@example.org"),
        ("x.y@[192.0.2.1]", "xy@192.0.2.1"),
    ],
)
def test_mox_has_its_own_form(address: str, expected: str) -> None:
    assert mox_base_address(parse_path(address)).text(utf8=True) == expected


@pytest.mark.parametrize(
    "options",
    [
        {"default_separators": ("",)},
        {"default_separators": ("a",)},
        {"default_separators": (".",)},
        {"default_separators": ("@",)},
        {"default_separators": ("+",) * 11},
        {"separators": {"example.org": ("+", " ")}},
        {"separators": {"Example.org": ("+",)}},
        {"dotless_domains": frozenset(("bücher.example",))},
    ],
)
def test_rules_that_match_never_or_always_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        BaseRules(**options)


def test_rules_keep_nothing_of_what_the_caller_may_change() -> None:
    given: dict[str, tuple[str, ...]] = {"example.org": ("-",)}
    rules = BaseRules(separators=given)
    given["example.org"] = ()
    assert base("a-b@example.org", rules) == "a@example.org"
