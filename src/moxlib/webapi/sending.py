"""The methods that send: a message is composed, signed and queued.

Whatever is wrong with a request is found before anything is queued; what is queued never answers with an error.
"""

import asyncio
import hashlib
import io
import secrets
import tempfile
from base64 import urlsafe_b64encode
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from email.utils import format_datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Final, Protocol, cast

from moxlib._clock import Clock
from moxlib.errors import LimitExceeded
from moxlib.message import Composed, HeaderFacts, InvalidDraft, Received, compose, inspect_header
from moxlib.queue import MessageLimitReached, Queue, RequireTLS, SendingLimits
from moxlib.queue import Submission as Receipt
from moxlib.smtp import Localpart, parse_address
from moxlib.webapi import types as t
from moxlib.webapi.accounts import LoggedIn, Signer
from moxlib.webapi.content import NO_UPLOADS, Upload, Uploads
from moxlib.webapi.drafts import Envelope, allowed_domain, as_error, draft_of, envelope_of, parsed_address
from moxlib.webapi.errors import Code, WebAPIError
from moxlib.webapi.joined import Joined

__all__ = ["KeepsSent", "Sending"]

IN_LOOP: Final = 64 * 1024  # octets of text and files; with more, composing would keep the event loop from others
IN_MEMORY: Final = 1024 * 1024  # octets; a larger message is written to a file, and streamed from there
CHUNK: Final = 256 * 1024  # octets of a file that are read at once
ID_BYTES: Final = 12  # of randomness in what Received calls a message by
DERIVED: Final = 15  # octets of a digest, which are 20 characters: as many as are random in other identifiers

NOTHING: Final = SendingLimits(messages_per_day=0)  # with it, only what was queued before is found

_REQUIRE_TLS: Final = {True: RequireTLS.YES, False: RequireTLS.NO}


class KeepsSent(Protocol):
    """Where copies of what was sent are kept."""

    async def check_room(self, size: int) -> None:
        """Return if there is room for a copy of so many octets.

        Raises:
            WebAPIError: sentOverQuota.
        """
        ...

    async def keep(self, copy: BinaryIO) -> None:
        """Keep a copy of what is queued already; whatever goes wrong with it is not raised."""
        ...


class Sending:
    """Sends for one login.

    Args:
        queue: where messages go.
        login: who sends.
        hostname: of this server, for Received and new Message-IDs.
        clock: what the time is taken from.
        encode: writes a request as octets: what makes two of them the same under one idempotency key.
        mox: see `Service`.
    """

    def __init__(
        self,
        queue: Queue,
        login: LoggedIn,
        *,
        hostname: str,
        clock: Clock,
        encode: Callable[[object], bytes],
        mox: bool = False,
    ) -> None:
        self._queue = queue
        self._login = login
        self._account = login.account
        self._hostname = hostname
        self._clock = clock
        self._encode = encode
        self._mox = mox

    # a message that is composed here

    async def send(
        self,
        request: t.SendRequest,
        *,
        uploads: Uploads = NO_UPLOADS,
        idempotency_key: str | None = None,
        sent: KeepsSent | None = None,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> t.SendResult:
        """Compose, sign and queue a message.

        Args:
            request: the message.
            uploads: files beside it.
            idempotency_key: under which it is queued once.
            sent: what keeps a copy, if one is to be kept.
            ready: waits for others that are to be queued at the same moment, with a message that is in memory.

        Raises:
            WebAPIError: something is wrong with it; nothing was queued.
            MoxlibError: what the queue raises; likewise.
        """
        envelope = envelope_of(request, self._login)
        await self._check_limits(envelope.recipients, idempotency_key)
        digest = None if idempotency_key is None else await self._digest(request, uploads)
        composed = await self._composed(request, uploads, envelope, idempotency_key)
        refusal = None
        if sent is not None:
            refusal = await _no_room(sent, len(composed.bcc_field) + composed.size, idempotency_key)
        received = self._received(envelope.recipients).field(smtputf8=composed.needs_smtputf8)
        with _written(composed) as message:
            if isinstance(message, io.BytesIO):
                signatures = _signed(envelope.domain.signer, message, envelope.sender.parsed.localpart)
                if ready is not None:
                    await ready()
            else:
                await asyncio.to_thread(_write, composed, message)
                signatures = await asyncio.to_thread(
                    _signed, envelope.domain.signer, message, envelope.sender.parsed.localpart
                )
            receipts = await self._submit(
                cast("bytes | BinaryIO", Joined(received + signatures, message).content()),
                sender=composed.sender,
                recipients=envelope.recipients,
                request=request,
                idempotency_key=idempotency_key,
                digest=digest,
                refusal=refusal,
            )
            if sent is not None and not receipts[0].repeated:
                await sent.keep(cast("BinaryIO", Joined(composed.bcc_field + signatures, message)))
        return t.SendResult(message_id=composed.message_id, submissions=_submissions(envelope.recipients, receipts))

    async def _composed(
        self, request: t.SendRequest, uploads: Uploads, envelope: Envelope, idempotency_key: str | None
    ) -> Composed:
        message_id = "" if idempotency_key is None else self._derived_id(idempotency_key)
        limit = self._queue.config.max_message_size
        if self._account.max_message_size is not None:
            limit = min(limit, self._account.max_message_size)

        def work() -> Composed:
            draft = draft_of(request, uploads, envelope.sender, message_id=message_id)
            return compose(
                draft,
                eight_bit=False,  # RFC 6376 5.3: what a relay would have to recode loses its signature
                hostname=self._hostname,
                max_size=limit,
                clock=self._clock,
                keep_encoded_words=self._mox,
            )

        try:
            return await asyncio.to_thread(work) if uploads or _bulk(request) > IN_LOOP else work()
        except InvalidDraft as error:
            raise as_error(error) from error
        except LimitExceeded as error:
            raise WebAPIError(Code.MESSAGE_TOO_LARGE, str(error)) from error

    def _derived_id(self, idempotency_key: str) -> str:
        """Return the Message-ID of what is sent under a key: the same one, should it be sent again."""
        text = f"{self._account.name}\0{idempotency_key}"
        octets = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:DERIVED]
        return f"<{urlsafe_b64encode(octets).decode()}@{self._hostname}>"

    async def _digest(self, request: t.SendRequest | t.SendRawRequest, uploads: Uploads) -> bytes:
        """Return what makes two requests the same: everything in them, and in what is uploaded with them."""

        def work() -> bytes:
            digest = hashlib.sha256(self._encode(request))
            for kind, files in (("a", uploads.alternative), ("i", uploads.inline), ("t", uploads.attached)):
                for file in files:
                    about = f"{kind}\x00{file.name}\x00{file.content_type}\x00{file.content_id}"
                    digest.update(about.encode("utf-8", "surrogatepass") + b"\0" + _digest_of(file))
            return digest.digest()

        return await asyncio.to_thread(work) if uploads or _bulk(request) > IN_LOOP else work()

    # a message that is finished

    async def send_raw(self, request: t.SendRawRequest, *, idempotency_key: str | None = None) -> t.SendResult:
        """Sign and queue a finished message.

        Raises:
            WebAPIError: something is wrong with it; nothing was queued.
            MoxlibError: what the queue raises; likewise.
        """
        sender = parsed_address("MailFrom", request.mail_from) if request.mail_from else self._login.address
        allowed_domain(self._login, sender)
        header = inspect_header(request.message)
        given, named = header.envelope()
        author = parsed_address("From", given or "")
        domain, _ = allowed_domain(self._login, author)
        for each in request.recipients:
            parsed_address("Recipients", each)
        recipients = request.recipients or tuple(named)
        if not recipients:
            raise WebAPIError(Code.NO_RECIPIENTS, "there is nobody to send to")
        await self._check_limits(recipients, idempotency_key)
        size = self._account.max_message_size
        if size is not None and len(request.message) > size:
            raise WebAPIError(Code.MESSAGE_TOO_LARGE, f"a message of this account has at most {size} octets")
        digest = None if idempotency_key is None else await self._digest(request, NO_UPLOADS)
        message, message_id = self._finished(request.message, header, idempotency_key)
        signing = partial(_signed, domain.signer, io.BytesIO(message), author.localpart)
        signatures = await asyncio.to_thread(signing) if len(message) > IN_LOOP else signing()
        received = self._received(recipients).field(smtputf8=header.needs_smtputf8)
        receipts = await self._submit(
            received + signatures + message,
            sender=sender.pack(smtputf8=True),
            recipients=recipients,
            request=request,
            idempotency_key=idempotency_key,
            digest=digest,
        )
        return t.SendResult(message_id=message_id, submissions=_submissions(recipients, receipts))

    def _finished(self, message: bytes, header: HeaderFacts, idempotency_key: str | None) -> tuple[bytes, str]:
        """Return a message as it is to be signed, and its Message-ID.

        Without Bcc, which is for nobody who gets it, and with the fields that the queue would add (RFC 6409 8.2, 8.3):
        added behind a signature, they would break it.
        """
        if header.bcc_spans:
            message = header.without_bcc() + message[header.size :]
        message_id, added = header.message_id, ""
        if self._queue.config.add_missing_headers:
            if not header.has_date:
                added += f"Date: {format_datetime(self._now())}\r\n"
            if not message_id:
                random = f"<{secrets.token_urlsafe(DERIVED)}@{self._hostname}>"
                message_id = random if idempotency_key is None else self._derived_id(idempotency_key)
                added += f"Message-ID: {message_id}\r\n"
        return added.encode() + message, message_id

    # both

    async def _check_limits(self, recipients: Sequence[str], idempotency_key: str | None) -> None:
        """Look at the limits of a day before anything else is, as mox does.

        Under a key it may have been sent before, and is to be answered again: then the queue looks at them by itself.
        """
        limits = self._limits()
        if limits is not None and idempotency_key is None:
            await self._queue.check_sending_limits(recipients, account=self._account.name, limits=limits)

    async def _submit(
        self,
        message: bytes | BinaryIO,
        *,
        sender: str,
        recipients: Sequence[str],
        request: t.SendRequest | t.SendRawRequest,
        idempotency_key: str | None,
        digest: bytes | None,
        refusal: WebAPIError | None = None,
    ) -> tuple[Receipt, ...]:
        """Queue it; or, if it is refused, only find what was queued under its key before."""
        try:
            return await self._queue.submit(
                message,
                account=self._account.name,
                sender=sender,
                recipients=recipients,
                extra=request.extra,
                require_tls=None if request.require_tls is None else _REQUIRE_TLS[request.require_tls],
                not_before=request.future_release,
                idempotency_key=idempotency_key,
                idempotency_digest=digest,
                login=self._login.address.pack(smtputf8=True),
                limits=self._limits() if refusal is None else NOTHING,
                keep_doubles=self._mox,
            )
        except MessageLimitReached:
            if refusal is None:
                raise
            raise refusal from None

    def _limits(self) -> SendingLimits | None:
        account = self._account
        if account.max_messages_per_day is None and account.max_first_time_recipients_per_day is None:
            return None
        return SendingLimits(
            messages_per_day=account.max_messages_per_day,
            first_time_recipients_per_day=account.max_first_time_recipients_per_day,
        )

    def _received(self, recipients: Sequence[str]) -> Received:
        """Return the trace field of a message; the only recipient is named in it, and of several none."""
        return Received(
            from_host=self._hostname,
            by_host=self._hostname,
            date=self._now(),
            id=secrets.token_urlsafe(ID_BYTES),
            for_address=recipients[0] if len(recipients) == 1 else "",
        )

    def _now(self) -> datetime:
        return self._clock.now()


async def _no_room(sent: KeepsSent, size: int, idempotency_key: str | None) -> WebAPIError | None:
    """Check that there is room for a copy; of what may be a repetition, which needs none, return what is wrong."""
    try:
        await sent.check_room(size)
    except WebAPIError as error:
        if idempotency_key is None:
            raise
        return error
    return None


def _bulk(request: t.SendRequest | t.SendRawRequest) -> int:
    """Return about how many octets are composed."""
    if isinstance(request, t.SendRawRequest):
        return len(request.message)
    files = (*request.alternative_files, *request.inline_files, *request.attached_files)
    return len(request.text) + len(request.html) + sum([len(file.data) for file in files])


@contextmanager
def _written(composed: Composed) -> Iterator[BinaryIO]:
    """Return a message as a file: written already, in memory, if it is small; else an empty file on disk."""
    if composed.size <= IN_MEMORY:
        yield io.BytesIO(composed.to_bytes())
        return
    with tempfile.TemporaryFile() as file:
        yield cast("BinaryIO", file)


def _write(composed: Composed, file: BinaryIO) -> None:
    file.writelines(composed.chunks())


def _signed(signer: Signer | None, message: BinaryIO, localpart: Localpart) -> bytes:
    """Return the fields that a domain's signer puts before a message."""
    if signer is None:
        return b""
    if isinstance(message, io.BytesIO):
        return signer.sign(message.getvalue(), localpart=localpart)
    message.flush()  # it is read by position
    return signer.sign(message, localpart=localpart)


def _digest_of(upload: Upload) -> bytes:
    content = upload.content
    if isinstance(content, bytes):
        return hashlib.sha256(content).digest()
    if isinstance(content, PathLike):
        with Path(content).open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    content.seek(0)
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    content.seek(0)
    return digest.digest()


def _submissions(addresses: Sequence[str], receipts: Sequence[Receipt]) -> tuple[t.Submission, ...]:
    """Return a submission for each address, in order; of one that was named twice, it may be the same message."""
    ours: Sequence[Receipt] = receipts
    if len(receipts) != len(addresses):
        by_recipient = {receipt.recipient: receipt for receipt in receipts}
        ours = [by_recipient[str(parse_address(address))] for address in addresses]
    return tuple(
        [
            t.Submission(address=address, queue_msg_id=receipt.id, from_id=receipt.fromid)
            for address, receipt in zip(addresses, ours, strict=True)
        ]
    )
