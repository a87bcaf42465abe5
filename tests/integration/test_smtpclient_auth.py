"""AUTH: every mechanism, against aiosmtpd where it has it and a small SCRAM server where not."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword
from aiosmtpd.smtp import Session as ServerSession

from moxlib.sasl import Credentials
from moxlib.smtpclient import (
    Accepted,
    AuthenticationFailed,
    ReplyError,
    SMTPConnection,
    TLSMode,
    unverified_context,
    verified_context,
)
from moxlib.testing.smtp_peer import Answer, ByCommand, Conversation, PeerSession, SMTPPeer

MESSAGE = b"Subject: hi\r\n\r\n"
USER, PASSWORD = "mjl@x", "pässword"


def credentials(*mechanisms: str, password: str = PASSWORD, token: str = "", told: bool = False) -> Credentials:
    return Credentials(
        username=USER, password=password, token=token, mechanisms=mechanisms, cleartext_without_verified_tls=told
    )


async def connect(
    port: int, login: Credentials, tls: TLSMode = TLSMode.NONE, context: ssl.SSLContext | None = None
) -> SMTPConnection:
    return await SMTPConnection.connect(
        "127.0.0.1", port, ehlo_name="client.example", tls=tls, tls_context=context, credentials=login
    )


# PLAIN and LOGIN, with aiosmtpd


class Handler:
    async def handle_DATA(self, server: SMTP, session: ServerSession, envelope: Envelope) -> str:
        return "250 kept"


def authenticator(server: SMTP, session: ServerSession, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
    assert isinstance(data, LoginPassword)
    right = (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False)


@asynccontextmanager
async def aiosmtpd_server(context: ssl.SSLContext) -> AsyncIterator[int]:
    loop = asyncio.get_running_loop()

    def make() -> SMTP:
        return SMTP(Handler(), tls_context=context, authenticator=authenticator, auth_required=True, loop=loop)

    async with await loop.create_server(make, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_password_over_verified_tls(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext, mechanism: str
) -> None:
    async with (
        aiosmtpd_server(server_context) as port,
        await connect(port, credentials(mechanism), TLSMode.REQUIRED, trusting) as connection,
    ):
        result = await connection.deliver("a@x", ["b@x"], MESSAGE)
        assert [type(one) for one in result.recipients] == [Accepted]


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_wrong_password(server_context: ssl.SSLContext, trusting: ssl.SSLContext, mechanism: str) -> None:
    async with aiosmtpd_server(server_context) as port:
        with pytest.raises(ReplyError) as caught:
            await connect(port, credentials(mechanism, password="wrong"), TLSMode.REQUIRED, trusting)
    assert (caught.value.reply.code, caught.value.permanent) == (535, True)


async def test_a_password_is_not_shown_over_unverified_tls(server_context: ssl.SSLContext) -> None:
    async with aiosmtpd_server(server_context) as port:
        with pytest.raises(AuthenticationFailed) as caught:
            await connect(port, credentials("PLAIN", "LOGIN"), TLSMode.REQUIRED, unverified_context())
        assert caught.value.permanent
        assert "verified TLS" in caught.value.reason
        told = credentials("PLAIN", told=True)
        await (await connect(port, told, TLSMode.REQUIRED, unverified_context())).quit()


# The other mechanisms, with a scripted server


class ScramServer:
    """The server's side of SCRAM (RFC 5802), for one user, as answers of a scripted peer."""

    def __init__(
        self, hash_: str, *, offered: tuple[str, ...], lie: bool = False, unique: Callable[[], bytes] | None = None
    ) -> None:
        self.hash = hash_
        self.lie = lie
        self.unique = unique
        self.others = ByCommand(extensions=("AUTH " + " ".join(offered), "STARTTLS", "ENHANCEDSTATUSCODES"))
        self.turn: Callable[[bytes], Answer] | None = None
        self.mechanism = ""
        self.gs2 = b""
        self.first_bare = self.server_first = self.nonce = b""

    def __call__(self, line: str, session: PeerSession) -> Answer:
        if line.startswith("AUTH "):
            _, self.mechanism, data = line.split(" ")
            return self.first(base64.b64decode(data))
        if self.turn is not None:
            turn, self.turn = self.turn, None
            return "501 5.7.0 aborted" if line == "*" else turn(base64.b64decode(line))
        return self.others(line, session)

    def first(self, message: bytes) -> Answer:
        flag, authzid, self.first_bare = message.split(b",", 2)
        self.gs2 = flag + b"," + authzid + b","
        self.nonce = self.first_bare.split(b",r=")[1] + b"servernonce"
        self.server_first = b"r=" + self.nonce + b",s=" + base64.b64encode(b"saltsalt") + b",i=4096"
        self.turn = self.final
        return "334 " + base64.b64encode(self.server_first).decode()

    def final(self, message: bytes) -> Answer:
        without_proof, _, proof = message.rpartition(b",p=")
        bound = base64.b64decode(without_proof.split(b",")[0].removeprefix(b"c="))
        expected = self.gs2 + (self.unique() if self.unique is not None and self.gs2.startswith(b"p=") else b"")
        salted = hashlib.pbkdf2_hmac(self.hash, PASSWORD.encode(), b"saltsalt", 4096)
        client_key = hmac.digest(salted, b"Client Key", self.hash)
        text = b",".join([self.first_bare, self.server_first, without_proof])
        signature = hmac.digest(hashlib.new(self.hash, client_key).digest(), text, self.hash)
        right = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
        if bound != expected or base64.b64decode(proof) != right:
            return "535 5.7.8 no"
        verifier = hmac.digest(hmac.digest(salted, b"Server Key", self.hash), text, self.hash)
        self.turn = lambda last: "235 2.7.0 welcome" if last == b"" else "501 5.5.2 what?"
        return "334 " + base64.b64encode(b"v=" + base64.b64encode(b"lies" if self.lie else verifier)).decode()


@pytest.mark.parametrize(("hash_", "mechanism"), [("sha1", "SCRAM-SHA-1"), ("sha256", "SCRAM-SHA-256")])
async def test_scram(hash_: str, mechanism: str) -> None:
    server = ScramServer(hash_, offered=("CRAM-MD5", "PLAIN", mechanism))
    async with SMTPPeer(server) as peer:
        login = Credentials(username=USER, password=PASSWORD)
        async with await connect(peer.port, login) as connection:
            assert [type(one) for one in (await connection.deliver("a@x", ["b@x"], MESSAGE)).recipients] == [Accepted]
    assert (server.mechanism, server.gs2) == (mechanism, b"n,,")


async def test_scram_with_a_wrong_password() -> None:
    async with SMTPPeer(ScramServer("sha256", offered=("SCRAM-SHA-256",))) as peer:
        with pytest.raises(ReplyError) as caught:
            await connect(peer.port, Credentials(username=USER, password="wrong"))
    assert caught.value.reply.code == 535


async def test_a_scram_server_that_does_not_know_the_password() -> None:
    async with SMTPPeer(ScramServer("sha256", offered=("SCRAM-SHA-256",), lie=True)) as peer:
        with pytest.raises(AuthenticationFailed) as caught:
            await connect(peer.port, Credentials(username=USER, password=PASSWORD))
    assert not caught.value.permanent
    assert "did not prove" in caught.value.reason
    assert caught.value.reply is not None
    assert caught.value.reply.code == 501
    assert peer.lines[-1] == "*"


@pytest.mark.parametrize("hash_", ["sha1", "sha256"])
async def test_scram_plus_on_tls_1_2(
    server_context: ssl.SSLContext, trusting: ssl.SSLContext, hash_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server learns the binding from its own side of the connection, which is the same only without a middle."""
    name = f"SCRAM-SHA-{hash_.removeprefix('sha')}"
    context = verified_context()
    context.load_verify_locations(cadata=_authorities(trusting))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    bindings: list[bytes] = []
    server = ScramServer(hash_, offered=(name, f"{name}-PLUS"), unique=lambda: bindings[0])
    async with SMTPPeer(server, tls_context=server_context) as peer:
        note_binding(peer, bindings, monkeypatch)
        await (
            await connect(peer.port, Credentials(username=USER, password=PASSWORD), TLSMode.REQUIRED, context)
        ).quit()
    assert (server.mechanism, server.gs2) == (f"{name}-PLUS", b"p=tls-unique,,")
    assert len(bindings[0]) >= 12


@pytest.mark.parametrize(
    ("version", "offered", "flag"),
    [
        (ssl.TLSVersion.TLSv1_2, ("SCRAM-SHA-256",), b"y,,"),
        (ssl.TLSVersion.TLSv1_3, ("SCRAM-SHA-256",), b"n,,"),
        (ssl.TLSVersion.TLSv1_3, ("SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"), b"n,,"),
    ],
)
async def test_the_flag_of_scram_without_plus(
    server_context: ssl.SSLContext, version: ssl.TLSVersion, offered: tuple[str, ...], flag: bytes
) -> None:
    context = unverified_context()
    context.maximum_version = version
    server = ScramServer("sha256", offered=offered)
    async with SMTPPeer(server, tls_context=server_context) as peer:
        await (
            await connect(peer.port, Credentials(username=USER, password=PASSWORD), TLSMode.REQUIRED, context)
        ).quit()
    assert (server.mechanism, server.gs2) == ("SCRAM-SHA-256", flag)


def _authorities(context: ssl.SSLContext) -> bytes:
    return b"".join(context.get_ca_certs(binary_form=True))


def note_binding(peer: SMTPPeer, bindings: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the peer note its side's tls-unique as soon as its handshake is done."""
    answer = peer._answer

    async def noting(reply: Answer, talk: Conversation) -> bool:
        go_on = await answer(reply, talk)
        connection = talk.writer.get_extra_info("ssl_object")
        if connection is not None and not bindings:
            bindings.append(connection.get_channel_binding("tls-unique"))
        return go_on

    monkeypatch.setattr(peer, "_answer", noting)


async def test_cram_md5() -> None:
    challenge = b"<1896.697170952@postoffice.example>"
    digest = hmac.new(PASSWORD.encode(), challenge, "md5").hexdigest()
    answer = base64.b64encode(f"{USER} {digest}".encode()).decode()
    answers = ByCommand(
        {"AUTH CRAM-MD5": "334 " + base64.b64encode(challenge).decode(), answer: "235 2.7.0 ok"},
        extensions=("AUTH CRAM-MD5 PLAIN",),
    )
    async with SMTPPeer(answers) as peer:
        await (await connect(peer.port, Credentials(username=USER, password=PASSWORD))).quit()
    assert peer.lines == ["EHLO client.example", "AUTH CRAM-MD5", answer, "QUIT"]


async def test_xoauth2() -> None:
    answers = ByCommand({"AUTH XOAUTH2 ": "235 2.7.0 ok"}, extensions=("AUTH XOAUTH2",))
    async with SMTPPeer(answers) as peer:
        await (await connect(peer.port, credentials("XOAUTH2", token="ya29", told=True))).quit()
    assert base64.b64decode(peer.lines[1].rpartition(" ")[2]) == b"user=mjl@x\x01auth=Bearer ya29\x01\x01"


async def test_a_refused_xoauth2_token_is_explained_before_the_verdict() -> None:
    answers = ByCommand(
        {"AUTH XOAUTH2 ": "334 " + base64.b64encode(b'{"status":"401"}').decode(), "": "535 5.7.8 bad token"},
        extensions=("AUTH XOAUTH2",),
    )
    async with SMTPPeer(answers) as peer:
        with pytest.raises(ReplyError) as caught:
            await connect(peer.port, credentials("XOAUTH2", token="old", told=True))
    assert caught.value.reply.code == 535
    assert peer.lines[2] == ""


@pytest.mark.parametrize(
    ("answer", "reason", "last"),
    [
        ("235 2.7.0 ok", "before the exchange was complete", "AUTH"),
        ("334 not Base64!", "not Base64", "*"),
        ("334-AA==\r\n334 AA==", "several lines", "*"),
        ("334 " + base64.b64encode(b"no challenge").decode(), "angle brackets", "*"),
    ],
)
async def test_an_exchange_that_goes_wrong(answer: str, reason: str, last: str) -> None:
    answers = ByCommand({"AUTH CRAM-MD5": answer, "*": "501 5.7.0 aborted"}, extensions=("AUTH CRAM-MD5",))
    async with SMTPPeer(answers) as peer:
        with pytest.raises(AuthenticationFailed) as caught:
            await connect(peer.port, Credentials(username=USER, password=PASSWORD))
    assert reason in caught.value.reason
    assert not caught.value.permanent
    assert peer.lines[-1].startswith(last)


async def test_no_common_mechanism() -> None:
    async with SMTPPeer(ByCommand(extensions=("AUTH GSSAPI X\x1b[31m",))) as peer:
        with pytest.raises(AuthenticationFailed) as caught:
            await connect(peer.port, Credentials(username=USER, password=PASSWORD))
    assert caught.value.permanent
    assert "\x1b" not in str(caught.value)
    assert caught.value.offered[0] == "GSSAPI"
    assert peer.lines == ["EHLO client.example"]
