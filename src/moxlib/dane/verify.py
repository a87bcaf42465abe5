"""Verifying the certificates of a peer by TLSA records."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from moxlib.dane.certificate import certificate_of, public_key_of
from moxlib.dane.errors import DANEError, DANEFault
from moxlib.dane.names import has_name
from moxlib.dane.path import Paths, is_valid, validate
from moxlib.dane.records import CERTIFICATE, DANE_EE, FULL, matches, usable
from moxlib.dns import TLSA, Domain

__all__ = ["verify"]

MAX_CHAIN: Final = 10  # certificates of a peer that are looked at; a chain has two to four


def verify(records: Sequence[TLSA], chain: Sequence[bytes], names: Sequence[Domain], now: datetime) -> TLSA:
    """Return a record that verifies a peer's certificates; of several, one of usage DANE-EE.

    A record of usage DANE-EE verifies the peer's own certificate, whatever its names and dates (RFC 7671 5.1). One of
    usage DANE-TA verifies it below an authority, which the peer sends along or the record holds in full: then one of
    the names has to be in it, and the dates count (RFC 7671 5.2).

    Args:
        records: those of the peer; the ones that are not `usable` are passed over.
        chain: the peer's certificates in DER, its own first.
        names: those that it may have.
        now: the time.

    Raises:
        DANEError: none of them does.
    """
    if not chain:
        raise DANEError("the server sent no certificate", fault=DANEFault.NO_CERTIFICATE)
    authorities: list[TLSA] = []
    for record in usable(records):
        if record.usage != DANE_EE:
            authorities.append(record)
        elif matches(record, chain[0]):
            return record
    if not authorities:
        raise _no_match()
    return _verified_below(authorities, chain, names, now)


def _verified_below(records: Sequence[TLSA], chain: Sequence[bytes], names: Sequence[Domain], now: datetime) -> TLSA:
    certificates = list(map(certificate_of, dict.fromkeys(chain[:MAX_CHAIN])))
    if certificates[0] is None:
        raise DANEError("the server's certificate cannot be read", fault=DANEFault.NO_CERTIFICATE)
    paths = Paths([one for one in certificates if one is not None])
    problem: DANEError | None = None
    tried: set[tuple[x509.Certificate, ...]] = {()}  # several records may be of one authority
    for record in records:
        anchors = _anchors(record, paths)
        if anchors in tried:
            continue
        tried.add(anchors)
        try:
            _check(paths, anchors, names, now)
        except DANEError as error:
            problem = problem or error
        else:
            return record
    raise problem or _no_match()


def _no_match() -> DANEError:
    return DANEError("no TLSA record matches a certificate of the server", fault=DANEFault.NO_MATCH)


def _anchors(record: TLSA, paths: Paths) -> tuple[x509.Certificate, ...]:
    """Return the certificates that a record makes trust anchors, none where it matches none."""
    anchors = tuple(one for one in paths.certificates if matches(record, one.public_bytes(Encoding.DER)))
    if anchors or record.matching_type != FULL:
        return anchors
    if record.selector == CERTIFICATE:
        held = certificate_of(record.data)
        return () if held is None else (held,)
    # RFC 7671 5.2.3: the peer need not send the authority whose key the record holds. What that key signed is then as
    # good as an anchor.
    key = public_key_of(record.data)
    return () if key is None else paths.signed_by(key)


def _check(paths: Paths, anchors: tuple[x509.Certificate, ...], names: Sequence[Domain], now: datetime) -> None:
    """Raise `DANEError` unless the peer's certificate is below one of the anchors, valid, and for one of the names."""
    path = paths.to(anchors, at=now)
    if path is None:
        raise _no_path(paths.to(anchors, at=None), now)
    if not has_name(path[0], names):
        reason = f"a trust anchor matches, but the server's certificate is not for {_list(names)}"
        raise DANEError(reason, fault=DANEFault.NAME)
    validate(path, now)


def _no_path(path: tuple[x509.Certificate, ...] | None, now: datetime) -> DANEError:
    if path is None:
        return DANEError(
            "a trust anchor matches, but the server's certificate is not below it", fault=DANEFault.NO_PATH
        )
    one = next(one for one in path if not is_valid(one, now))
    when = "is not valid yet" if now < one.not_valid_before_utc else "has expired"
    whose = "the server's certificate" if one == path[0] else "the certificate of an authority"
    return DANEError(f"a trust anchor matches, but {whose} {when}", fault=DANEFault.EXPIRED)


def _list(names: Sequence[Domain]) -> str:
    return " or ".join(name.ascii for name in names) or "any name"
