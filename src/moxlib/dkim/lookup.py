"""The record of a selector, looked up."""

from dataclasses import dataclass

from moxlib.dkim.errors import InvalidRecord, shown
from moxlib.dkim.record import Record, parse_record, record_name
from moxlib.dkim.result import Problem, Status
from moxlib.dns import MAX_NAME, DNSError, Domain, Resolver
from moxlib.errors import LimitExceeded

__all__ = ["Found", "Lookup", "NotFound", "lookup_record"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """There is one record, and whether DNSSEC authenticated that."""

    record: Record
    authentic: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFound:
    """There is no one record to verify with.

    Attributes:
        status: what that makes of a signature: temporary or permanent.
        problem: why.
        error: the same for people.
        authentic: whether DNSSEC authenticated it.
    """

    status: Status
    problem: Problem
    error: str
    authentic: bool = False


Lookup = Found | NotFound


async def lookup_record(resolver: Resolver, selector: str, domain: Domain) -> Lookup:
    """Look up the record of a selector, CNAMEs followed (RFC 6376 6.1.2).

    TXT records that are something else are left alone, unless there is nothing else.

    Raises:
        InvalidDomain: the selector is none.
    """
    name = record_name(selector, domain)
    if len(name) > MAX_NAME:  # so long a name cannot exist
        return _none(name, authentic=False)
    try:
        answer = await resolver.lookup_txt(name)
    except DNSError as error:
        return NotFound(status=Status.TEMPERROR, problem=Problem.DNS, error=str(error))
    if not answer.records:
        return _none(name, authentic=answer.authentic)
    return _one_of(name, answer.records, authentic=answer.authentic)


def _none(name: str, *, authentic: bool) -> NotFound:
    error = f"there is no record {shown(name)}"
    return NotFound(status=Status.PERMERROR, problem=Problem.NO_RECORD, error=error, authentic=authentic)


def _one_of(name: str, texts: tuple[str, ...], *, authentic: bool) -> Lookup:
    records: list[Record] = []
    refused: InvalidRecord | LimitExceeded | None = None
    for text in texts:
        try:
            records.append(parse_record(text))
        except (InvalidRecord, LimitExceeded) as error:
            refused = error
            if isinstance(error, InvalidRecord) and error.meant:
                records.clear()
                break
    if len(records) == 1:
        return Found(record=records[0], authentic=authentic)
    if records:  # RFC 6376 3.6.2.2 leaves it open. As in mox: somebody may be changing them just now.
        status, problem = Status.TEMPERROR, Problem.SEVERAL_RECORDS
        return NotFound(
            status=status, problem=problem, error=f"there are several records {shown(name)}", authentic=authentic
        )
    # Differs: mox calls what is no DKIM record a temporary error; RFC 6376 6.1.2 has a permanent one.
    return NotFound(status=Status.PERMERROR, problem=Problem.RECORD_SYNTAX, error=str(refused), authentic=authentic)
