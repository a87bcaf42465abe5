"""SASL: the bytes of each of the client's steps, whether it is the last, and where the exchange has to be aborted.

The vectors' SCRAM nonce is the one that stands in the client's first message.
"""

import base64
from typing import Any

from moxlib.sasl import CRAMMD5, SCRAM, ChannelBinding, Login, Mechanism, Plain, SASLError, SCRAMHash


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    mechanism = _mechanism(case)
    expected: list[object] = [case["info"]]
    got: list[object] = [{"name": mechanism.name, "cleartext": mechanism.cleartext}]
    for step in case["steps"]:
        expected.append("error" if "error" in step else {"data": _data(step), "last": step["last"]})
        server = step.get("server")
        try:
            taken = mechanism.step(server.encode("utf-8", "surrogateescape") if server is not None else None)
        except SASLError:
            got.append("error")
        else:
            got.append({"data": taken.data, "last": taken.last})
    return expected, got


def _data(step: dict[str, Any]) -> bytes | None:
    return base64.b64decode(step["client_b64"]) if "client_b64" in step else None


def _mechanism(case: dict[str, Any]) -> Mechanism:
    username, password = case["username"], case["password"]
    match case["mechanism"]:
        case "PLAIN":
            return Plain(username, password)
        case "LOGIN":
            return Login(username, password)
        case "CRAM-MD5":
            return CRAMMD5(username, password)
        case name:
            hash_ = {"SCRAM-SHA-1": SCRAMHash.SHA1, "SCRAM-SHA-256": SCRAMHash.SHA256}[name]
            binding = ChannelBinding.NOT_OFFERED if case["no_server_plus"] else ChannelBinding.UNSUPPORTED
            nonce = case["steps"][0]["client"].rpartition("r=")[2]
            return SCRAM(hash_, username, password, binding=binding, nonce=lambda: str(nonce))
