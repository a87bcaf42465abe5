"""`Service`: the webapi's methods on a `Queue`, and on a `Mailbox` if there is one."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from hashlib import sha256
from typing import Any, BinaryIO, Final, TypeVar

from moxlib._clock import Clock, SystemClock
from moxlib.dns import parse_domain
from moxlib.errors import InputError
from moxlib.queue import Queue
from moxlib.queue.suppression import Cause
from moxlib.webapi import types as t
from moxlib.webapi.accounts import Accounts, LoggedIn, LoginResult, limited_login
from moxlib.webapi.codec import Codec
from moxlib.webapi.content import NO_UPLOADS, ByteStream, Uploads
from moxlib.webapi.drafts import parsed_address
from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webapi.login_limit import LoginLimit, TooManyFailures
from moxlib.webapi.mailbox import SENT, Mailbox, OpenMessage
from moxlib.webapi.observer import NullWebAPIObserver, WebAPIObserver
from moxlib.webapi.reading import message_of
from moxlib.webapi.sending import Sending
from moxlib.webapi.troubles import as_answer

__all__ = ["Service"]

log: logging.Logger = logging.getLogger("moxlib.webapi")

T = TypeVar("T")

MAX_BATCH: Final = 1000  # messages in one call: a commit of so many takes a tenth of a second
PAGE: Final = 1000  # suppressions that are looked up at once
SENT_FLAGS: Final = ("\\seen", "$notjunk")  # as mox


class Service:
    """Does what the webapi's methods say, for those who log in.

        service = Service(queue, accounts, mailbox=SQLiteMailbox.open("var/mailbox.db"))
        app = asgi_app(service)

    Args:
        queue: an open one, in the event loop that the service is used in.
        accounts: who may log in, and what they may do.
        mailbox: where messages are read, and copies of what was sent are kept; None: there are no messages, and no
            copies can be asked for.
        hostname: of this server, for Received and new Message-IDs; None: the queue's.
        login_limit: how often logins may fail; by default as in mox.
        observer: hears of calls.
        mox: do as mox does where we would not: encoded words in a subject are read as such, and who is named twice
            among the recipients gets the message twice.
        max_batch: messages in one SendBatch.
        clock: what the time is taken from.

    Raises:
        InvalidDomain: the host name is none.
        MissingExtra: msgspec is not installed (extra: webapi).
    """

    def __init__(
        self,
        queue: Queue,
        accounts: Accounts,
        *,
        mailbox: Mailbox | None = None,
        hostname: str | None = None,
        login_limit: LoginLimit | None = None,
        observer: WebAPIObserver | None = None,
        mox: bool = False,
        max_batch: int = MAX_BATCH,
        clock: Clock | None = None,
    ) -> None:
        if max_batch < 1:
            raise InputError("Service.max_batch must be at least 1")
        self.queue: Queue = queue
        self.accounts: Accounts = accounts
        self.mailbox: Mailbox | None = mailbox
        self.hostname: str = parse_domain(hostname or queue.config.hostname).ascii
        self.observer: WebAPIObserver = observer or NullWebAPIObserver()
        self.mox: bool = mox
        self.max_batch: int = max_batch
        self.clock: Clock = clock or SystemClock()
        self.login_limit: LoginLimit = login_limit or LoginLimit(clock=self.clock)
        self.codec: Codec = Codec()

    async def login(self, address: str, password: str, *, remote_ip: str) -> LoginResult | TooManyFailures:
        """Log in, unless too many logins from that address or its network have failed.

        Raises:
            InputError: `remote_ip` is no IP address.
        """
        return await limited_login(
            self.accounts, self.login_limit, remote_ip=remote_ip, address=address, password=password
        )

    def methods(self, login: LoggedIn) -> "ServiceMethods":
        """Return the methods as one who is logged in has them."""
        return ServiceMethods(self, login)

    def tell(self, call: Callable[[WebAPIObserver], None]) -> None:
        """Tell the observer something."""
        try:
            call(self.observer)
        except Exception:
            log.exception("the observer raised")


class ServiceMethods:
    """The methods for one login; a `moxlib.webapi.Methods`."""

    def __init__(self, service: Service, login: LoggedIn) -> None:
        self._service = service
        self._login = login
        self._account = login.account
        self._queue = service.queue
        self._sending = Sending(
            service.queue,
            login,
            hostname=service.hostname,
            clock=service.clock,
            encode=service.codec.encode_request,
            mox=service.mox,
        )

    # sending

    async def send(
        self, request: t.SendRequest, *, uploads: Uploads = NO_UPLOADS, idempotency_key: str | None = None
    ) -> t.SendResult:
        """Compose a message and queue it for each recipient. It is on disk when this returns."""
        return await self._submitted(self._send(request, uploads=uploads, idempotency_key=idempotency_key))

    async def _send(
        self,
        request: t.SendRequest,
        *,
        uploads: Uploads = NO_UPLOADS,
        idempotency_key: str | None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> t.SendResult:
        sent = _Sent(self._service, self._login) if request.save_sent else None
        return await self._sending.send(
            request, uploads=uploads, idempotency_key=idempotency_key, sent=sent, ready=ready
        )

    async def send_batch(self, request: t.SendBatchRequest, *, idempotency_key: str | None = None) -> t.SendBatchResult:
        """Compose and queue many messages in one commit. A message that cannot be sent does not keep others back."""
        if len(request.requests) > self._service.max_batch:
            raise WebAPIError(Code.USER, f"a batch has at most {self._service.max_batch} messages")
        together = _Together(len(request.requests))
        sending = [
            self._one_of_batch(each, _key_in_batch(idempotency_key, index), together)
            for index, each in enumerate(request.requests)
        ]
        return t.SendBatchResult(results=tuple(await asyncio.gather(*sending)))

    async def _one_of_batch(
        self, request: t.SendRequest, idempotency_key: str | None, together: "_Together"
    ) -> t.SendResult | t.Fault:
        with together.one() as ready:
            try:
                return await self._submitted(self._send(request, idempotency_key=idempotency_key, ready=ready))
            except WebAPIError as error:
                return t.Fault(code=error.code, message=error.message)

    async def send_raw(self, request: t.SendRawRequest, *, idempotency_key: str | None = None) -> t.SendResult:
        """Queue a finished message as it is. It is on disk when this returns."""
        return await self._submitted(self._sending.send_raw(request, idempotency_key=idempotency_key))

    async def _submitted(self, sending: Coroutine[Any, Any, t.SendResult]) -> t.SendResult:
        try:
            result = await sending
        except Exception as error:
            answer = as_answer(error, "queueing the message")
            self._service.tell(lambda observer: observer.submitted_by_call(str(answer.code)))
            raise answer from error
        self._service.tell(lambda observer: observer.submitted_by_call("ok"))
        return result

    # suppressions

    async def suppression_list(self, request: t.SuppressionListRequest) -> t.SuppressionListResult:  # noqa: ARG002
        """Return the account's suppressions."""
        found: list[t.Suppression] = []
        after = 0
        while page := await self._done(
            self._queue.numbered_suppressions(self._account.name, after=after, limit=PAGE), "listing suppressions"
        ):
            after = page[-1][0]
            found += [
                t.Suppression(
                    id=number,
                    created=each.since,
                    account=each.account,
                    base_address=each.base_address,
                    original_address=each.original_address,
                    manual=each.cause is Cause.MANUAL,
                    reason=each.reason,
                )
                for number, each in page
            ]
        return t.SuppressionListResult(suppressions=tuple(found))

    async def suppression_add(self, request: t.SuppressionAddRequest) -> t.SuppressionAddResult:
        """Suppress an address: messages to it fail at once."""
        address = parsed_address("EmailAddress", request.email_address)
        cause = Cause.MANUAL if request.manual else Cause.IMPORTED
        adding = self._queue.suppress(address, account=self._account.name, reason=request.reason, cause=cause)
        await self._done(adding, "adding the suppression")
        return t.SuppressionAddResult()

    async def suppression_remove(self, request: t.SuppressionRemoveRequest) -> t.SuppressionRemoveResult:
        """Take an address off the list."""
        address = parsed_address("EmailAddress", request.email_address)
        if not await self._done(self._queue.unsuppress(address, account=self._account.name), "removing it"):
            raise WebAPIError(Code.USER, "the address is not on the suppression list")
        return t.SuppressionRemoveResult()

    async def suppression_present(self, request: t.SuppressionPresentRequest) -> t.SuppressionPresentResult:
        """Return whether an address is suppressed."""
        address = parsed_address("EmailAddress", request.email_address)
        found = await self._done(self._queue.suppression(address, account=self._account.name), "looking it up")
        now = self._service.clock.now()
        return t.SuppressionPresentResult(present=found is not None and found.is_active(now))

    # messages

    async def message_get(self, request: t.MessageGetRequest) -> t.MessageGetResult:
        """Return a message of the mailbox, read."""
        async with self._open(request.msg_id) as message:
            return await self._done(message.read(lambda: message_of(message)), "reading the message")

    def message_raw_get(self, request: t.MessageRawGetRequest) -> AbstractAsyncContextManager[ByteStream]:
        """Return a context, `async with`, of a message's octets as they came, header and body."""
        return self._raw(request)

    @asynccontextmanager
    async def _raw(self, request: t.MessageRawGetRequest) -> AsyncIterator[ByteStream]:
        async with self._open(request.msg_id) as message:
            yield ByteStream(message.raw(), content_type="text/plain", size=message.message.size)

    def message_part_get(self, request: t.MessagePartGetRequest) -> AbstractAsyncContextManager[ByteStream]:
        """Return a context, `async with`, of the octets of a part's decoded body."""
        return self._part(request)

    @asynccontextmanager
    async def _part(self, request: t.MessagePartGetRequest) -> AsyncIterator[ByteStream]:
        async with self._open(request.msg_id) as message:
            part = await self._done(message.part(request.part_path), "reading the part")
            type_ = part.get("Content-Type") or part.media_type
            yield ByteStream(message.body(part), content_type=type_)

    async def message_delete(self, request: t.MessageDeleteRequest) -> t.MessageDeleteResult:
        """Remove a message for good, not into a folder for what is deleted."""
        await self._done(self._mailbox.delete(self._account.name, _number(request.msg_id)), "deleting the message")
        return t.MessageDeleteResult()

    async def message_flags_add(self, request: t.MessageFlagsAddRequest) -> t.MessageFlagsAddResult:
        """Set flags on a message; those it has stay."""
        await self._done(
            self._mailbox.add_flags(self._account.name, _number(request.msg_id), request.flags), "setting flags"
        )
        return t.MessageFlagsAddResult()

    async def message_flags_remove(self, request: t.MessageFlagsRemoveRequest) -> t.MessageFlagsRemoveResult:
        """Clear flags on a message; the others stay."""
        clearing = self._mailbox.remove_flags(self._account.name, _number(request.msg_id), request.flags)
        await self._done(clearing, "clearing flags")
        return t.MessageFlagsRemoveResult()

    async def message_move(self, request: t.MessageMoveRequest) -> t.MessageMoveResult:
        """Put a message into another folder, which has to exist."""
        moving = self._mailbox.move(self._account.name, request.msg_id, request.dest_mailbox_name)
        await self._done(moving, "moving the message")
        return t.MessageMoveResult()

    @property
    def _mailbox(self) -> Mailbox:
        if self._service.mailbox is None:
            raise WebAPIError(Code.USER, "this server keeps no messages")
        return self._service.mailbox

    @asynccontextmanager
    async def _open(self, id_: int) -> AsyncIterator[OpenMessage]:
        async with await self._done(self._mailbox.open(self._account.name, id_), "opening the message") as message:
            yield message

    async def _done(self, doing: Awaitable[T], what: str) -> T:
        try:
            return await doing
        except Exception as error:
            raise as_answer(error, what) from error


def _number(id_: int) -> int:
    """Return a message's id, if the request has one.

    Raises:
        WebAPIError: user, as in mox.
    """
    if not id_:
        raise WebAPIError(Code.USER, "MsgID is missing, or 0: messages are counted from 1")
    return id_


def _key_in_batch(key: str | None, index: int) -> str | None:
    """Return the key of one message of a batch: always short enough, and nobody's own key for something else."""
    return None if key is None else f"batch {sha256(key.encode(errors='surrogatepass')).hexdigest()} {index}"


class _Together:
    """Has the messages of a batch get to the queue at one moment: what waits there at once shares a commit.

    Not those that are on disk for their size: they need not be kept open for the others.
    """

    def __init__(self, count: int) -> None:
        self._missing = count
        self._all = asyncio.Event()

    @contextmanager
    def one(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Return what waits for all others; who ends without is not waited for."""
        here = False

        def arrive() -> None:
            nonlocal here
            if not here:
                here = True
                self._missing -= 1
                if not self._missing:
                    self._all.set()

        async def ready() -> None:
            arrive()
            await self._all.wait()

        try:
            yield ready
        finally:
            arrive()


class _Sent:
    """Keeps copies in an account's Sent mailbox."""

    def __init__(self, service: Service, login: LoggedIn) -> None:
        if service.mailbox is None:
            raise WebAPIError(Code.USER, "this server keeps no messages: SaveSent cannot be had")
        self._mailbox = service.mailbox
        self._account = login.account

    async def check_room(self, size: int) -> None:
        """Return if there is room for a copy of so many octets."""
        quota = self._account.quota
        if quota is not None and await self._mailbox.usage(self._account.name) + size > quota:
            raise WebAPIError(Code.SENT_OVER_QUOTA, "the mailbox has no room for a copy; nothing was sent")

    async def keep(self, copy: BinaryIO) -> None:
        """Keep a copy of what is queued already."""
        try:
            await self._mailbox.add(self._account.name, copy, mailbox=SENT, flags=SENT_FLAGS)
        except Exception:  # the message is on its way: an error would have it sent again
            log.exception("account %r: no copy of a sent message was kept", self._account.name)
