"""The examples of RFC 6376 A.2 and RFC 8463 A.3, verified and, where the key is given, signed."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from moxlib.dkim import Problem, Status, parse_signature, record_for, verify
from moxlib.testing import MockResolver

RFC6376 = """\
DKIM-Signature: v=1; a=rsa-sha256; s=brisbane; d=example.com;
      c=simple/simple; q=dns/txt; i=joe@football.example.com;
      h=Received : From : To : Subject : Date : Message-ID;
      bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
      b=AuUoFEfDxTDkHlLXSZEpZj79LICEps6eda7W3deTVFOk4yAUoqOB
        4nujc7YopdG5dWLSdNg6xNAZpOPr+kHxt1IrE+NahM6L/LbvaHut
        KVdkLLkpVaVVQPzeRDI009SO2Il5Lu7rDNH6mZckBdrIx0orEtZV
        4bmp/YzhwvcubU4=;
Received: from client1.football.example.com  [192.0.2.1]
      by submitserver.example.com with SUBMISSION;
      Fri, 11 Jul 2003 21:01:54 -0700 (PDT)
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game. Are you hungry yet?

Joe.
""".replace("\n", "\r\n").encode()

RFC6376_RECORD = (
    "v=DKIM1; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDwIRP/UC3SBsEmGqZ9ZJW3/DkMoGeLnQg1fWn7/zYt"
    "IxN2SnFCjxOCKG9v3b4jYfcTNh5ijSsq631uBItLa7od+v/RtdC2UzJ1lWT947qR+Rcac2gbto/NMqJ0fzfVjH4OuKhi"
    "tdY9tf6mcwGjaNBcWToIMmPSPDdQPNUYckcQ2QIDAQAB"
)

RFC8463 = """\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace("\n", "\r\n").encode()

RFC8463_RSA = (
    "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi"
    "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G+2kr"
    "yOTIKT+l/K4w3QIDAQAB"
)
RFC8463_ED25519 = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
RFC8463_RECORDS = {
    "brisbane._domainkey.football.example.com": [RFC8463_ED25519],
    "test._domainkey.football.example.com": [RFC8463_RSA],
}


async def test_the_rsa_example_verifies() -> None:
    resolver = MockResolver(txt={"brisbane._domainkey.example.com": [RFC6376_RECORD]})
    [result] = await verify(RFC6376, resolver=resolver)
    assert (result.status, result.problem, result.error) == (Status.PASS, None, "")
    assert (str(result.domain), result.selector, result.algorithm) == ("example.com", "brisbane", "rsa-sha256")
    assert str(result.identity) == "joe@football.example.com"


@pytest.mark.parametrize(
    ("old", "new", "problem"), [(b"lost", b"won", "body_hash"), (b"ready?", b"ready", "signature")]
)
async def test_the_rsa_example_changed_does_not(old: bytes, new: bytes, problem: str) -> None:
    resolver = MockResolver(txt={"brisbane._domainkey.example.com": [RFC6376_RECORD]})
    [result] = await verify(RFC6376.replace(old, new), resolver=resolver)
    assert (result.status, result.problem) == (Status.FAIL, Problem(problem))


async def test_both_signatures_of_the_ed25519_example_verify() -> None:
    results = await verify(RFC8463, resolver=MockResolver(txt=RFC8463_RECORDS, all_authentic=True))
    assert [(each.status, each.selector, each.algorithm, each.authentic) for each in results] == [
        (Status.PASS, "brisbane", "ed25519-sha256", True),
        (Status.PASS, "test", "rsa-sha256", True),
    ]


def test_the_key_of_the_ed25519_example_has_the_record_that_it_says() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")  # RFC 8463 A.1
    record = record_for(Ed25519PrivateKey.from_private_bytes(seed))
    assert str(record) == "v=DKIM1;k=ed25519;p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="


def test_the_field_of_section_3_5() -> None:
    signature = parse_signature(
        b"v=1; a=rsa-sha256; d=example.net; s=brisbane;\r\n"
        b"   c=simple; q=dns/txt; i=@eng.example.net;\r\n"
        b"   t=1117574938; x=1118006938;\r\n"
        b"   h=from:to:subject:date;\r\n"
        b"   z=From:foo@eng.example.net|To:joe@example.com|\r\n"
        b"    Subject:demo=20run|Date:July=205,=202005=203:44:08=20PM=20-0700;\r\n"
        b"   bh=MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=;\r\n"
        b"   b=dzdVyOfAKCdLXdJOc9G2q8LoXSlEniSbav+yuU4zGeeruD00lszZ\r\n"
        b"      VoG4ZHRNiYzR"
    )
    assert (signature.domain.ascii, signature.selector, str(signature.identity)) == (
        "example.net",
        "brisbane",
        "@eng.example.net",
    )
    assert (signature.signed_at, signature.expires_at) == (1117574938, 1118006938)
    assert signature.headers == ("from", "to", "subject", "date")
    assert signature.body_hash == b"12345678901234567890123456789012"
    assert (signature.header_form, signature.body_form, signature.body_length) == ("simple", "simple", None)
