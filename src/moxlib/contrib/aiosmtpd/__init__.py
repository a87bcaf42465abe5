"""aiosmtpd handlers that feed a queue: with the bounces that come back, and with mail to send. Needs aiosmtpd.

IncomingHandler(queue, ...)      what comes in goes to `queue.incoming`; what is no feedback, to the host
SubmissionHandler(queue, ...)    what is submitted goes to `queue.submit`
Submitter                        who submits: whose account, and which address logged in
IncomingMail                     what is no feedback
SubmissionSMTP, IncomingSMTP     aiosmtpd's protocol, with the parameters and line lengths that these need

Both are made to run in the queue's own event loop::

    server = await asyncio.get_running_loop().create_server(handler.factory(), "", 25)

`moxlib.localserve.LoopbackServer(handler=...)` serves for trying it. aiosmtpd's `Controller` runs a loop of its own in
a thread; in there, a queue has to be opened in that loop.
"""

from typing import TYPE_CHECKING

from moxlib._lazy import lazy_names

if TYPE_CHECKING:
    from moxlib.contrib.aiosmtpd.incoming import IncomingHandler, IncomingMail
    from moxlib.contrib.aiosmtpd.server import IncomingSMTP, SubmissionSMTP
    from moxlib.contrib.aiosmtpd.sessions import Submitter
    from moxlib.contrib.aiosmtpd.submission import SubmissionHandler

__all__ = ["IncomingHandler", "IncomingMail", "IncomingSMTP", "SubmissionHandler", "SubmissionSMTP", "Submitter"]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let every misspelt name pass
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "IncomingHandler": ".incoming",
            "IncomingMail": ".incoming",
            "IncomingSMTP": ".server",
            "SubmissionHandler": ".submission",
            "SubmissionSMTP": ".server",
            "Submitter": ".sessions",
        },
    )
