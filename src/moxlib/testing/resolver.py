"""`MockResolver`: a DNS in plain maps."""

from collections.abc import Collection, Iterable, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeVar, cast

from moxlib.dns import MX, TLSA, Answer, DNSError, IPAddress
from moxlib.dns.absolute import absolute_name, name_text
from moxlib.dns.answers import MAX_CNAMES
from moxlib.errors import InputError

__all__ = ["MockResolver"]

T = TypeVar("T")

KINDS: Final = ("a", "aaaa", "cname", "mx", "tlsa", "txt")


class MockResolver:
    """A `Resolver` that knows what the test says, and keeps what it was asked.

    Names are told apart as in the DNS: case and a final dot do not matter. CNAMEs are followed, and an answer is
    authentic if each step to it is. A name exists if it, or a name below it, has a record.

    Where names are listed (`fail`, `authentic`, ...), `"mx example.com"` is that type of that name (mx, a, aaaa, cname,
    txt, tlsa; ip for both a and aaaa), and `"example.com"` all types. A CNAME that is followed is `"cname ..."`.

    Args:
        mx: `(preference, host)` or `MX`, for each name.
        a: IPv4 addresses.
        aaaa: IPv6 addresses.
        cname: the one target.
        txt: texts.
        tlsa: `(usage, selector, matching type, data)` or `TLSA`, at names such as `_25._tcp.mx.example`.
        fail: what cannot be found out; as a map, with the reason.
        bogus: what cannot be, because its DNSSEC signatures are wrong.
        all_authentic: all is authentic, but what is in `inauthentic`.
        authentic: what is authentic otherwise.
        inauthentic: what is not, whatever else is said.

    Attributes:
        lookups: the questions in order, such as `"mx example.com"`; `"ip example.com"` for both families.

    Raises:
        InputError: a name that is none, or another type.
    """

    def __init__(
        self,
        *,
        mx: Mapping[str, Iterable[tuple[int, str] | MX]] | None = None,
        a: Mapping[str, Iterable[str]] | None = None,
        aaaa: Mapping[str, Iterable[str]] | None = None,
        cname: Mapping[str, str] | None = None,
        txt: Mapping[str, Iterable[str]] | None = None,
        tlsa: Mapping[str, Iterable[tuple[int, int, int, bytes] | TLSA]] | None = None,
        fail: Mapping[str, str] | Iterable[str] = (),
        bogus: Iterable[str] = (),
        all_authentic: bool = False,
        authentic: Iterable[str] = (),
        inauthentic: Iterable[str] = (),
    ) -> None:
        self._records: dict[tuple[str, str], tuple[object, ...]] = {
            **{("mx", _normal(name)): tuple(map(_mx, records)) for name, records in (mx or {}).items()},
            **{("a", _normal(name)): tuple(map(IPv4Address, records)) for name, records in (a or {}).items()},
            **{("aaaa", _normal(name)): tuple(map(IPv6Address, records)) for name, records in (aaaa or {}).items()},
            **{("cname", _normal(name)): (_normal(target),) for name, target in (cname or {}).items()},
            **{("txt", _normal(name)): tuple(records) for name, records in (txt or {}).items()},
            **{("tlsa", _normal(name)): tuple(map(_tlsa, records)) for name, records in (tlsa or {}).items()},
        }
        reasons = fail if isinstance(fail, Mapping) else dict.fromkeys(fail, "SERVFAIL")
        self._fail = {key: reason for where, reason in reasons.items() for key in _keys(where)}
        self._bogus = _all_keys(bogus)
        self._all_authentic = all_authentic
        self._authentic = _all_keys(authentic)
        self._inauthentic = _all_keys(inauthentic)
        self.lookups: list[str] = []

    async def lookup_cname(self, name: str) -> Answer[str]:
        """Return the CNAME of a name itself, not followed: one record, or none."""
        return cast("Answer[str]", self._ask("cname", name))

    async def lookup_mx(self, name: str) -> Answer[MX]:
        """Return its mail exchangers, CNAMEs followed."""
        return cast("Answer[MX]", self._ask("mx", name))

    async def lookup_txt(self, name: str) -> Answer[str]:
        """Return its TXT records, CNAMEs followed."""
        return cast("Answer[str]", self._ask("txt", name))

    async def lookup_tlsa(self, name: str) -> Answer[TLSA]:
        """Return its TLSA records, CNAMEs followed."""
        return cast("Answer[TLSA]", self._ask("tlsa", name))

    async def lookup_ip(self, name: str, *, ipv4: bool = True, ipv6: bool = True) -> Answer[IPAddress]:
        """Return its addresses, CNAMEs followed; those of IPv6 first."""
        kinds = ("aaaa",) * ipv6 + ("a",) * ipv4
        if not kinds:
            raise InputError("neither IPv4 nor IPv6 is asked for")
        self.lookups.append(f"{kinds[0] if len(kinds) == 1 else 'ip'} {_normal(name)}")
        answers: list[Answer[object]] = []
        errors: list[DNSError] = []
        for kind in kinds:
            try:
                answers.append(self._find(kind, name))
            except DNSError as error:
                errors.append(error)
        records = tuple(cast("IPAddress", record) for answer in answers for record in answer.records)
        if errors and not records:
            raise max(errors, key=lambda error: error.bogus)
        return Answer(
            records=records,
            authentic=all(answer.authentic for answer in answers),
            name=next((answer.name for answer in answers if answer.records), answers[0].name),
            nxdomain=all(answer.nxdomain for answer in answers),
        )

    def _ask(self, kind: str, name: str) -> Answer[object]:
        self.lookups.append(f"{kind} {_normal(name)}")
        return self._find(kind, name)

    def _find(self, kind: str, asked: str) -> Answer[object]:
        if absolute_name(asked) is None:
            return Answer(records=(), authentic=False, name=_normal(asked), nxdomain=True)
        name = _normal(asked)
        authentic = True
        for _ in range(MAX_CNAMES + 1):
            records = self._records.get((kind, name), ())
            target = self._records.get(("cname", name)) if kind != "cname" and not records else None
            step = "cname" if target else kind
            # That there is no CNAME where one is looked for on the way, is part of the answer to what was asked.
            self._check(kind, name, kind, asked)
            self._check(step, name, kind, asked)
            authentic = authentic and self._is_authentic(step, name)
            if target is None:
                nxdomain = not records and not self._exists(name)
                return Answer(records=records, authentic=authentic, name=name, nxdomain=nxdomain)
            name = cast("str", target[0])
        raise DNSError(name=asked, kind=kind.upper(), reason=f"a CNAME loop, or more than {MAX_CNAMES} CNAMEs")

    def _check(self, step: str, name: str, kind: str, asked: str) -> None:
        """Raise what is wrong with one step to the answer to what was asked."""
        if (step, name) in self._bogus:
            raise DNSError(name=asked, kind=kind.upper(), reason="SERVFAIL, extended error 6", extended=6, bogus=True)
        reason = self._fail.get((step, name))
        if reason is not None:
            raise DNSError(name=asked, kind=kind.upper(), reason=reason)

    def _is_authentic(self, kind: str, name: str) -> bool:
        if (kind, name) in self._inauthentic:
            return False
        return self._all_authentic or (kind, name) in self._authentic

    def _exists(self, name: str) -> bool:
        return any(each == name or each.endswith(f".{name}") for _, each in self._records)


def _normal(text: str) -> str:
    name = absolute_name(text)
    return text.lower().removesuffix(".") if name is None else name_text(name)


def _keys(where: str) -> Collection[tuple[str, str]]:
    kind, _, name = where.rpartition(" ")
    kinds = {"": KINDS, "ip": ("a", "aaaa")}.get(kind.lower(), (kind.lower(),))
    if not set(kinds) <= set(KINDS):
        raise InputError(f"no record type that is looked up: {kind!a} in {where!a}")
    return [(each, _normal(name)) for each in kinds]


def _all_keys(wheres: Iterable[str]) -> frozenset[tuple[str, str]]:
    return frozenset(key for where in wheres for key in _keys(where))


def _mx(record: tuple[int, str] | MX) -> MX:
    if isinstance(record, MX):
        return record
    preference, host = record
    return MX(preference=preference, host=_normal(host) if host not in ("", ".") else "")


def _tlsa(record: tuple[int, int, int, bytes] | TLSA) -> TLSA:
    if isinstance(record, TLSA):
        return record
    usage, selector, matching_type, data = record
    return TLSA(usage=usage, selector=selector, matching_type=matching_type, data=data)
