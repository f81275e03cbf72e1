"""What is wrong with a configuration, in lines that say where and what to write instead."""

from __future__ import annotations

import difflib

from pydantic import ValidationError


def lines(error: ValidationError) -> list[str]:
    """A line a problem: where, what, and the nearest key that there is."""
    found = []
    for item in error.errors():
        where = ".".join(map(str, item["loc"])) or "(whole file)"
        if item["type"] == "extra_forbidden":
            hint = _nearest_key(item["loc"])
            found.append(f"{where}: unknown key.{hint}")
        else:
            message = item["msg"].removeprefix("Value error, ")
            got = "" if item["type"] == "value_error" else f" (got {item['input']!r})"
            found.append(f"{where}: {message}{got}")
    return found


def _nearest_key(loc: tuple[str | int, ...]) -> str:
    from stflow.config import _config_model
    from stflow.config_files import walk

    known = {path.split(".")[-1] for path, _ in walk(_config_model().model_json_schema())}
    near = difflib.get_close_matches(str(loc[-1]), sorted(known), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
