"""Unique senders: how they are made, matched and undone."""

import base64
import pickle
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from moxlib.errors import InputError
from moxlib.queue.fromid import (
    NO_FROMIDS,
    DuplicateFromID,
    FromIDConfig,
    FromIDForSeveral,
    InvalidFromID,
    fromid_of,
    given,
    mail_from,
    make,
    plain,
)
from moxlib.smtp import parse_address, parse_unquoted_address

OCTETS = bytes(range(240, 256))
FROMID = base64.urlsafe_b64encode(OCTETS).decode().rstrip("=")


def fixed(size: int) -> bytes:
    return OCTETS[:size]


def counting() -> Callable[[int], bytes]:
    numbers = count()
    return lambda size: next(numbers).to_bytes(size)


@pytest.mark.parametrize(
    ("sender", "separators", "expected"),
    [
        ("news@example.org", ("+",), f"news+{FROMID}@example.org"),
        ("news@example.org", ("-", "+"), f"news-{FROMID}@example.org"),
        ("news+old@example.org", ("+",), f"news+{FROMID}@example.org"),  # "the localpart cut at the first separator"
        ("news-a+b@example.org", ("+", "-"), f"news-a+{FROMID}@example.org"),
        ("a-b-c@example.org", ("-",), f"a-{FROMID}@example.org"),
        ("+news@example.org", ("+",), f"+news+{FROMID}@example.org"),
        ("news-@example.org", ("-=",), f"news--={FROMID}@example.org"),
        ('"a b"@example.org', ("+",), f'"a b+{FROMID}"@example.org'),
        ("jörg@bücher.example", ("+",), f"jörg+{FROMID}@xn--bcher-kva.example"),
        ("x" * 41 + "@example.org", ("+",), f"{'x' * 41}+{FROMID}@example.org"),
    ],
)
def test_a_fromid_stands_behind_the_first_separator(sender: str, separators: tuple[str, ...], expected: str) -> None:
    made = make(parse_address(sender), separators, fixed)
    assert str(made.address) == expected
    assert made.fromid == FROMID
    assert fromid_of(parse_address(expected), separators)[0] == FROMID


def test_a_fromid_is_16_octets_in_22_letters() -> None:
    assert len(FROMID) == 22
    assert base64.urlsafe_b64decode(FROMID + "==") == OCTETS
    asked: list[int] = []

    def listening(size: int) -> bytes:
        asked.append(size)
        return fixed(size)

    make(parse_address("a@example.org"), ("+",), listening)
    assert asked == [16]


@pytest.mark.parametrize(
    ("sender", "separators", "reason"),
    [
        ("x" * 42 + "@example.org", ("+",), "has 65 octets of 64"),
        ("ü" * 21 + "@example.org", ("+",), "has 65 octets of 64"),
        ("a@" + ".".join(["d" * 60] * 4) + ".example", ("+",), "longer than 256 octets"),
        ("a@example.org", (), "no localpart separator"),
    ],
)
def test_what_would_not_fit_is_refused_and_not_cut(sender: str, separators: tuple[str, ...], reason: str) -> None:
    with pytest.raises(InvalidFromID, match=reason) as caught:
        make(parse_address(sender), separators, fixed)
    assert caught.value.sender == str(parse_address(sender))
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (InvalidFromID, str(caught.value))


def test_each_recipient_has_its_own() -> None:
    sender = parse_address("news@example.org")
    made = mail_from(sender, recipients=3, separators=("+",), random=counting())
    assert len({one.fromid for one in made}) == len({one.address for one in made}) == 3
    assert mail_from(sender, recipients=0, separators=("+",), random=counting()) == ()


def test_one_given_over_smtp_is_used() -> None:
    sender = parse_address("news+mine@example.org")
    [one] = mail_from(sender, recipients=1, separators=("+", "-"), random=fixed, smtp=True)
    assert (one.address, one.fromid) == (sender, "mine")


def test_but_refused_with_several_recipients() -> None:
    sender = parse_address("news+mine@example.org")
    with pytest.raises(FromIDForSeveral) as caught:
        mail_from(sender, recipients=2, separators=("+",), random=fixed, smtp=True)
    assert (caught.value.code, caught.value.enhanced) == (554, "5.5.3")
    assert pickle.loads(pickle.dumps(caught.value)).sender == "news+mine@example.org"


@pytest.mark.parametrize("sender", ["news@example.org", "news+@example.org", "news-mine@example.org"])
def test_without_one_several_recipients_get_theirs(sender: str) -> None:
    made = mail_from(parse_address(sender), recipients=2, separators=("+", "-"), random=counting(), smtp=True)
    assert len({one.fromid for one in made}) == 2


def test_elsewhere_a_tag_of_the_sender_gives_way() -> None:
    [one] = mail_from(parse_address("news+tag@example.org"), recipients=1, separators=("+",), random=fixed)
    assert one.fromid == FROMID
    assert given(parse_address("news+tag@example.org"), ()) == ""


@pytest.mark.parametrize(
    ("address", "candidates"),
    [
        ("news+ab-cd@example.org", ("ab-cd", "cd")),  # "Matching tries every configured separator"
        ("news-ab@example.org", ("ab",)),
        ("news-a+b@example.org", ("b", "a+b")),
        ("news@example.org", ()),
        ("news+@example.org", ()),
        ("+news@example.org", ()),
        ('"a b+c d"@example.org', ("c d",)),
    ],
)
def test_every_separator_is_tried(address: str, candidates: tuple[str, ...]) -> None:
    assert fromid_of(parse_address(address), ("+", "-", "+")) == candidates


def test_an_address_of_a_header_may_be_longer() -> None:
    address = parse_unquoted_address("x" * 60 + f"+{FROMID}@example.org")
    assert address is not None
    assert fromid_of(address, ("+",)) == (FROMID,)


@pytest.mark.parametrize(
    ("address", "fromid", "expected"),
    [
        ("news+x@example.org", "x", "news@example.org"),
        ("news-x@example.org", "x", "news@example.org"),
        ("news+a+x@example.org", "x", "news+a@example.org"),
        ("news+x@example.org", "", "news+x@example.org"),
        ("news+x@example.org", "y", "news+x@example.org"),
        ("newsx@example.org", "x", "newsx@example.org"),
        ("+x@example.org", "x", "+x@example.org"),
        ('"a b+x"@bücher.example', "x", '"a b"@xn--bcher-kva.example'),
    ],
)
def test_a_sender_without_its_fromid(address: str, fromid: str, expected: str) -> None:
    assert str(plain(parse_address(address), fromid, ("+", "-"))) == expected


def test_who_logs_in_by_a_configured_address_gets_them() -> None:
    config = FromIDConfig.of(["mjl+fromid@example.org"], {"Bücher.example": ["+", "-"]})
    login = parse_address("mjl+fromid@example.org")
    sender, other = parse_address("a@bücher.example"), parse_address("a@example.org")
    assert config.applies(login, sender)
    assert config.separators_for(sender) == ("+", "-")
    assert not config.applies(parse_address("mjl@example.org"), sender)
    assert not config.applies(parse_address("MJL+fromid@example.org"), sender)
    assert not config.applies(None, sender)
    assert not config.applies(login, other), "its domain has no separators"
    assert not NO_FROMIDS.applies(login, sender)


@pytest.mark.parametrize(
    "separators",
    [
        {"example.org": ("",)},
        {"example.org": ("a",)},
        {"example.org": ("@",)},
        {"example.org": ('"',)},
        {"example.org": ("+ ",)},
        {"example.org": ("-+=/?^_`{",)},
        {"example.org": ("--",)},
        {"example.org": ("-+-",)},
        {"example.org": ("\u0301",)},
        {"example.org": ("+",) * 11},
        {"example.org": "+-"},
        {"Example.org": ("+",)},
        {"bücher.example": ("+",)},
    ],
)
def test_separators_that_could_not_separate_are_refused(separators: Any) -> None:
    with pytest.raises(InputError):
        FromIDConfig(separators=separators)


@pytest.mark.parametrize(
    ("logins", "separators"), [(["nobody"], {}), ([], {"exa mple": ["+"]}), ([], {"example.org": ["a"]})]
)
def test_texts_that_cannot_be_read_are_refused(logins: list[str], separators: dict[str, list[str]]) -> None:
    with pytest.raises(InputError):
        FromIDConfig.of(logins, separators)


def test_a_duplicate_has_its_error() -> None:
    error = DuplicateFromID(sender="a+x@example.org")
    assert (error.code, error.enhanced) == (554, "5.1.7")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
