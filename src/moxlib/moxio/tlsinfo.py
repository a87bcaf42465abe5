"""Names for a TLS connection's version and cipher suite, for logs and history."""

from __future__ import annotations

import re
from typing import Protocol

from moxlib.errors import StateError

__all__ = ["TLSState", "tls_info"]

VERSIONS = {"TLSv1": "tls1.0"}  # the one version that OpenSSL names without its minor number

# OpenSSL leaves RSA key exchange out of its names; ECDHE alone is ECDHE-RSA, which it says of ARIA only.
KEY_EXCHANGES: dict[str | None, str] = {
    None: "rsa",
    "ADH": "dh_anon",
    "AECDH": "ecdh_anon",
    "DHE-DSS": "dhe_dss",
    "DHE-PSK": "dhe_psk",
    "DHE-RSA": "dhe_rsa",
    "ECDHE": "ecdhe_rsa",
    "ECDHE-ECDSA": "ecdhe_ecdsa",
    "ECDHE-PSK": "ecdhe_psk",
    "ECDHE-RSA": "ecdhe_rsa",
    "EDH-RSA": "dhe_rsa",
    "PSK": "psk",
    "RSA-PSK": "rsa_psk",
    "SRP": "srp_sha",
    "SRP-DSS": "srp_sha_dss",
    "SRP-RSA": "srp_sha_rsa",
}

SUITE = re.compile(
    rf"""
    (?: (?P<key_exchange> {"|".join(sorted(filter(None, KEY_EXCHANGES), key=len, reverse=True))} ) - )?
    (?:
        (?P<block> AES | ARIA | CAMELLIA ) -? (?P<bits> 128 | 256 )
        (?: - (?P<mode> CBC | GCM ) )?
        (?: - (?P<hash> SHA (?: 256 | 384 )? ) | - CCM (?P<ccm8> 8 )? )
      | (?P<other> CHACHA20-POLY1305 | DES-CBC3-SHA | RC4-(?: MD5 | SHA ) | NULL-(?: MD5 | SHA (?: 256 | 384 )? ) )
    )
    """,
    re.VERBOSE,
)

OTHERS = {
    "CHACHA20-POLY1305": "chacha20_poly1305_sha256",
    "DES-CBC3-SHA": "3des_ede_cbc_sha",
    "RC4-MD5": "rc4_128_md5",
    "RC4-SHA": "rc4_128_sha",
}


class TLSState(Protocol):
    """What is asked of an `ssl.SSLSocket` or `ssl.SSLObject`."""

    def version(self) -> str | None:
        """Return OpenSSL's name of the protocol version; None before the handshake."""
        ...

    def cipher(self) -> tuple[str, str, int] | None:
        """Return OpenSSL's name of the suite, the protocol that defined it, and secret bits; None before."""
        ...


def tls_info(ssl_object: TLSState) -> tuple[str, str]:
    """Return version and cipher suite, as `("tls1.3", "tls_aes_128_gcm_sha256")`.

    Both are lower case and without spaces. The suite has its IANA name, which OpenSSL uses for TLS 1.3 only; one that
    this module cannot name keeps OpenSSL's.

    Raises:
        StateError: the handshake has not been done.
    """
    version, cipher = ssl_object.version(), ssl_object.cipher()
    if version is None or cipher is None:
        raise StateError("there is no TLS before the handshake")
    return VERSIONS.get(version, version.lower().replace("tlsv", "tls")), _iana_name(cipher[0])


def _iana_name(name: str) -> str:
    suite = SUITE.fullmatch(name)
    if suite is None:
        return name.lower()
    key_exchange = KEY_EXCHANGES[suite["key_exchange"]]
    if suite["other"]:
        return f"tls_{key_exchange}_with_{OTHERS.get(suite['other'], suite['other'].lower().replace('-', '_'))}"
    cipher = f"{suite['block'].lower()}_{suite['bits']}"
    if suite["hash"]:
        return f"tls_{key_exchange}_with_{cipher}_{(suite['mode'] or 'CBC').lower()}_{suite['hash'].lower()}"
    if suite["ccm8"]:
        if key_exchange == "dhe_psk":  # RFC 6655 turned these two names round
            key_exchange = "psk_dhe"
        return f"tls_{key_exchange}_with_{cipher}_ccm_8"
    return f"tls_{key_exchange}_with_{cipher}_ccm"
