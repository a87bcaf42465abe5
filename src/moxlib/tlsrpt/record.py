"""The TXT record by which a domain asks for TLS reports (RFC 8460 3)."""

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from moxlib.dns import MAX_NAME, Domain, Resolver
from moxlib.tlsrpt._fields import TEXT_VALUE, FieldError, Fields
from moxlib.tlsrpt.errors import InvalidRecord, UnusableRecord

__all__ = ["Record", "lookup_record", "parse_record"]

VERSION: Final = "v=TLSRPTv1"
PREFIX: Final = "_smtp._tls."

# A URI (RFC 3986 3), in which "!", "," and ";" are percent-encoded (RFC 8460 3), and no space or control is.
_uri = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\x00-\x20!,;\x7f\ud800-\udfff]*")
_comma = re.compile(r"[ \t]*(,?)[ \t]*")
_ENCODED: Final = str.maketrans({"!": "%21", ",": "%2C", ";": "%3B"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """Where a domain wants its reports.

    Attributes:
        rua: the URIs of all `rua` fields, in order, as they were written: `mailto:` or `https:`, maybe others.
        extensions: other fields, with their values.
    """

    rua: tuple[str, ...]
    extensions: tuple[tuple[str, str], ...] = ()

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses of the `mailto:` URIs, decoded and not checked; their headers (`?subject=...`) are left out."""
        mails = (uri[len("mailto:") :] for uri in self.rua if uri.lower().startswith("mailto:"))
        return tuple(unquote(mail.partition("?")[0]) for mail in mails)

    def __str__(self) -> str:
        """Return it as text for the DNS."""
        uris = ",".join(uri.translate(_ENCODED) for uri in self.rua)
        return "; ".join([VERSION, f"rua={uris}", *(f"{key}={value}" for key, value in self.extensions)])


def parse_record(text: str) -> Record:
    """Parse the text of a TXT record, its strings joined.

    Raises:
        InvalidRecord: it is none, or a malformed one: `meant` tells which.
    """
    try:
        return _parsed(Fields(text, VERSION))
    except FieldError as error:
        raise InvalidRecord(error.reason, text, meant=error.meant) from None


def _parsed(fields: Fields) -> Record:
    rua: list[str] = []
    extensions: list[tuple[str, str]] = []
    while True:
        key = fields.key()
        if key == "rua":  # may come several times, each a list
            rua.extend(_uris(fields))
        else:
            extensions.append((key, fields.take(TEXT_VALUE, "a value")[0]))
        if not fields.more():
            break
    if not rua:
        raise FieldError("there is no rua")
    return Record(rua=tuple(rua), extensions=tuple(extensions))


def _uris(fields: Fields) -> list[str]:
    uris = [fields.take(_uri, "a URI")[0]]
    while fields.take(_comma, "a comma")[1]:
        uris.append(fields.take(_uri, "a URI")[0])
    return uris


async def lookup_record(resolver: Resolver, domain: Domain) -> Record | None:
    """Return the record of a domain, or of a mail host; None when there is none.

    Raises:
        DNSError: it could not be found out.
        UnusableRecord: it is malformed, or there are several (RFC 8460 3: as if there was none).
    """
    name = f"{PREFIX}{domain.ascii}"
    if len(name) > MAX_NAME:
        return None  # so long a name cannot exist
    records: list[Record] = []
    for text in (await resolver.lookup_txt(name)).records:
        try:
            records.append(parse_record(text))
        except InvalidRecord as error:
            if error.meant:
                raise UnusableRecord(name, error.reason) from error
    if len(records) > 1:
        raise UnusableRecord(name, "there are several")
    return records[0] if records else None
