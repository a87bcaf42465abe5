"""`Base64Writer`: its output, and what of it was out before it was closed."""

import base64
import io
from typing import Any

from moxlib.moxio import Base64Writer


def outcome(case: dict[str, Any]) -> tuple[object, object]:
    data = base64.b64decode(case["data"])
    out = io.BytesIO()
    writer = Base64Writer(out)
    position = 0
    for size in case["chunks"]:
        writer.write(data[position : position + size])
        position += size
    assert position == len(data), "the chunks are all of the data"
    before_close = out.getvalue()
    writer.close()
    got = {"output": out.getvalue(), "output_before_close": before_close}
    return {key: case[key].encode("ascii") for key in got}, got
