"""How long each step of a session may take."""

from dataclasses import dataclass

from moxlib.smtpclient.reply import Command

__all__ = ["Timeouts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds to wait for an answer to each command; the defaults are RFC 5321 4.5.3.2's least, where it has one.

    Attributes:
        connect: for the TCP connection, name resolution included.
        tls: for the handshake.
        greeting: for the 220 greeting (4.5.3.2.1).
        hello: for EHLO, HELO and LHLO.
        starttls: for STARTTLS.
        auth: for each line of an AUTH exchange: passwords are meant to be slow to check.
        mail: for MAIL FROM (4.5.3.2.2).
        rcpt: for each RCPT TO (4.5.3.2.3).
        data: for DATA (4.5.3.2.4).
        block: for the peer to take each block of the content (4.5.3.2.5).
        end_of_data: for the reply to the final dot (4.5.3.2.6): giving up early makes duplicates.
        reset: for RSET.
        quit: for QUIT, and for the connection to close; the mail is delivered by then.
    """

    connect: float = 30.0
    tls: float = 60.0
    greeting: float = 300.0
    hello: float = 300.0
    starttls: float = 120.0
    auth: float = 120.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    end_of_data: float = 600.0
    reset: float = 60.0
    quit: float = 5.0

    def by_command(self) -> dict[Command, float]:
        """Return the seconds for each command."""
        return {
            Command.CONNECT: self.connect,
            Command.TLS: self.tls,
            Command.GREETING: self.greeting,
            Command.EHLO: self.hello,
            Command.HELO: self.hello,
            Command.LHLO: self.hello,
            Command.STARTTLS: self.starttls,
            Command.AUTH: self.auth,
            Command.MAIL: self.mail,
            Command.RCPT: self.rcpt,
            Command.DATA: self.data,
            Command.CONTENT: self.block,
            Command.END_OF_DATA: self.end_of_data,
            Command.RSET: self.reset,
            Command.QUIT: self.quit,
        }
