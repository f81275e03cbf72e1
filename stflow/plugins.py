"""A user's own Python files: loaded before names are looked up, so that what they register is a name like any other.

The configuration lists them under ``plugins``. Their paths go to every command of the workflow by an environment
variable, and by hand the same way: ``STFLOW_PLUGINS=my_encoder.py stflow list encoders``.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from stflow.errors import ConfigError

VARIABLE = "STFLOW_PLUGINS"
_loaded: dict[str, Path] = {}


def load(paths: Iterable[Path | str]) -> None:
    """Run each file once, as the module of its name, and let the commands of this process's jobs do the same.

    Raises
    ------
    ConfigError
        A file that is not there, is no module's name, or bears the name of another module.
    """
    found = [Path(path).resolve() for path in paths]
    for path in found:
        _load(path)
    if found:
        known = os.environ.get(VARIABLE, "").split(os.pathsep)
        os.environ[VARIABLE] = os.pathsep.join(dict.fromkeys(filter(None, (*known, *map(str, found)))))


def load_from_environment() -> None:
    """Load what the environment variable names; a second call costs nothing."""
    if names := os.environ.get(VARIABLE):
        for name in filter(None, names.split(os.pathsep)):
            _load(Path(name))


def _load(path: Path) -> None:
    name = path.stem
    if _loaded.get(name) == path:
        return
    if not path.is_file() or path.suffix != ".py" or not name.isidentifier():
        raise ConfigError(f"plugins: {path} is not a Python file with a module's name (letters, digits, _).")
    spec = importlib.util.find_spec(name)
    if name in _loaded or (spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)):
        raise ConfigError(f"plugins: {path}: there is another module {name!r}. Give the file another name.")
    _loaded[name] = path
    sys.path.insert(0, str(path.parent))
    try:
        importlib.import_module(name)
    except BaseException:
        del _loaded[name]
        raise
    finally:
        sys.path.remove(str(path.parent))
