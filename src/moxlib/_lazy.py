"""Names that load the module they live in when they are first used (PEP 562).

`import moxlib.moxio` must not pay for asyncio or cryptography because one of its names needs them.
"""

from importlib import import_module

TYPE_CHECKING = False  # typing's own would cost more than a small module that is imported lazily
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def lazy_names(package: str, homes: "Mapping[str, str]") -> "tuple[Callable[[str], object], Callable[[], list[str]]]":
    """Return the `__getattr__` and `__dir__` of a package whose names live in the given submodules.

    Args:
        package: the package's `__name__`.
        homes: for each public name, the submodule it lives in, relative to the package (`".base64writer"`).
    """

    def __getattr__(name: str) -> object:  # noqa: N807 - it becomes the module's own
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(home, package), name)

    def __dir__() -> list[str]:  # noqa: N807
        return sorted(homes)

    return __getattr__, __dir__
