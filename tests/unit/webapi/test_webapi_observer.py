"""What an observer hears of messages that are to be sent, and that one which raises harms nobody."""

from datetime import timedelta

import pytest

from moxlib.dns import parse_domain
from moxlib.queue import Queue, QueueConfig
from moxlib.smtp import parse_address
from moxlib.testing import FakeClock, MemoryStorage
from moxlib.webapi import NameAddress, SendBatchRequest, SendRawRequest, SendRequest, SendResult, WebAPIError
from moxlib.webapi.accounts import Account, LoggedIn, SenderAddress, SenderDomain
from moxlib.webapi.configured_accounts import ConfiguredAccounts
from moxlib.webapi.observer import NullWebAPIObserver, WebAPIObserver
from moxlib.webapi.service import Service

GOOD = SendRequest(to=(NameAddress(address="a@a.example"),), text="x")


class Heard(NullWebAPIObserver):
    def __init__(self) -> None:
        self.results: list[str] = []

    def submitted_by_call(self, result: str) -> None:
        self.results.append(result)


class Raising(NullWebAPIObserver):
    def submitted_by_call(self, result: str) -> None:
        raise RuntimeError(result)


def service(queue: Queue, observer: WebAPIObserver) -> Service:
    return Service(queue, ConfiguredAccounts([]), observer=observer, clock=FakeClock())


def login() -> LoggedIn:
    here = SenderDomain(domain=parse_domain("here.example"))
    me = SenderAddress(domain=here.domain, localpart="me")
    account = Account(name="me", addresses=(me,), domains={"here.example": here})
    return LoggedIn(account=account, address=parse_address("me@here.example"))


async def test_each_message_is_heard_of() -> None:
    heard = Heard()
    async with Queue(MemoryStorage(), config=QueueConfig(hostname="x.example"), clock=FakeClock()) as queue:
        methods = service(queue, heard).methods(login())
        await methods.send(GOOD)
        with pytest.raises(WebAPIError):
            await methods.send(SendRequest(text="x"))
        with pytest.raises(WebAPIError):
            await methods.send(SendRequest(text="x", save_sent=True))
        await methods.send_batch(SendBatchRequest(requests=(GOOD, SendRequest(), GOOD)))
        with pytest.raises(WebAPIError):
            await methods.send_raw(SendRawRequest(message=b"From: a@a.example\r\nTo: a@a.example\r\n\r\n"))
        assert heard.results[:3] == ["ok", "noRecipients", "user"]
        assert sorted(heard.results[3:6]) == ["missingBody", "ok", "ok"]
        assert heard.results[6:] == ["badFrom"]
    async with Queue(MemoryStorage(), config=QueueConfig(hostname="x.example"), clock=FakeClock()) as closed:
        methods = service(closed, heard).methods(login())
    with pytest.raises(WebAPIError):
        await methods.send(GOOD)
    assert heard.results[-1] == "server"


async def test_an_observer_that_raises(caplog: pytest.LogCaptureFixture) -> None:
    async with Queue(MemoryStorage(), config=QueueConfig(hostname="x.example"), clock=FakeClock()) as queue:
        assert isinstance(await service(queue, Raising()).methods(login()).send(GOOD), SendResult)
    assert "the observer raised" in caplog.text


def test_one_that_hears_and_says_nothing() -> None:
    observer: WebAPIObserver = NullWebAPIObserver()
    observer.called("Send", "ok", timedelta(0))
    observer.submitted_by_call("ok")
