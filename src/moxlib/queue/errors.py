"""What the queue raises.

Below the roots of `moxlib.errors`::

    InputError    ├── InvalidSubmission   a message cannot be queued as given
                  ├── InvalidConnection   a caller's connection that a submit cannot join
                  ├── IdempotencyConflict the key was used for something else
                  ├── InvalidSchedule     a retry schedule cannot be read
                  ├── InvalidFilter       a filter, cursor or hold rule names what does not exist
                  └── UnknownTransport    a transport name that was not registered
    LimitExceeded ├── MessageTooLarge
                  ├── TooManyRecipients
                  ├── MessageLimitReached   the account has sent enough for a day; later it may again
                  └── RecipientLimitReached  so it has to those it had never sent to
    StateError    └── QueueClosed
    StorageError  ├── StorageFull         no space left: free some, then try again
                  ├── StorageReadOnly     permissions, or a read-only file system
                  ├── StorageDamaged      the database file is not one, or is broken
                  ├── StorageBusy         another process kept the database locked for too long
                  ├── StorageUnavailable  the database server cannot be reached: try again later
                  ├── SchemaTooNew        a newer moxlib wrote this database
                  └── ContentDamaged      a message's content is torn, altered or missing

Each carries its facts as fields; whatever is raised, nothing of the refused operation was stored (but see
`StorageUnavailable`).
"""

from collections.abc import Callable

from moxlib.errors import InputError, LimitExceeded, StateError, StorageError

__all__ = [
    "ContentDamaged",
    "IdempotencyConflict",
    "InvalidConnection",
    "InvalidFilter",
    "InvalidSchedule",
    "InvalidSubmission",
    "MessageLimitReached",
    "MessageTooLarge",
    "QueueClosed",
    "RecipientLimitReached",
    "SchemaTooNew",
    "StorageBusy",
    "StorageDamaged",
    "StorageFull",
    "StorageReadOnly",
    "StorageUnavailable",
    "TooManyRecipients",
    "UnknownTransport",
]


class InvalidSubmission(InputError):
    """The message cannot be queued as given; nothing of it was stored."""


class InvalidConnection(InputError):
    """A connection given to `submit` whose transaction it cannot join; nothing was done on it."""


class IdempotencyConflict(InputError):
    """Something else was submitted under this idempotency key; nothing of the new submission was stored."""

    def __init__(self, key: str) -> None:
        super().__init__(f"another message was submitted under the idempotency key {key!r}")
        self.key = key

    def __reduce__(self) -> tuple[type["IdempotencyConflict"], tuple[str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.key,)


class InvalidSchedule(InputError):
    """A retry schedule that cannot be read; `position` counts its comma-separated parts from 1."""

    def __init__(self, reason: str, schedule: str, position: int = 0) -> None:
        where = f" (part {position})" if position else ""
        super().__init__(f"retry schedule {schedule!r}{where}: {reason}")
        self.reason = reason
        self.schedule = schedule
        self.position = position

    def __reduce__(self) -> tuple[type["InvalidSchedule"], tuple[str, str, int]]:
        """Pickle by fields, not by text."""
        return type(self), (self.reason, self.schedule, self.position)


class InvalidFilter(InputError):
    """A filter, a pagination cursor or a hold rule with an unknown field or a value that cannot be."""


class UnknownTransport(InputError):
    """The name of a transport that was not registered with this queue."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(f"no transport is registered as {name!r}; known: {', '.join(known) or 'none'}")
        self.name = name
        self.known = known

    def __reduce__(self) -> tuple[type["UnknownTransport"], tuple[str, tuple[str, ...]]]:
        """Pickle by fields, not by text."""
        return type(self), (self.name, self.known)


class MessageTooLarge(LimitExceeded):
    """The message is larger than `QueueConfig.max_message_size`."""

    def __init__(self, limit: int, what: str = "message") -> None:
        super().__init__(limit, what)


class TooManyRecipients(LimitExceeded):
    """One submission names more recipients than `QueueConfig.max_recipients`."""

    def __init__(self, limit: int, what: str = "list of recipients") -> None:
        super().__init__(limit, what)


class MessageLimitReached(LimitExceeded):
    """The account would have sent more in 24 hours than `SendingLimits.messages_per_day`. Some hours later, it may."""

    def __init__(self, limit: int, what: str = "number of recipients in a day") -> None:
        super().__init__(limit, what)


class RecipientLimitReached(LimitExceeded):
    """The account would have written in 24 hours to more it never wrote to than its `SendingLimits` allow."""

    def __init__(self, limit: int, what: str = "number of first-time recipients in a day") -> None:
        super().__init__(limit, what)


class QueueClosed(StateError):
    """The queue was closed, or is not open yet."""


class StorageFull(StorageError):
    """The disk, a quota or the database's size limit is used up; nothing of the operation was stored."""


class StorageReadOnly(StorageError):
    """The database, its directory or its file system cannot be written."""


class StorageDamaged(StorageError):
    """The database is not one, or its structure is broken."""


class StorageBusy(StorageError):
    """Another process held the database's lock for longer than the queue waits.

    Or, from a submit in a caller's own transaction at REPEATABLE READ or SERIALIZABLE: another transaction was in the
    way, and the caller's is to be rolled back and repeated.
    """


class StorageUnavailable(StorageError):
    """The database server cannot be reached, or ended the connection.

    `in_doubt`: the connection ended during the commit, and the server did not come back in time to say how that went.
    The operation may have happened; a submit with an idempotency key can be repeated safely.
    """

    def __init__(self, text: str, *, in_doubt: bool = False) -> None:
        super().__init__(text)
        self.in_doubt = in_doubt

    def __reduce__(self) -> tuple[Callable[..., "StorageUnavailable"], tuple[str, bool]]:
        """Pickle by fields, not by text."""
        return _unavailable, (str(self), self.in_doubt)


def _unavailable(text: str, in_doubt: bool) -> StorageUnavailable:
    return StorageUnavailable(text, in_doubt=in_doubt)


class SchemaTooNew(StorageError):
    """The database was written by a newer moxlib; this one would damage it, so it refuses."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"the database has schema {found}; this moxlib knows schemas up to {known}: upgrade moxlib")
        self.found = found
        self.known = known

    def __reduce__(self) -> tuple[type["SchemaTooNew"], tuple[int, int]]:
        """Pickle by fields, not by text."""
        return type(self), (self.found, self.known)


class ContentDamaged(StorageError):
    """A message's content is not what was stored: it is missing, cut short or altered."""
