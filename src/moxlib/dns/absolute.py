"""Names as the DNS itself has them: absolute, without case, every octet of a label possible."""

import dns.exception
import dns.name

from moxlib.dns.errors import InvalidDomain

__all__ = ["absolute_name", "name_text"]


def absolute_name(text: str) -> dns.name.Name | None:
    r"""Parse a name to look up, with or without its final dot; `\.` and `\032` are octets of a label.

    Returns:
        None for a name or a label that is longer than the DNS has room for: it cannot exist (RFC 1035 2.3.4).

    Raises:
        InvalidDomain: empty, not ASCII, an empty label, or a bad escape.
    """
    if not text.isascii():
        raise InvalidDomain("not ASCII", text)  # not left to dnspython, whose mapping is that of IDNA 2003
    try:
        name = dns.name.from_text(text, dns.name.root)
    except (dns.name.LabelTooLong, dns.name.NameTooLong):
        return None
    except dns.exception.DNSException as err:
        raise InvalidDomain("not a name", text) from err
    if name == dns.name.root:
        raise InvalidDomain("empty", text)
    return name.canonicalize()


def name_text(name: dns.name.Name) -> str:
    """Return a name in lower case and printable ASCII, anything else escaped; the root as nothing."""
    return "" if name == dns.name.root else name.canonicalize().to_text(omit_final_dot=True)
