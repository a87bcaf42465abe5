"""Write what docs/reference/webapi.md includes: the methods and what they take and give, made from the types.

Run it after a change of the types: `python docs/webapi_methods.py`. A test compares the file with what it would write.
"""

from pathlib import Path
from typing import Any

from moxlib.webapi.methods import METHODS, Method
from moxlib.webapi.openapi import openapi_document

__all__ = ["PAGE", "methods_page"]

PAGE = Path(__file__).parent / "reference" / "webapi-methods.inc"
REFERENCE = "#/components/schemas/"
LINKED = {"SendRequest": "Send", "SendResult": "Send"}  # what has its table where its method is
GIVEN = "Input"  # at the end of what a type is called that has other required fields in requests than in results


def methods_page() -> str:
    """Return the text, in MyST."""
    schemas: dict[str, Any] = openapi_document(server_url="/")["components"]["schemas"]
    top = {type_.__name__ for method in METHODS for type_ in (method.request, method.result) if type_ is not None}
    shared = [name for name in schemas if name not in top and name + GIVEN not in schemas]
    blocks = [block for method in METHODS for block in _method(method, schemas)]
    blocks.append("## What is in them")
    for name in shared:
        blocks += [f"### {name.removesuffix(GIVEN)}", schemas[name]["description"], _table(schemas[name])]
    return "\n\n".join(blocks) + "\n"


def _method(method: Method, schemas: dict[str, Any]) -> list[str]:
    request = schemas[method.request.__name__]
    blocks = [f"### {method.name}", method.summary]
    blocks += ["The request:", _table(request)] if request["properties"] else ["The request is an empty object."]
    if method.result is None:
        blocks.append("The result is not JSON but the octets.")
    elif schemas[method.result.__name__]["properties"]:
        blocks += ["The result:", _table(schemas[method.result.__name__])]
    else:
        blocks.append("The result is an empty object.")
    if method.codes:
        blocks.append(f"Codes of errors: {', '.join(f'`{code}`' for code in method.codes)}.")
    notes = []
    if method.takes_uploads:
        notes.append("Files may be uploaded with it, as `alternativefile`, `inlinefile` and `attachedfile`.")
    if method.takes_key:
        notes.append("It takes an `Idempotency-Key`.")
    if method.addition:
        notes.append("mox does not have it.")
    return [*blocks, " ".join(notes)] if notes else blocks


def _table(schema: dict[str, Any]) -> str:
    rows = ["| field | holds | |", "| --- | --- | --- |"]
    for name, field in schema["properties"].items():
        required = "**" if name in schema["required"] and schema["required"] != list(schema["properties"]) else ""
        rows.append(f"| {required}`{name}`{required} | {_kind(field)} | {_cell(field.get('description', ''))} |")
    return "\n".join(rows)


def _kind(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].removeprefix(REFERENCE).removesuffix(GIVEN)
        return f"[{name}](#{LINKED.get(name, name).lower()})"
    if "anyOf" in field:
        return f"{_kind(field['anyOf'][0])}, or null"
    type_ = field["type"]
    if isinstance(type_, list):
        type_, _ = type_
    match type_:
        case "array" if field.get("maxItems") == field.get("minItems") is not None:
            return "two texts"
        case "array":
            return f"list: {_kind(field['items'])}"
        case "object" if "properties" in field:
            return ", or ".join(
                f"`{name}`: {_kind(member['anyOf'][0])}" for name, member in field["properties"].items()
            )
        case "object":
            return "texts by name"
        case "string":
            return {"date-time": "time"}.get(
                field.get("format", ""), "base64" if "contentEncoding" in field else "text"
            )
        case "integer":
            return "number"
        case _:
            return "true or false"


def _cell(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|") if "`" not in text else text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(methods_page(), encoding="utf-8")
