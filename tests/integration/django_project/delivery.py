"""What this project's worker delivers by."""

from collections.abc import Mapping

from django.conf import settings

from moxlib.queue import SMTPTransport


def transports() -> Mapping[str, SMTPTransport]:
    return {"relay": SMTPTransport("127.0.0.1", settings.RELAY_PORT, security="none")}
