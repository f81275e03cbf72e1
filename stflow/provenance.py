"""What code a file was made by: one hash of all modules that a stage can reach.

Snakemake reruns a rule when its inputs change, but it does not look into the package that the rule calls. So every
rule takes a small stamp file as input, and the stamp holds the hash of the modules that its stage imports, directly
or not, inside functions or not. Editing the denoiser changes the stamp of training STFlow and of nothing else; editing
a figure changes that figure's stamp.

What is hashed is the syntax tree without docstrings, so comments, docstrings and formatting rerun nothing, and an
interpreter of another version gives the same hash. Left out are modules that name things and compute nothing
(`NAMES_ONLY`): a new method in the registry must not retrain the others.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

from stflow.errors import RegistryError
from stflow.io import write_text

#: Modules that decide no number: messages, paths, names, the command line.
NAMES_ONLY = frozenset(
    {
        "stflow",
        "stflow.cli",
        "stflow.config",
        "stflow.config_datasets",
        "stflow.config_encoders",
        "stflow.config_errors",
        "stflow.config_report",
        "stflow.config_sections",
        "stflow.config_variants",
        "stflow.data.formats",
        "stflow.data.hub.manifest",
        "stflow.encoders",
        "stflow.errors",
        "stflow.layout",
        "stflow.models",
        "stflow.models.stflow.variants",
        "stflow.plugins",
        "stflow.registry",
    }
)


def code_hash(*entries: str) -> str:
    """SHA-256 over the code of ``entries`` and of every module of the same packages that they can reach.

    Parameters
    ----------
    entries
        Module names, e.g. ``"stflow.training.train", "stflow.models.stflow"``. A third party's module is followed
        within its own package and into this one.

    Raises
    ------
    RegistryError
        There is no such module.
    """
    digest = hashlib.sha256()
    for name, path in sorted(closure(*entries).items()):
        digest.update(f"{name}={_source(path, path.stat().st_mtime_ns).sha256}\n".encode())
    return digest.hexdigest()


def closure(*entries: str) -> dict[str, Path]:
    """Module name -> file of ``entries`` and of all that they import, transitively, within their own packages.

    Packages on the way to a module (their ``__init__``) count as imported, as Python runs them.
    """
    packages = {"stflow", *(entry.partition(".")[0] for entry in entries)}
    roots = {package: _package_parent(package) for package in packages}
    found: dict[str, Path] = {}
    for entry in entries:
        if _locate(entry, roots) is None:
            raise RegistryError(f"no module {entry!r}: it is registered, but its file is not there. Install it.")
    waiting = list(entries)
    seen = set(NAMES_ONLY - set(entries))
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        if (path := _locate(name, roots)) is None:
            continue
        found[name] = path
        source = _source(path, path.stat().st_mtime_ns)
        waiting += [*_parents(name), *source.imports(name, is_package=path.name == "__init__.py")]
    return found


def write_if_changed(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` unless it holds just that, so that an unchanged file keeps its time."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


class _Source:
    """One parsed module: the hash of its code, and what it imports."""

    def __init__(self, path: Path) -> None:
        tree = ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
        text = "".join(_canonical(tree, []))
        self.sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
        self._imports = list(_imports(tree.body))

    def imports(self, name: str, *, is_package: bool) -> Iterator[str]:
        """Absolute names of what this module, called ``name``, imports; ``from a import b`` gives a and a.b."""
        package = name.split(".") if is_package else name.split(".")[:-1]
        for level, module, names in self._imports:
            base = [*package[: len(package) - level + 1], *module] if level else module
            yield from _parents(".".join(base))
            yield ".".join(base)
            for item in names:
                yield ".".join([*base, item])


@lru_cache(maxsize=4096)
def _source(path: Path, mtime_ns: int) -> _Source:
    del mtime_ns  # only a key: an edited file is parsed again
    return _Source(path)


def _imports(statements: Iterable[ast.stmt]) -> Iterator[tuple[int, list[str], list[str]]]:
    """(level, module, names) of every import that can run; blocks under ``if TYPE_CHECKING`` never do."""
    for node in statements:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield 0, alias.name.split("."), []
        elif isinstance(node, ast.ImportFrom):
            yield node.level, node.module.split(".") if node.module else [], [alias.name for alias in node.names]
        else:
            typing_only = isinstance(node, ast.If) and _is_type_checking(node.test)
            for block in ("body", "orelse", "finalbody"):
                if not (typing_only and block == "body"):
                    yield from _imports(getattr(node, block, ()))
            for branch in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
                yield from _imports(branch.body)


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def _canonical(value: object, out: list[str]) -> list[str]:
    """Append to ``out`` a text form of a syntax tree without docstrings, positions and empty fields.

    ``ast.dump`` prints fields that only some Python versions have (``type_params``); leaving empty ones out makes
    the versions agree.
    """
    if isinstance(value, ast.AST):
        out.append(f"({type(value).__name__}")
        for field in value._fields:
            item = getattr(value, field, None)
            if item is None or item == [] or field in ("type_ignores", "kind", "ctx"):
                continue
            if field == "body" and _has_docstring(value):
                item = item[1:]
            out.append(f" {field}=")
            _canonical(item, out)
        out.append(")")
    elif isinstance(value, list):
        out.append("[")
        for item in value:
            _canonical(item, out)
            out.append(",")
        out.append("]")
    else:
        out.append(repr(value))
    return out


def _has_docstring(node: ast.AST) -> bool:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    return isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None


def _package_parent(package: str) -> Path | None:
    """Folder that holds a top-level package or module; found without running its code."""
    if package == "stflow":
        return Path(__file__).resolve().parent.parent
    spec = importlib.util.find_spec(package)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]).resolve().parent
    return Path(spec.origin).resolve().parent if spec.origin else None


def _locate(name: str, roots: dict[str, Path | None]) -> Path | None:
    """The file of a module of one of the packages in ``roots``; None for anything else."""
    parent = roots.get(name.partition(".")[0])
    if parent is None:
        return None
    base = parent.joinpath(*name.split("."))
    for candidate in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:length]) for length in range(1, len(parts))]
