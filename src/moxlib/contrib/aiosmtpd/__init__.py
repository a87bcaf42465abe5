"""Handlers for aiosmtpd's SMTP server: mail that comes in goes to a queue as feedback, or as submissions.

IncomingHandler(queue, ...)      takes bounces, complaints and other mail that comes in; see `Queue.incoming`
SubmissionHandler(queue, ...)    takes mail that programs submit over SMTP; see `Queue.submit`
Submitter                        who submits

Hand one to `aiosmtpd.smtp.SMTP` or its controllers. They run in the event loop that the queue was opened in: with
`aiosmtpd.controller.UnthreadedController`, or `loop.create_server`, or `moxlib.localserve.LoopbackServer(handler=...)`.
"""

from moxlib.contrib.aiosmtpd.incoming import IncomingHandler, IncomingMail
from moxlib.contrib.aiosmtpd.submission import SubmissionHandler, Submitter

__all__ = ["IncomingHandler", "IncomingMail", "SubmissionHandler", "Submitter"]
