"""Write the reference pages that follow from the code: `python docs/generate.py`.

`tests/test_docs.py` fails while a page does not say what the code says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pytest_bench.catalogue import all_apis, vocabulary
from pytest_bench.metrics.definitions import DEFINITIONS, EARLY_STOPPING, STATISTICS
from pytest_bench.suite.json_schema import json_schema

REFERENCE = Path(__file__).parent / "reference"

NOTE = "<!-- Written by docs/generate.py; change the code, then run it. -->"


def metrics_page() -> str:
    """Every metric: what it is, its unit, and which statistics it has."""
    lines = [
        "# Metrics",
        NOTE,
        "",
        "A bound names a metric, and for a distribution a statistic after a dot: `time_to_first_token.p99`.",
        f"Statistics are {_code(STATISTICS)}; percentiles are exact, as the lower of two neighbours. Latencies",
        f"of whole requests also have MLPerf's early-stopping estimates: {_code(EARLY_STOPPING)}.",
        "",
        "Times are nanoseconds inside, written with a unit in bounds (`<= 200ms`); shares may be written in",
        "percent. Latencies and throughputs are those of succeeded requests. A metric that is not defined for a",
        "point is null, with the reason, and a bound on it is an error.",
        "",
        "| metric | unit | kind | better | definition |",
        "| --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| `{item.name}` | {item.unit} | {item.kind} | {item.better} | {_cell(item.description)} |"
        for item in DEFINITIONS.values()
    ]
    return "\n".join([*lines, ""])


def suites_page() -> str:
    """The suite language: each mapping with its keys, types, defaults and meanings."""
    schema = json_schema(vocabulary(all_apis([])))
    lines = [
        "# Suites",
        NOTE,
        "",
        "A suite is one YAML file. `pytest-bench schema` prints this language as JSON Schema, for editors.",
        "Unknown keys, repeated keys, wrong types and values that mean nothing are refused before anything",
        "starts, all of them at once, each with `file:line:column`.",
        "",
        "Values may hold `${VAR}` or `${VAR:-default}`. A key that must stay secret is written",
        "`{from_env: NAME}`.",
        "",
        *_section("The file", schema),
    ]
    for name, section in sorted(schema["$defs"].items(), key=lambda item: _title(item[0])):
        lines += _section(_title(name), section)
    return "\n".join(lines)


def _section(title: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    if description := schema.get("description"):
        yield " ".join(description.split())
        yield ""
    required = set(schema.get("required", ()))
    properties = schema.get("properties", {})
    if properties:
        yield "| key | value | default | meaning |"
        yield "| --- | --- | --- | --- |"
        for name, field in properties.items():
            default = "**required**" if name in required else _default(field)
            yield f"| `{name}` | {_type(field)} | {default} | {_cell(field.get('description', ''))} |"
        yield ""


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        title = _title(field["$ref"].rpartition("/")[2])
        return f"[{title}](#{_anchor(title)})"
    if "anyOf" in field or "oneOf" in field:
        kinds = [_type(item) for item in field.get("anyOf", field.get("oneOf", ())) if item.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return " or ".join(f"`{word}`" for word in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    if field.get("type") == "object":
        inner = field.get("additionalProperties")
        return f"name: {_type(inner)}" if isinstance(inner, dict) and inner else "mapping"
    return {"integer": "integer", "number": "number", "string": "text", "boolean": "true or false"}.get(
        field.get("type", ""), "anything"
    )


def _default(field: dict[str, Any]) -> str:
    if "default" not in field or field["default"] is None or isinstance(field["default"], dict):
        return ""
    return f"`{json.dumps(field['default'])}`"


def _title(name: str) -> str:
    if name.startswith("Audit_"):
        return f"Audit {name.removeprefix('Audit_')}"
    return name.removesuffix("Section")


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES = {"metrics.md": metrics_page, "suites.md": suites_page}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
