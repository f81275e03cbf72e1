"""Files made from the configuration's own definition: the default yaml, the JSON schema, the key table of the docs.

``python -m stflow.config_files`` rewrites them; a test fails when they differ from `stflow.config`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stflow.config import ROOT, Config


def json_schema() -> str:
    """The JSON schema that the Snakefile validates against."""
    schema = type(Config()).model_json_schema()
    # Methods of third parties have settings too; what is in them is checked by `stflow.config` alone.
    schema["$defs"]["MethodSettings"].pop("additionalProperties")
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    return json.dumps(schema, indent=2) + "\n"


def default_yaml() -> str:
    """config/config.yaml: every key at its default, its description and unit beside it."""
    schema = type(Config()).model_json_schema()
    notes = {path: _note(node) for path, node in walk(schema)}
    values = json.loads(Config().model_dump_json())
    lines = [
        "# Made by `python -m stflow.config_files` from stflow/config.py: every key at its default.",
        "# This is what `snakemake all` runs. Copy it, keep the keys you change, and pass --configfile.",
        "",
    ]
    return "\n".join([*lines, *_yaml_lines(values, notes, "", 0)]) + "\n"


def _yaml_lines(value: dict[str, Any], notes: dict[str, str], prefix: str, depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, item in value.items():
        path = f"{prefix}{key}"
        note = notes.get(path) or notes.get(_starred(path), "")
        comment = f"  # {note}" if note else ""
        if isinstance(item, dict) and item:
            yield f"{pad}{key}:{comment}"
            yield from _yaml_lines(item, notes, f"{path}.", depth + 1)
        else:
            yield f"{pad}{key}: {json.dumps(item)}{comment}"


def _starred(path: str) -> str:
    parts = path.split(".")
    return ".".join("*" if index == 1 and parts[0] == "benchmarks" else part for index, part in enumerate(parts))


def key_table() -> str:
    """The key table of config/README.md: key, type, default, unit, meaning."""
    rows = ["| key | type | default | unit | meaning |", "| --- | --- | --- | --- | --- |"]
    for path, node in walk(type(Config()).model_json_schema()):
        default = node.get("default", "")
        shown = f"`{json.dumps(default)}`" if "default" in node else ""
        rows.append(f"| `{path}` | {_type(node)} | {shown} | {node.get('unit', '')} | {node.get('description', '')} |")
    return "\n".join(rows) + "\n"


def walk(schema: dict[str, Any], prefix: str = "", root: dict[str, Any] | None = None) -> Iterator[tuple[str, Any]]:
    """Every leaf key of a JSON schema with its node; maps of models appear as ``name.*.key``."""
    root = root or schema
    for key, node in schema.get("properties", {}).items():
        path = f"{prefix}{key}"
        target, star = _resolve(node, root)
        if target is None:
            yield path, node
            continue
        yield (
            path,
            {key: value for key, value in node.items() if key not in ("$ref", "default")} | {"type": "section"},
        )
        yield from walk(target, f"{path}.{star}", root)


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    if "$ref" in node:
        return root["$defs"][node["$ref"].rsplit("/", 1)[-1]], ""
    extra = node.get("additionalProperties")
    if isinstance(extra, dict) and "$ref" in extra:
        return root["$defs"][extra["$ref"].rsplit("/", 1)[-1]], "*."
    items = node.get("items")
    if isinstance(items, dict) and "$ref" in items:
        return root["$defs"][items["$ref"].rsplit("/", 1)[-1]], "*."
    return None, ""


def _note(node: dict[str, Any]) -> str:
    unit_name = node.get("unit")
    return " ".join(filter(None, [node.get("description", ""), f"[{unit_name}]" if unit_name else ""]))


def _type(node: dict[str, Any]) -> str:
    if "enum" in node:
        return " or ".join(f"`{value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(_type(item) for item in node["anyOf"])
    if node.get("type") == "array":
        return f"list of {_type(node.get('items', {}))}"
    return str(node.get("type", "any"))


TABLE_START, TABLE_END = "<!-- keys: made by `python -m stflow.config_files` -->", "<!-- /keys -->"


def generated() -> dict[Path, str]:
    """Path -> text of every file made from this module."""
    readme = ROOT / "config" / "README.md"
    text = readme.read_text(encoding="utf-8")
    head, _, rest = text.partition(TABLE_START)
    _, _, tail = rest.partition(TABLE_END)
    return {
        ROOT / "config" / "config.yaml": default_yaml(),
        ROOT / "workflow" / "schemas" / "config.schema.json": json_schema(),
        readme: f"{head}{TABLE_START}\n{key_table()}{TABLE_END}{tail}",
    }


if __name__ == "__main__":
    for target, content in generated().items():
        target.write_text(content, encoding="utf-8")
