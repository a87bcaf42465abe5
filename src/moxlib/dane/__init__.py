"""DANE for SMTP: TLSA records, and certificates that are verified by them (RFC 6698, 7671, 7672). No I/O.

usable(records)                    the records that can verify a mail server's certificate
verify(records, chain, names, now) `TLSA`: the record that verified the certificates; raises `DANEError`
record_for(certificate)            the record to publish for a certificate
"""

from moxlib.dane.errors import DANEError, DANEFault
from moxlib.dane.publish import record_for
from moxlib.dane.records import DANE_EE, DANE_TA, usable
from moxlib.dane.verify import verify

__all__ = ["DANE_EE", "DANE_TA", "DANEError", "DANEFault", "record_for", "usable", "verify"]
