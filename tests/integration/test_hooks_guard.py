"""Webhooks do not go to private addresses: however the URL says it, and whatever the DNS says each time."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

import pytest
from tests.integration.hook_receiver import Receiver, receiving, saying

from moxlib.queue.hooks import AddressRefused, CallResult, HookCaller, HookConfig, Retry, Success
from moxlib.queue.hooks import caller as caller_module
from moxlib.testing import FakeClock, MockResolver

HOST = "hook.example"


async def call(caller: HookCaller, url: str, *, allow_private: bool = False) -> CallResult:
    config = HookConfig(url="http://hook.example/", allow_private=allow_private)
    object.__setattr__(config, "url", url)  # past the checks that say early what the guard would say later
    return await caller.call(config, config.call([(1, b"{}")], attempt=1))


def refused(result: CallResult, receiver: Receiver) -> None:
    assert (result.status, result.verdict) == (0, Retry())
    assert " is " in result.error
    assert receiver.connections == 0


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1.",
        "127.1",
        "127.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7f.1",
        "0177.0.0.01",
        "0",
        "0.0.0.0",
        "localhost",
        "LOCALHOST",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
    ],
)
async def test_no_spelling_of_this_machine_gets_through(host: str) -> None:
    async with receiving(saying()) as receiver, HookCaller(clock=FakeClock()) as caller:
        result = await call(caller, receiver.url(host=host))
        assert (result.status, result.verdict) == (0, Retry())
        assert result.error
        assert receiver.connections == 0


@pytest.mark.parametrize("addresses", [["127.0.0.1"], ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"] * 3])
async def test_names_that_lead_to_this_machine_do_not_get_through(addresses: list[str]) -> None:
    resolver = MockResolver(a={HOST: addresses}, aaaa={HOST: ["::1", "::ffff:127.0.0.1"]})
    async with receiving(saying()) as receiver, HookCaller(clock=FakeClock(), resolver=resolver) as caller:
        refused(await call(caller, receiver.url(host=HOST)), receiver)
        assert (await call(caller, receiver.url(host=HOST), allow_private=True)).verdict == Success()


async def test_the_error_names_address_and_reason() -> None:
    resolver = MockResolver(a={HOST: ["127.0.0.1"]})
    async with receiving(saying()) as receiver, HookCaller(clock=FakeClock(), resolver=resolver) as caller:
        result = await call(caller, receiver.url(host=HOST))
    assert result.error == "not connected: '127.0.0.1' is loopback"


async def test_connections_of_those_who_may_are_not_used_for_those_who_may_not() -> None:
    resolver = MockResolver(a={HOST: ["127.0.0.1"]})
    async with receiving(saying()) as receiver, HookCaller(clock=FakeClock(), resolver=resolver) as caller:
        for _ in range(2):
            assert (await call(caller, receiver.url(host=HOST), allow_private=True)).verdict == Success()
            assert (await call(caller, receiver.url(host=HOST))).verdict == Retry()
    assert (receiver.connections, len(receiver.requests)) == (1, 2)


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> str:
    """Let one address of loopback be public for once, as no test may leave it."""

    def check(address: str) -> None:
        if address != "127.0.0.2":
            raise AddressRefused(address, "not 127.0.0.2")

    monkeypatch.setattr(caller_module, "check_address", check)
    return "127.0.0.2"


async def test_of_several_addresses_the_public_ones_are_used(public: str) -> None:
    resolver = MockResolver(a={HOST: ["127.0.0.1", "10.0.0.1", public, "169.254.169.254"]})
    async with receiving(saying(), host=public) as receiver, HookCaller(clock=FakeClock(), resolver=resolver) as caller:
        assert (await call(caller, receiver.url(host=HOST))).verdict == Success()


@dataclass
class Rebinding:
    """A resolver whose answer is another one each time."""

    answers: list[str]

    @property
    def records(self) -> Sequence[object]:
        return [ip_address(self.answers.pop(0))]

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> "Rebinding":
        return self


async def test_a_name_whose_address_changes_is_checked_each_time(public: str) -> None:
    resolver = Rebinding([public, "127.0.0.1", public])
    async with (
        receiving(saying(close=True), host="0.0.0.0") as receiver,
        HookCaller(clock=FakeClock(), resolver=resolver) as caller,  # type: ignore[arg-type]
    ):
        verdicts = [(await call(caller, receiver.url(host=HOST))).verdict for _ in range(3)]
    assert verdicts == [Success(), Retry(), Success()]
    assert receiver.connections == 2


def test_what_is_checked_is_what_is_connected_to() -> None:
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.1", 80))
    with pytest.raises(AddressRefused) as caught:
        caller_module._guarded_socket(info)
    assert (caught.value.address, caught.value.reason) == ("10.0.0.1", "private")
    with caller_module._guarded_socket((*info[:4], ("93.184.215.14", 80))) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
