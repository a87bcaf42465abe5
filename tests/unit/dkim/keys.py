"""Keys for the tests, and a domain that publishes them."""

from typing import Any

from moxlib.dkim import Selector, generate_ed25519_key, generate_rsa_key, record_for
from moxlib.dns import parse_domain
from moxlib.testing import MockResolver

DOMAIN = parse_domain("example.org")
RSA = generate_rsa_key()
RSA_1024 = generate_rsa_key(1024)
ED25519 = generate_ed25519_key()


def selector(name: str = "ed", key: Any = ED25519, **options: Any) -> Selector:
    return Selector(**{"domain": DOMAIN, "name": name, "private_key": key, **options})


def published(*selectors: Selector) -> MockResolver:
    return MockResolver(txt={each.record_name: [str(record_for(each.key))] for each in selectors})
