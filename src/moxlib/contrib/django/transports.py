"""The transport that Django's own settings describe: those of its SMTP backend."""

import ssl
from collections.abc import Mapping

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from moxlib.queue.transport import Security, SMTPTransport, SubmissionsTransport, Transport
from moxlib.sasl import Credentials
from moxlib.smtpclient import verified_context

__all__ = ["transports_of_settings"]


def transports_of_settings() -> Mapping[str, Transport]:
    """Return one transport, "smtp", to the server that `EMAIL_HOST` and its neighbours name.

    Raises:
        ImproperlyConfigured: the settings contradict each other, or are of the newer kind, `MAILERS`, which need not
            name a server.
    """
    if hasattr(settings, "MAILERS"):
        raise ImproperlyConfigured("MOXLIB['transports'] must say what delivers: with MAILERS, EMAIL_HOST does not")
    if settings.EMAIL_USE_TLS and settings.EMAIL_USE_SSL:
        raise ImproperlyConfigured("EMAIL_USE_TLS and EMAIL_USE_SSL exclude each other")
    secure = settings.EMAIL_USE_TLS or settings.EMAIL_USE_SSL
    user, password = settings.EMAIL_HOST_USER, settings.EMAIL_HOST_PASSWORD
    make = SubmissionsTransport if settings.EMAIL_USE_SSL else SMTPTransport
    transport = make(
        settings.EMAIL_HOST,
        settings.EMAIL_PORT,
        security=Security.VERIFIED if secure else Security.NONE,
        tls_context=_context() if secure else None,
        credentials=Credentials(username=user, password=password) if user and password else None,
    )
    return {"smtp": transport}


def _context() -> ssl.SSLContext | None:
    certificate, key = settings.EMAIL_SSL_CERTFILE, settings.EMAIL_SSL_KEYFILE
    if not certificate:
        return None
    context = verified_context()
    context.load_cert_chain(certificate, key)
    return context
