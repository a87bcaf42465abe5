"""Delivery straight to the mail servers of the recipients' domains: MX, MTA-STS, DANE.

`transport` is the transport; `plan` says where mail for a domain goes, `policy` what must protect it on the way, `walk`
goes from host to host, `connect` opens connections, and `tlsresults` counts what comes of TLS.
"""

from moxlib.queue.transport.direct.transport import DirectTransport, IPFamily

__all__ = ["DirectTransport", "IPFamily"]
