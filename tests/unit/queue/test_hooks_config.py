"""Endpoints: what is refused before anything is sent, and which addresses are not public."""

import pickle
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest

from moxlib.errors import InputError, RemoteError
from moxlib.queue import RetrySchedule
from moxlib.queue.hooks import HOOK_SCHEDULE, AddressRefused, HookConfig
from moxlib.queue.hooks.addresses import why_refused
from moxlib.webhook import OutgoingEvent, Secret, decode_any

URL = "https://hooks.example/in"
SECRET = Secret(bytes(32))


def test_an_endpoint_has_moxs_defaults_where_mox_has_any() -> None:
    config = HookConfig(url=URL)
    assert (config.timeout, config.schedule) == (timedelta(seconds=60), HOOK_SCHEDULE)
    assert (config.keep, config.max_at_once, config.batch, config.allow_private) == ("all", 4, 1, False)
    assert (config.authorization, config.secrets, config.events) == ("", (), frozenset())


def test_secrets_do_not_show() -> None:
    shown = repr(HookConfig(url=URL, authorization="Bearer hush", secrets=(SECRET,)))
    assert "hush" not in shown
    assert repr(SECRET.key) not in shown


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example",
        "https://hooks.example:8443/a/b;c=1,2?x=%2F&y=a+b:@?",
        "HTTPS://Hooks.Example./",
        "http://under_score.internal/",
        "http://xn--mnchen-3ya.example/",
        "http://93.184.215.14/",
        "http://[2a00:1450::5]:8080/?x",
        "https://localhost.example/",
        "https://1.example/",
        "https://" + ".".join(["a" * 63] * 3) + ".example/" + "b" * 1800,
    ],
)
def test_urls_that_are_taken(url: str) -> None:
    assert HookConfig(url=url).url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example",
        "://bad",
        "ftp://hooks.example/",
        "file:///etc/passwd",
        "unix:/run/x",
        "http://",
        "http:///x",
        "http://:80/",
        "http://user@hooks.example/",
        "http://user:hush@hooks.example/",
        "http://hooks.example#x",
        "http://hooks.example/#x",
        "http://hooks.example\\@evil.example/",
        "http://hooks.example /",
        "http://hooks.example/ x",
        "http://hooks.example/\r\nX: y",
        "http://hooks.example/\n",
        "http://hooks.example/\u00e9",
        "http://m\u00fcnchen.example/",
        "http://hooks.example/%zz",
        "http://%31%32%37.0.0.1/",
        "http://hooks.example:/",
        "http://hooks.example:0/",
        "http://hooks.example:65536/",
        "http://hooks.example:x/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://[1.2.3.4]/",
        "http://[:::]/",
        "http://" + "a" * 64 + ".example/",
        "http://./",
        "http://../",
        "http://.example/",
        "http://a..example/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1.1/",
        "http://1.2.3.256/",
        "http://1.2.3.0x4./",
        "http://0x/",
        "https://hooks.example/" + "b" * 2048,
    ],
)
def test_urls_that_are_refused_for_everybody(url: str) -> None:
    for allow_private in (False, True):
        with pytest.raises(InputError) as caught:
            HookConfig(url=url, allow_private=allow_private)
        assert len(str(caught.value)) < 400
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost/",
        "http://LOCALHOST.:8080/",
        "http://x.localhost/",
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://10.1.2.3/",
        "http://169.254.169.254/latest/meta-data",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::]/",
        "http://[::ffff:8.8.8.8]/",
        "http://[fd00::1]/",
        "http://[64:ff9b::10.0.0.1]/",
    ],
)
def test_urls_of_this_machine_and_its_neighbours_have_to_be_allowed(url: str) -> None:
    with pytest.raises(InputError, match="allow_private"):
        HookConfig(url=url)
    assert HookConfig(url=url, allow_private=True).url == url


def test_the_query_of_a_url_may_be_secret() -> None:
    with pytest.raises(InputError) as caught:
        HookConfig(url="http://hooks.example/?token=hush#")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"authorization": "x\r\nY: z"},
        {"keep": "some"},
        {"max_at_once": 0},
        {"max_at_once": 101},
        {"batch": 0},
        {"batch": 101},
        {"timeout": timedelta(0)},
        {"timeout": timedelta(hours=2)},
        {"events": frozenset({"exploded"})},
    ],
)
def test_values_out_of_range_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        HookConfig(url=URL, **options)


def test_events_are_chosen_or_all_are_sent() -> None:
    assert HookConfig(url=URL).wants(OutgoingEvent.DELIVERED)
    chosen = HookConfig(url=URL, events=frozenset({OutgoingEvent.FAILED}))
    assert [event for event in OutgoingEvent if chosen.wants(event)] == [OutgoingEvent.FAILED]


def test_a_call_carries_one_payload_or_a_list() -> None:
    one, two = b'{"Event":"failed"}', b'{"Event":"delayed"}'
    single = HookConfig(url=URL).call([(5, one)], attempt=2)
    assert (single.ids, single.attempt, single.body) == ((5,), 2, one)
    batch = HookConfig(url=URL, batch=2)
    assert batch.call([(5, one)], attempt=1).body == b"[" + one + b"]"
    both = batch.call([(5, one), (6, two)], attempt=1)
    assert both.ids == (5, 6)
    assert [getattr(payload, "event", None) for payload in decode_any(both.body)] == ["failed", "delayed"]
    for config, count in ((HookConfig(url=URL), 0), (HookConfig(url=URL), 2), (batch, 3)):
        with pytest.raises(InputError):
            config.call([(5, one)] * count, attempt=1)


def test_the_schedule_is_data() -> None:
    assert HookConfig(url=URL, schedule=RetrySchedule.parse("1s*3")).schedule.max_attempts == 4


@pytest.mark.parametrize(
    ("address", "what"),
    [
        ("0.0.0.0", "this host"),
        ("0.255.255.255", "this host"),
        ("10.0.0.0", "private"),
        ("10.255.255.255", "private"),
        ("100.64.0.0", "shared by a carrier's customers"),
        ("100.127.255.255", "shared by a carrier's customers"),
        ("127.0.0.1", "loopback"),
        ("127.255.255.255", "loopback"),
        ("168.63.129.16", "the metadata server of Azure"),
        ("169.254.169.254", "link-local"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.0.0.8", "reserved for protocols"),
        ("192.0.2.1", "for documentation"),
        ("192.88.99.1", "a 6to4 relay"),
        ("192.168.0.0", "private"),
        ("198.18.0.0", "for benchmarks"),
        ("198.19.255.255", "for benchmarks"),
        ("198.51.100.1", "for documentation"),
        ("203.0.113.1", "for documentation"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved, or broadcast"),
        ("255.255.255.255", "reserved, or broadcast"),
        ("::", "this host"),
        ("::1", "loopback"),
        ("::127.0.0.1", "not of the public Internet"),
        ("::ffff:127.0.0.1", "a mapped IPv4 address"),
        ("::ffff:8.8.8.8", "a mapped IPv4 address"),
        ("64:ff9b::127.0.0.1", "loopback"),
        ("64:ff9b::10.0.0.1", "private"),
        ("64:ff9b:1::8.8.8.8", "not of the public Internet"),
        ("100::1", "not of the public Internet"),
        ("2001::1", "reserved for protocols"),
        ("2001:db8::1", "for documentation"),
        ("2002:7f00:1::", "6to4, which carries an IPv4 address"),
        ("3fff::1", "for documentation"),
        ("4000::1", "not of the public Internet"),
        ("5f00::1", "not of the public Internet"),
        ("fc00::1", "private"),
        ("fd00:ec2::254", "private"),
        ("fe80::1", "link-local"),
        ("fe80::1%lo", "link-local"),
        ("fec0::1", "site-local"),
        ("ff02::1", "multicast"),
    ],
)
def test_addresses_that_are_not_public(address: str, what: str) -> None:
    assert why_refused(ip_address(address)) == what


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:4860:4860::8888",
        "2a00:1450::5",
        "2606:4700::1111",
        "64:ff9b::8.8.8.8",
    ],
)
def test_addresses_that_are_public(address: str) -> None:
    assert why_refused(ip_address(address)) is None


def test_the_error_survives_pickling() -> None:
    error = AddressRefused("127.0.0.1", "loopback")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.address, copy.reason, str(copy)) == ("127.0.0.1", "loopback", "'127.0.0.1' is loopback")
    assert isinstance(copy, RemoteError)
