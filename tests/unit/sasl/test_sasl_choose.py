"""Which mechanism is taken."""

import pickle

import pytest

from moxlib.errors import InputError
from moxlib.sasl import DEFAULT_MECHANISMS, MECHANISMS, Credentials, NoMechanism, choose_mechanism

UNIQUE = b"tls-unique"
EVERYTHING = tuple(reversed(MECHANISMS))


def chosen(offered: tuple[str, ...], mechanisms: tuple[str, ...] = DEFAULT_MECHANISMS, **connection: object) -> str:
    credentials = Credentials(username="mjl", password="x", token="t", mechanisms=mechanisms)
    return choose_mechanism(offered, credentials, **connection).name  # type: ignore[arg-type]  # as each case gives them


@pytest.mark.parametrize(
    ("offered", "connection", "name"),
    [
        (EVERYTHING, {}, "SCRAM-SHA-256"),
        (EVERYTHING, {"channel_binding": UNIQUE}, "SCRAM-SHA-256-PLUS"),
        (("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), {"channel_binding": UNIQUE}, "SCRAM-SHA-1-PLUS"),
        (("SCRAM-SHA-1", "SCRAM-SHA-1-PLUS"), {}, "SCRAM-SHA-1"),
        (("CRAM-MD5", "SCRAM-SHA-1"), {}, "SCRAM-SHA-1"),
        (("LOGIN", "CRAM-MD5", "PLAIN"), {"verified_tls": True}, "CRAM-MD5"),
    ],
)
def test_the_strongest(offered: tuple[str, ...], connection: dict[str, object], name: str) -> None:
    assert chosen(offered, DEFAULT_MECHANISMS, **connection) == name


@pytest.mark.parametrize(
    ("binding", "offered", "flag"),
    [
        (None, ("SCRAM-SHA-256",), b"n"),
        (None, ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), b"n"),
        (UNIQUE, ("SCRAM-SHA-256",), b"y"),
        (UNIQUE, ("SCRAM-SHA-256", "SCRAM-SHA-1-PLUS"), b"n"),
        (UNIQUE, ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), b"p"),
    ],
)
def test_the_flag_of_channel_binding(binding: bytes | None, offered: tuple[str, ...], flag: bytes) -> None:
    credentials = Credentials(username="mjl", password="x")
    step = choose_mechanism(offered, credentials, channel_binding=binding, nonce=lambda: "n").step()
    assert (step.data or b"")[:1] == flag


def test_a_password_is_not_shown_unless_asked_for() -> None:
    for offered in (("PLAIN",), ("LOGIN",), ("XOAUTH2",)):
        with pytest.raises(NoMechanism) as caught:
            chosen(offered, verified_tls=True)
        assert caught.value.withheld == ()
        assert chosen(offered, offered, verified_tls=True) == offered[0]


@pytest.mark.parametrize("name", ["PLAIN", "LOGIN", "XOAUTH2"])
def test_a_password_is_shown_only_over_verified_tls_unless_told(name: str) -> None:
    with pytest.raises(NoMechanism) as caught:
        chosen((name,), (name,))
    assert caught.value.withheld == (name,)
    told = Credentials(username="mjl", mechanisms=(name,), cleartext_without_verified_tls=True)
    assert choose_mechanism((name,), told).name == name


@pytest.mark.parametrize("connection", [{}, {"verified_tls": True}, {"channel_binding": UNIQUE}])
@pytest.mark.parametrize("others", [("PLAIN",), DEFAULT_MECHANISMS, MECHANISMS])
def test_a_certificate_goes_before_all_that_has_a_secret(
    others: tuple[str, ...], connection: dict[str, object]
) -> None:
    assert chosen(EVERYTHING, ("EXTERNAL", *others), **connection) == "EXTERNAL"


def test_external_needs_a_server_that_offers_it_and_someone_who_asks_for_it() -> None:
    assert chosen(("PLAIN", "SCRAM-SHA-1"), MECHANISMS, verified_tls=True) == "SCRAM-SHA-1"
    with pytest.raises(NoMechanism):
        chosen(("EXTERNAL",))


@pytest.mark.parametrize(("username", "data"), [("", b""), ("ann", b"ann"), ("änn", "änn".encode())])
def test_external_says_at_most_who_one_wants_to_be(username: str, data: bytes) -> None:
    """RFC 4422 A.1."""
    mechanism = choose_mechanism(("EXTERNAL",), Credentials(username=username, mechanisms=("EXTERNAL",)))
    assert not mechanism.cleartext
    step = mechanism.step()
    assert (step.data, step.last) == (data, True)


def test_the_order_of_those_that_show_a_secret() -> None:
    shown = ("LOGIN", "PLAIN", "XOAUTH2")
    assert chosen(shown, shown, verified_tls=True) == "XOAUTH2"
    assert chosen(shown[:2], shown, verified_tls=True) == "PLAIN"
    with pytest.raises(NoMechanism) as caught:
        chosen(shown, shown)
    assert caught.value.withheld == ("XOAUTH2", "PLAIN", "LOGIN")


def test_what_is_offered_is_shown_bounded_and_escaped() -> None:
    offered = ("X\x1b" * 100,) * 1000
    with pytest.raises(NoMechanism) as caught:
        chosen(offered)
    assert len(str(caught.value)) < 2500
    assert "\x1b" not in str(caught.value)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.offered, str(again)) == (offered, str(caught.value))


@pytest.mark.parametrize(
    "wrong",
    [
        {"mechanisms": ("PLAIN", "plain")},
        {"password": "a\0b"},
        {"username": "a\0b"},
        {"mechanisms": ("XOAUTH2",), "token": "a\x01b"},
        {"username": "a\udc80b"},
        {"password": "a\udc80b"},
        {"token": "a\udc80b"},
    ],
)
def test_credentials_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError) as caught:
        Credentials(**({"username": "mjl"} | wrong))  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.__context__ is None  # nothing with the secret in it


def test_secrets_are_not_shown() -> None:
    shown = repr(Credentials(username="mjl", password="hunter2", token="ya29"))
    assert "hunter2" not in shown
    assert "ya29" not in shown
