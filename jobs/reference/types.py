"""Types of fields in words, from their JSON schema."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_PLAIN = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
    "object": "mapping",
}


def type_words(schema: Schema) -> str:
    """Say in words which values a JSON schema allows; what it refers to is called a mapping, if it isn't any value."""
    if schema.get("$ref") == "#/$defs/JsonValue":
        return "any value"
    alternatives = schema.get("anyOf") or schema.get("oneOf")
    if alternatives:
        return " or ".join(dict.fromkeys(type_words(one) for one in alternatives))
    if "enum" in schema:
        return _listed([_value(value) for value in schema["enum"]])
    if "const" in schema:
        return _value(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"mapping of names to {type_words(schema['additionalProperties'])}"
    if kind in ("integer", "number"):
        return f"{kind}{_range(schema)}"
    if "pattern" in schema:
        return f"text of the form `{schema['pattern']}`"
    return _PLAIN.get(str(kind), "mapping")


def _array(schema: Schema) -> str:
    if "prefixItems" in schema:
        items = [type_words(item) for item in schema["prefixItems"]]
        return f"list of {len(items)}: {items[0] if len(set(items)) == 1 else ', '.join(items)}"
    least = f", {schema['minItems']} at least" if schema.get("minItems") else ""
    return f"list of {type_words(schema['items'])}{least}"


def _range(schema: Schema) -> str:
    bounds = (("minimum", "from"), ("exclusiveMinimum", "above"), ("maximum", "to"), ("exclusiveMaximum", "below"))
    return "".join(f" {word} {schema[key]:g}" for key, word in bounds if key in schema)


def _value(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _listed(values: Sequence[str]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"
