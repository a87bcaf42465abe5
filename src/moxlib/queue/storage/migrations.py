"""The numbered migrations of an engine's schema, which lie beside it as SQL."""

from importlib.resources import files

__all__ = ["numbered"]


def numbered(package: str) -> tuple[str, ...]:
    """Return the SQL of `migrations/` in a package, in order; a schema's version is how many of them were applied."""
    directory = files(package) / "migrations"
    names = sorted(entry.name for entry in directory.iterdir() if entry.name.endswith(".sql"))
    for number, name in enumerate(names, 1):
        if int(name.split("_")[0]) != number:
            raise AssertionError(f"migration {name} should have number {number}")
    return tuple((directory / name).read_text(encoding="utf-8") for name in names)
