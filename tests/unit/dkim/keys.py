"""Keys for the tests, and a domain that publishes them."""

from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from moxlib.dkim import Selector, load_private_key, record_for
from moxlib.dns import parse_domain
from moxlib.testing import MockResolver

DOMAIN = parse_domain("example.org")


def _rsa(pem: str) -> RSAPrivateKey:
    key = load_private_key(pem)
    assert isinstance(key, RSAPrivateKey)
    return key


# Keys of tests alone, and the same each time: they stand in the names of tests.
RSA = _rsa("""\
-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQDJONyjZkD5+e67
FdAmq1VTZIUJrIgmN/6HSxlSXPuzeJCPdwG8n8ej2DXjXqzrhLJ/hrNUABgdAlHW
EaxFPTw0T0gJkOVmbKVNhPbk6f/xUW5tCOzik2Rm9r2Y1D04l0xxkCPlHWEneMSs
3jR1CejO/r5127SBAwnCDLmJxPICpZfVkOKhw2Ak7tFk47RjOfHO9gjZs1/B4xGh
3ewjH7E3FZ4AxxMsttfc4kdqe6rlvfMT7vpnbsVT+wwTz1mFomwutcggpcat8l0Y
u/RWHIwTm84YXrhlCC1hj8uuKUIWVpT+xfbdR98FTttZBF8FabihPq8wHf4zBkHS
MqtEy2X7AgMBAAECggEAA4Ah1a8RNIGrEmxQnzBkck6k29eGOzf5897HSLE4z1Uq
tDw4EDdG91KeRixrw+GE/QZZ90oH7ih2Rcv8tbjZFvkSggwYJley6a4FYSBK/toE
tEPiYkl5hsSf5SYID9FEZKz2J7KC2EQ+RtpkvWzkzmw/4iszMPoqQMrZrXJhWjdn
gcsPIEdSnQcXg7CR6vlkWhwU/O7sEhx06dUqRLM8rA31zooaOxmMNjtnNxBMtve3
VHhRgK9aCR57hzdtC4hoewgozX7gKvXgyd6k9yQQ2hKVL3EVK/8u00QRCL6Pj4u1
tyr28vRMISoEwZb6PytNloF8fO1i33s+M2n1Ry24xQKBgQD+ViDG1i/vIILe2jLs
5CS/TF0fP0sBkCyp6FreSNa/yxBbVXviXvcmYUN6xaRd7k0CqJJlYshM6B4w1bDe
49zq+85AX46bIRPwDwuMhjbFGS0SzhtNYid+/Wv2KSfrTiYZond6Lqup+5dnQTV3
2P93j5TQOrdVvov6kQMHlpdy3QKBgQDKicwCWJ9BEPjtfmOgAxayI6dIoDLWF4wY
k3q5L5COPmiseSbG0cudJNqhEVvUfB2t+wj4ClGoB97G4H7WqIpsu+7o8i4gYeda
B+hl+WLIAKUDRc1Z1qFyAD5DOmnibEqD1LAXbpU6QYbha6T+zqhfPtMe4fBkUFhm
I4iJiRvStwKBgH2aMTOg4Sk5qAfAQDgG7zLd1nsw+ay686OxEPcHh65N7TT9wWFo
vqtgiz+dTW/p2HRApZOWNg7s7sP1NBTO+PG/Cvt1dWqc6ki6VVy/h1rM9Rp9WLRd
jd3D70YwyvsErAIq3tAjLjmS+xFN/cbDDl6QNNCkvpeEs4I5jQJ5Vy+tAoGAC6dw
KLZmu3y5hhjerKdg1/E7P++P3UfPlN5vklZNUBIBPeNeutP5jlo/hkMUcJ6PqqIm
OveFCVEinXjvc3SROn552ceNpelcQY7w7WUzLOT0mcKbdU7nTUL8Uiv7Sb8Hbpx/
YWnIhmic1T23ab4EbC6WQVGo3mzNGVt0EM3l3vMCgYBGg0JFV0owLGKSa87I2eNI
9Qs1kkvFv25hXbJ3OSvPuSn/bCxuUIEruyPXd7SGIA+xxJNnrhUYiU4PnRn1EXBM
PjFsG1G7Hj5bbH/ZyoH+sRYZbsYvRF3z9U47jl/mSFgYaUh4quOkTPNnKIgL6UtX
G/IxwSNteAb2IPxHoQWyYA==
-----END PRIVATE KEY-----
""")
RSA_1024 = _rsa("""\
-----BEGIN PRIVATE KEY-----
MIICdwIBADANBgkqhkiG9w0BAQEFAASCAmEwggJdAgEAAoGBAKipUMxC14LWFg1A
Ip/jBmBM0uqNYf4d7YuJcvqpL3bioH9Pj03aTzJeA2csaebsgHvcsdXAuMV9DcxF
EZGOjLPzptJVQwcCc3FfdlM6njE6wuweAKoJnuyxHXGhmsD6E++VL0J0MkiggU52
XdG8Rx+3kmjvKL0mHZ8vYJ7sUrtlAgMBAAECgYEAoGE4urNI2VoYaAs3oZAw7PvA
iFde+lSdINXX5vFgeA0yjz0pSN+x9XQeikpafcMgvidzV45GZUzwBPEcrqu9sIlX
+mP2+WfkMmEsthMoumMSdIKNgRkGJOmEW+GyuITjrDRlY0jllisHfDWYfSjHpzFq
0pwZrpYcQD5w9nRG6zUCQQDUOzBTPLJ36XwOz828djAh59xPSIE89h1hd/CoazQN
+1exkimGteyDfT8s7eXs9u3uZzMZEaiQBojzHRkaci8PAkEAy3HYVtSsJpyhs45R
E5ozmbNWA/ldjhQnTK7/5y2o8qr8bO0Gqa1hC12bVTtxmle7iiuGyF9o0MF26n/U
yPHuSwJAVf9V6aSivKxDtMzHlSJfBp4pS4cZt1YTObecMOKfyTqbojyTzx5QpEdQ
HiiYDplQeFYhAnuBTjsXq0uTLIAwSQJBAJ7foc11OZbRnKlmy0PemMs/tD1YQEoS
zPnic68qBhSzmHrLwvdAkVdZ21L9H+Mi/i6RfSj+8RCM9Ht+JkJiQ+8CQCa7QR1G
871TdGRXTDOxJsTwCB9aezRFhZMqQEvJv+kaJFXN6C7PH6veLR/dGAoQQ+smT7jS
TxG/ra5KGRwXvwM=
-----END PRIVATE KEY-----
""")
ED25519 = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def selector(name: str = "ed", key: Any = ED25519, **options: Any) -> Selector:
    return Selector(**{"domain": DOMAIN, "name": name, "private_key": key, **options})


def published(*selectors: Selector) -> MockResolver:
    return MockResolver(txt={each.record_name: [str(record_for(each.key))] for each in selectors})
