"""The roots of moxlib's one error tree; the class says what the caller can do.

    MoxlibError
    ├── InputError            (ValueError)    what you passed is wrong: mend it, a retry changes nothing
    │   └── LimitExceeded                     it is larger than a limit you or moxlib set
    ├── StateError            (RuntimeError)  the object is closed, or not open yet
    ├── MissingExtra          (ImportError)   install the named extra
    ├── StorageError          (OSError)       this machine's disk or database: space, permissions, damage
    ├── UnexpectedEOF         (EOFError)      input ended where more had to come
    └── RemoteError           (OSError)       the peer's fault, or the network's: a retry may help

Packages add their own classes below these, in their own `errors` module or beside what raises them.
Fields carry the facts; the text is made from them. Text from a peer is escaped and bounded before it gets here.
"""

__all__ = [
    "InputError",
    "LimitExceeded",
    "MissingExtra",
    "MoxlibError",
    "RemoteError",
    "StateError",
    "StorageError",
    "UnexpectedEOF",
]


class MoxlibError(Exception):
    """Anything that moxlib raises on purpose."""


class InputError(MoxlibError, ValueError):
    """Something the caller passed is wrong; the text says what and where."""


class LimitExceeded(InputError):
    """More than `limit` units (bytes, unless the text says otherwise) were read or given."""

    def __init__(self, limit: int, what: str = "input") -> None:
        super().__init__(f"{what} is larger than the limit of {limit}")
        self.limit = limit
        self.what = what

    def __reduce__(self) -> tuple[type["LimitExceeded"], tuple[int, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.limit, self.what)


class StateError(MoxlibError, RuntimeError):
    """The object cannot do this in the state it is in (closed, not entered, already running)."""


class MissingExtra(MoxlibError, ImportError):
    """A part was constructed whose optional dependencies are not installed."""

    def __init__(self, extra: str, what: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}: pip install 'moxlib[{extra}]'")
        self.extra = extra
        self.what = what

    def __reduce__(self) -> tuple[type["MissingExtra"], tuple[str, str]]:
        """Pickle by fields, not by text."""
        return type(self), (self.extra, self.what)


class StorageError(MoxlibError, OSError):
    """The local disk or database refused or is damaged."""


class UnexpectedEOF(MoxlibError, EOFError):
    """Input ended before what had to come was complete."""


class RemoteError(MoxlibError, OSError):
    """The peer, or the network between, did something wrong or nothing at all."""
