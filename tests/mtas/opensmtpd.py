"""`OpenSMTPD`: it receives for any address and delivers into one mailbox."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.mtas.server import INBOX, RELAYED, Answer, MailServer

__all__ = ["OpenSMTPD"]

PKI = """
pki server cert "/etc/ssl/chain.pem"
pki server key "/etc/ssl/key.pem"
"""
TABLES = {answer: f"/etc/mail/{answer.name.lower()}" for answer in Answer}
LIST = "nobody@table.invalid\n"  # an empty table would stay one of keys and values for ever


HOP = "".join(
    (
        "bounce warn-interval 1s\n",
        'action hop relay host "smtp://127.0.0.1:{port}"\n',
        *(f'match from any for domain "{domain}" action hop\n' for domain in RELAYED),
    )
)


class OpenSMTPD(MailServer):
    """OpenSMTPD (6.8 in Debian 12), which announces neither PIPELINING nor CHUNKING nor SMTPUTF8.

    Debian 12's offers STARTTLS, and fails in every handshake: it is of a time before OpenSSL 3 (issue 1171 of its
    project). So it has no users who could log in, either, which it allows within TLS alone.
    """

    NAME = "opensmtpd"
    HIDES_SIZE = False
    USERS: ClassVar[Mapping[str, int]] = {"opensmtpd": 63001, "opensmtpq": 63002}
    DIRECTORIES: ClassVar[Mapping[str, str]] = {
        "/var/run": "root",
        "/var/lib/opensmtpd/empty": "root",
        "/var/spool/smtpd": "root",
    }
    SETGID: ClassVar[Mapping[str, str]] = {"/usr/sbin/smtpctl": "opensmtpq"}
    SPOOLS = ("/var/spool/smtpd/incoming", "/var/spool/smtpd/queue")
    CONNECTED = r"smtp connected "
    ACCEPTED = r"smtp message .*$"
    LEFT = r"smtp disconnected .*$"

    def _files(self) -> Mapping[str, str]:
        settings = self.settings
        filters = "".join(
            f"""
table {name} file:{path}
filter {name} phase rcpt-to match rcpt-to <{name}> reject "{answer}"
"""
            for answer, path in TABLES.items()
            for name in [answer.name.lower()]
        )
        config = f"""\
table everyone {{ "@" = "inbox" }}
smtp max-message-size {settings.max_size}
smtp limit max-rcpt {settings.max_recipients}
{PKI if settings.certificate else ""}
{filters}
filter answers chain {{ {", ".join(answer.name.lower() for answer in Answer)} }}
listen on {settings.address} port {self.port} hostname {settings.hostname} \\
    {"tls pki server" if settings.certificate else ""} filter answers
{HOP.format(port=settings.next_hop) if settings.next_hop else ""}
action inbox maildir "{INBOX}" virtual <everyone>
match from any for any action inbox
"""
        return {"/etc/smtpd.conf": config, **dict.fromkeys(TABLES.values(), LIST)}

    def _command(self) -> Sequence[str]:
        return ("/usr/sbin/smtpd", "-d")

    def _publish(self, answers: Mapping[str, Answer]) -> None:
        for answer, path in TABLES.items():
            listed = (f"{address}\n" for address, given in answers.items() if given is answer)
            self._write(path, "".join((LIST, *listed)))
            self.run("/usr/sbin/smtpctl", "update", "table", answer.name.lower())
