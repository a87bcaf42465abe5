"""Whether a certificate is one for a name (RFC 7672 3.2.3)."""

from collections.abc import Iterable

from cryptography import x509

from moxlib.dns import Domain

__all__ = ["has_name"]


def has_name(certificate: x509.Certificate, references: Iterable[Domain]) -> bool:
    """Return whether one of the DNS names of a certificate is one of the references: equal, or with `*` before a dot.

    As in mox, the common name does not count: it is of no certain form, and name constraints do not apply to it (RFC
    9525 2; RFC 7672 3.2.3 would have it considered where there are no DNS names).
    """
    wanted: set[str] = set()
    for reference in references:
        _, dot, parent = reference.ascii.partition(".")
        wanted |= {reference.ascii, f"*.{parent}"} if dot else {reference.ascii}
    return any(name.lower() in wanted for name in _dns_names(certificate))


def _dns_names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return names.value.get_values_for_type(x509.DNSName)
