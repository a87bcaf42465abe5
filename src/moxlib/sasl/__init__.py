"""SASL client mechanisms (RFC 4422), without I/O: PLAIN, LOGIN, CRAM-MD5, SCRAM (also with channel binding), XOAUTH2.

mechanism = choose_mechanism(["PLAIN", "SCRAM-SHA-256"], Credentials(username="mjl", password="secret"))
step = mechanism.step()                 # the first message; then mechanism.step(challenge)
"""

from moxlib.sasl.choose import DEFAULT_MECHANISMS, MECHANISMS, Credentials, choose_mechanism
from moxlib.sasl.crammd5 import CRAMMD5
from moxlib.sasl.errors import NoMechanism, SASLError
from moxlib.sasl.mechanism import External, Login, Mechanism, Plain, Step, XOAuth2
from moxlib.sasl.prepare import prepared_password
from moxlib.sasl.scram import SCRAM, ChannelBinding, SCRAMHash, make_nonce

__all__ = [
    "CRAMMD5",
    "DEFAULT_MECHANISMS",
    "MECHANISMS",
    "SCRAM",
    "ChannelBinding",
    "Credentials",
    "External",
    "Login",
    "Mechanism",
    "NoMechanism",
    "Plain",
    "SASLError",
    "SCRAMHash",
    "Step",
    "XOAuth2",
    "choose_mechanism",
    "make_nonce",
    "prepared_password",
]
