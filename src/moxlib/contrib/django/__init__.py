"""Django's e-mail backend on a moxlib queue, and a management command that delivers.

EmailBackend                     what `EMAIL_BACKEND`, or `MAILERS`, names
with_options(message, ...)       what one message asks of the queue: an idempotency key, an earliest time, ...
submissions(message)             the receipts of a message that was sent: the ids to find it by
manage.py moxlib_worker          delivers what is queued

In the settings::

    INSTALLED_APPS = [..., "moxlib.contrib.django"]
    EMAIL_BACKEND = "moxlib.contrib.django.EmailBackend"
    MOXLIB = {"database": "default"}     # which is also what holds without it

It has to be one of `INSTALLED_APPS`: what a process shares (the open queue) is kept in the app's configuration, so that
this package has no state of its own, and `manage.py migrate` creates the queue's tables.
"""

try:
    from moxlib.contrib.django.backend import EmailBackend, SubmitOptions, submissions, with_options
except ModuleNotFoundError as _error:
    if (_error.name or "").split(".")[0] != "django":
        raise
    raise ImportError(
        "moxlib.contrib.django is for programs that use Django (4.2 or newer), which is not installed",
        name="django",
    ) from _error

__all__ = ["EmailBackend", "SubmitOptions", "submissions", "with_options"]
