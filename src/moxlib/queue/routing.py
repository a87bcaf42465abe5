"""Which transport takes a message: routes, and the decision on them. Pure.

Account routes come before the sender domain's, those before the global ones; within each, the first that matches.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from moxlib.errors import InputError

__all__ = ["Route", "choose"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Send what matches through `transport`.

    An empty tuple of domains matches all; `.example` matches example and its subdomains. `min_attempts` lets a route
    apply only after so many attempts failed.
    """

    transport: str
    sender_domains: tuple[str, ...] = ()
    recipient_domains: tuple[str, ...] = ()
    min_attempts: int = 0

    def __post_init__(self) -> None:
        """Refuse what would never match.

        Raises:
            InputError: a domain that is not in lower-case ASCII form.
        """
        for domain in (*self.sender_domains, *self.recipient_domains):
            if not domain.isascii() or domain != domain.lower() or not domain.strip("."):
                raise InputError(f"a route's domain must be in lower-case ASCII form, not {domain!r}")

    def matches(self, *, sender_domain: str, recipient_domain: str, attempts: int) -> bool:
        """Say whether this route applies to a message after `attempts` attempts already made."""
        return (
            attempts >= self.min_attempts
            and _matches_domain(self.sender_domains, sender_domain)
            and _matches_domain(self.recipient_domains, recipient_domain)
        )


def _matches_domain(patterns: tuple[str, ...], domain: str) -> bool:
    if not patterns:
        return True
    for pattern in patterns:
        if pattern.startswith("."):
            if domain == pattern[1:] or domain.endswith(pattern):
                return True
        elif domain == pattern:
            return True
    return False


def choose(routes: Iterable[Route], *, sender_domain: str, recipient_domain: str, attempts: int) -> Route | None:
    """Return the first route that matches, or None."""
    for route in routes:
        if route.matches(sender_domain=sender_domain, recipient_domain=recipient_domain, attempts=attempts):
            return route
    return None
