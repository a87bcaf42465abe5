"""Telling that a connection is gone from other failures."""

from __future__ import annotations

import errno
import ssl

from moxlib.moxio._chain import chain

__all__ = ["is_closed"]

GONE = frozenset(
    {
        errno.EPIPE,
        errno.ESHUTDOWN,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.ENOTCONN,
        errno.EBADF,  # our own socket, closed by another task or thread
    }
)

# Alerts whose names in OpenSSL do not say that they are: RFC 6066 section 9 and RFC 8446 section 6.
ALERTS = frozenset(
    {
        "TLSV1_BAD_CERTIFICATE_HASH_VALUE",
        "TLSV1_BAD_CERTIFICATE_STATUS_RESPONSE",
        "TLSV1_CERTIFICATE_UNOBTAINABLE",
        "TLSV1_UNRECOGNIZED_NAME",
        "TLSV1_UNSUPPORTED_EXTENSION",
    }
)


def is_closed(err: BaseException | None) -> bool:
    """Return whether `err` means that the connection is gone, so that it is nothing to report as a fault of ours.

    True for a connection that was closed (by either side), reset, aborted, or is a broken pipe, and for an alert that
    a TLS peer sent; also when such an error is among the causes, contexts or group members of `err`. False for the end
    of input, for time-outs, and for a connection that never came about.
    """
    return any(_gone(one) for one in chain(err))


def _gone(err: BaseException) -> bool:
    match err:
        case BrokenPipeError() | ConnectionResetError() | ConnectionAbortedError():
            return True
        case ssl.SSLError():
            # OpenSSL has a reason of its own for each alert that a peer can send, and other reasons for our alerts.
            # An error that was unpickled, or raised by other code than ssl's, has none.
            reason = getattr(err, "reason", None) or ""
            return "_ALERT_" in reason or reason in ALERTS
        case OSError():
            return err.errno in GONE
        case ValueError():  # what Python's file objects say; there is no class for it
            return "closed file" in str(err)
        case RuntimeError():  # what uvloop's transports say
            return str(err).endswith("the handler is closed")
        case _:
            return False
