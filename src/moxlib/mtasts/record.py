"""The TXT record by which a domain says that it has a policy, and which (RFC 8461 3.1)."""

import re
from dataclasses import dataclass
from typing import Final

from moxlib.dns import MAX_NAME, Domain, Resolver
from moxlib.mtasts.errors import InvalidRecord, UnusableRecord
from moxlib.tlsrpt._fields import TEXT_VALUE, FieldError, Fields

__all__ = ["Record", "lookup_record", "parse_record"]

VERSION: Final = "v=STSv1"
PREFIX: Final = "_mta-sts."

_id = re.compile(r"[A-Za-z0-9]{1,32}")  # RFC 8461 3.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """The record of a domain that has a policy.

    Attributes:
        id: letters and digits; another one means that the policy has changed.
        extensions: other fields, with their values.
    """

    id: str
    extensions: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Return it as text for the DNS."""
        return "; ".join([VERSION, f"id={self.id}", *(f"{key}={value}" for key, value in self.extensions)])


def parse_record(text: str) -> Record:
    """Parse the text of a TXT record, its strings joined. Of several ids, the first one counts (RFC 8461 3.2).

    Raises:
        InvalidRecord: it is none, or a malformed one: `meant` tells which.
    """
    try:
        return _parsed(Fields(text, VERSION))
    except FieldError as error:
        raise InvalidRecord(error.reason, text, meant=error.meant) from None


def _parsed(fields: Fields) -> Record:
    ids: list[str] = []
    extensions: list[tuple[str, str]] = []
    while True:
        key = fields.key()
        if key == "id":
            ids.append(fields.take(_id, "an id")[0])
        else:
            extensions.append((key, fields.take(TEXT_VALUE, "a value")[0]))
        if not fields.more():
            break
    if not ids:
        raise FieldError("there is no id")
    return Record(id=ids[0], extensions=tuple(extensions))


async def lookup_record(resolver: Resolver, domain: Domain) -> Record | None:
    """Return the record of a recipient domain, CNAMEs followed; None when there is none.

    Raises:
        DNSError: it could not be found out.
        UnusableRecord: it is malformed, or there are several (RFC 8461 3.1: as if there was none).
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
                raise UnusableRecord(name, error.reason, "record-syntax-error") from error
    if len(records) > 1:
        raise UnusableRecord(name, "there are several", "multiple-mta-sts-records")
    return records[0] if records else None
