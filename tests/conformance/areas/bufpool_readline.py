"""`Bufpool.readline`: lines and kinds of errors in order. After a line that is too long we stop, as told."""

import base64
import io
from typing import Any

from moxlib.errors import UnexpectedEOF
from moxlib.moxio import Bufpool, LineTooLong


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    expected: list[object] = []
    for result in case["results"]:
        expected.append(result["line"] if "line" in result else {"kind": result["kind"]})
        if result.get("kind") == "line-too-long":
            break
    return expected, _results(base64.b64decode(case["data"]), case["size"])


def _results(data: bytes, size: int) -> list[object]:
    reader = io.BytesIO(data)
    pool = Bufpool(1, size)
    results: list[object] = []
    while True:
        try:
            line = pool.readline(reader)
        except LineTooLong:
            return [*results, {"kind": "line-too-long"}]
        except UnexpectedEOF:
            return [*results, {"kind": "unexpected-eof"}]
        results.append(line.decode("utf-8", "surrogateescape"))
