"""`Postfix`: it receives for any address and delivers into one mailbox."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from tests.mtas.server import INBOX, INBOX_USER, RELAYED, Answer, MailServer

__all__ = ["Postfix"]

ANSWERS = "/etc/postfix/answers"
QUEUES = ("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "public", "trace")


class Postfix(MailServer):
    """Postfix (3.7 in Debian 12)."""

    NAME = "postfix"
    USERS: ClassVar[Mapping[str, int]] = {"postfix": 63001, "postdrop": 63002}
    DIRECTORIES: ClassVar[Mapping[str, str]] = {
        "/var/lib/postfix": "postfix",
        "/var/spool/postfix": "root",
        "/var/spool/postfix/pid": "root",
        **{f"/var/spool/postfix/{name}": "postfix" for name in QUEUES},
    }
    SPOOLS = ("/var/spool/postfix/incoming", "/var/spool/postfix/active", "/var/spool/postfix/deferred")
    LOGS = ("/var/log/postfix.log",)
    CONNECTED = r"smtpd\[\d+\]: connect from "
    ACCEPTED = r"qmgr\[\d+\]: [0-9A-F]+: from="
    LEFT = r"smtpd\[\d+\]: (?:disconnect|lost connection) .*$"

    def _files(self) -> Mapping[str, str]:
        settings = self.settings
        main = {
            "compatibility_level": "3.6",
            "maillog_file": self.LOGS[0],
            "myhostname": settings.hostname,
            "inet_interfaces": "127.0.0.1",  # which has them all: the service says where it listens
            "inet_protocols": "ipv4",
            "smtpd_peername_lookup": "no",
            "tls_random_source": "dev:/dev/urandom",
            # Every domain is its own, and all of its addresses are one mailbox.
            "mydestination": "",
            "virtual_mailbox_domains": "static:all",
            "virtual_mailbox_base": INBOX.rpartition("/")[0],
            "virtual_mailbox_maps": f"static:{INBOX.rpartition('/')[2]}/",
            "virtual_uid_maps": f"static:{INBOX_USER}",
            "virtual_gid_maps": f"static:{INBOX_USER}",
            "virtual_mailbox_limit": "0",
            "local_recipient_maps": "",
            "alias_maps": "",
            # What comes from the machine itself is left as it is, too.
            "mynetworks": "192.0.2.0/24",
            "local_header_rewrite_clients": "",
            "smtpd_recipient_restrictions": f"check_recipient_access texthash:{ANSWERS}",
            "smtpd_error_sleep_time": "0",
            "message_size_limit": str(settings.max_size),
            "smtpd_recipient_limit": str(settings.max_recipients),
            "smtputf8_enable": "yes" if settings.smtputf8 else "no",
            "smtpd_discard_ehlo_keywords": self._hidden(),
        }
        if settings.certificate is not None:
            main["smtpd_tls_security_level"] = "may"
            main["smtpd_tls_chain_files"] = "/etc/ssl/key.pem, /etc/ssl/chain.pem"
        if settings.next_hop:
            hops = " ".join(f"{{{domain} = smtp:[127.0.0.1]:{settings.next_hop}}}" for domain in RELAYED)
            main |= {"transport_maps": f"inline:{{{hops}}}", "smtp_tls_security_level": "none"}
            # A message is tried again, and its delay told, as soon as it can be.
            main |= dict.fromkeys(("delay_warning_time", "queue_run_delay", "minimal_backoff_time"), "1s")
            main |= {"maximal_backoff_time": "1s"}
        # A process for each connection, since one that is older knows older answers.
        services = f"""\
{settings.address}:{self.port} inet n - n - - smtpd -o max_use=1
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
retry unix - - n - - error
virtual unix - n n - - virtual
smtp unix - - n - - smtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""
        return {
            "/etc/postfix/main.cf": "".join(f"{name} = {value}\n" for name, value in main.items()),
            "/etc/postfix/master.cf": services,
            ANSWERS: "",
        }

    def _hidden(self) -> str:
        hidden = {"size": not self.settings.announce_size, "dsn": self.settings.hide_dsn}
        return ", ".join(keyword for keyword, hide in hidden.items() if hide)

    def _command(self) -> Sequence[str]:
        return ("/usr/lib/postfix/sbin/master", "-d")

    def _publish(self, answers: Mapping[str, Answer]) -> None:
        self._write(ANSWERS, "".join(f"{address} {answer}\n" for address, answer in answers.items()))
