"""Methods, encoders and slide formats by name: built in by module path, third parties by entry point.

A built-in name maps to ``"module:attribute"`` and is imported only when asked for, so listing names costs
nothing. A third party either declares an entry point (group ``stflow.<kind>``) or, in a file that the configuration
lists under ``plugins`` (`stflow.plugins`), calls ``registry.register(name)`` as a decorator.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from stflow.errors import RegistryError
from stflow.plugins import load_from_environment

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one kind (``methods``, ``encoders``, ``formats``), each loaded when first used."""

    def __init__(self, kind: str, builtin: Mapping[str, str]) -> None:
        self.kind = kind
        self._builtin = dict(builtin)
        self._added: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that adds a class under ``name``.

        Raises
        ------
        RegistryError
            The name is taken.
        """

        def add(item: T) -> T:
            if name in self.names():
                raise RegistryError(f"{self.kind}: the name {name!r} is already registered. Choose another name.")
            self._added[name] = item
            return item

        return add

    def _external(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for point in entry_points(group=f"stflow.{self.kind}"):
            if point.name in self._builtin or point.name in found:
                raise RegistryError(
                    f"{self.kind}: the entry point {point.name!r} ({point.value}) takes a name that is "
                    "already registered. Rename it in that package."
                )
            found[point.name] = point
        return found

    def names(self) -> list[str]:
        """All names: built-in ones in their listed order, then third parties."""
        load_from_environment()
        return [*self._builtin, *self._external(), *self._added]

    def module(self, name: str) -> str:
        """The module that defines ``name``, without importing it."""
        if name in self._builtin:
            return self._builtin[name].partition(":")[0]
        load_from_environment()
        if name in self._added:
            return str(getattr(self._added[name], "__module__", ""))
        external = self._external()
        if name in external:
            return str(external[name].module)
        raise self._unknown(name)

    def get(self, name: str) -> T:
        """The class registered as ``name``.

        Raises
        ------
        RegistryError
            No such name; the message lists the nearest ones.
        """
        if name not in self._builtin:
            load_from_environment()
        if name in self._added:
            return self._added[name]
        if name in self._builtin:
            module, _, attribute = self._builtin[name].partition(":")
            return getattr(importlib.import_module(module), attribute)
        external = self._external()
        if name in external:
            return external[name].load()
        raise self._unknown(name)

    def _unknown(self, name: str) -> RegistryError:
        known = self.names()
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return RegistryError(f"{self.kind}: no {name!r}; known are {', '.join(known)}.{hint}")
