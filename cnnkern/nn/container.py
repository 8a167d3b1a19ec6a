# SPDX-License-Identifier: BSD-3-Clause
"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast, overload

from cnnkern.nn.module import Module


class Identity(Module):
    """Returns its input."""

    def forward(self, input: Any) -> Any:
        """x of any shape -> x."""
        return input


class _List(Module):
    def _position(self, index: int) -> str:
        size = len(self._modules)
        if not -size <= index < size:
            raise IndexError(f"{type(self).__name__}: index {index} of {size} modules")
        return list(self._modules)[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    def __setitem__(self, index: int, module: Module) -> None:
        self.register_module(self._position(index), module)

    def append(self, module: Module) -> _List:
        """Add a module at the end, named by its position. Returns the container."""
        self.register_module(str(len(self._modules)), module)
        return self


class Sequential(_List):
    """Runs modules one after the other: the output of each is the input of the next.

    `Sequential(a, b, ...)` names them "0", "1", ...; `Sequential({"first": a, "second": b})` takes the names given.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            for name, module in modules[0].items():
                self.register_module(name, module)
            return
        for position, module in enumerate(cast("tuple[Module, ...]", modules)):
            self.register_module(str(position), module)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module:
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._position(index)]

    def forward(self, input: Any) -> Any:
        """Whatever the first module takes -> whatever the last one returns."""
        for module in self._modules.values():
            input = module(input)
        return input


class ModuleList(_List):
    """A list of modules, named "0", "1", ...; the model that holds it decides how they are called."""

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        for module in modules:
            self.append(module)

    def __getitem__(self, index: int) -> Module:
        return self._modules[self._position(index)]


class ModuleDict(Module):
    """A dictionary of modules; the model that holds it decides how they are called."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        if modules is not None and not isinstance(modules, Mapping):
            raise TypeError(f"ModuleDict: modules must be a mapping, found {type(modules).__name__}")
        for name, module in (modules or {}).items():
            self.register_module(name, module)

    def __getitem__(self, name: str) -> Module:
        return self._modules[name]

    def __setitem__(self, name: str, module: Module) -> None:
        self.register_module(name, module)

    def __contains__(self, name: str) -> bool:
        return name in self._modules

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def items(self) -> Iterable[tuple[str, Module]]:
        """(name, module) in order of insertion."""
        return self._modules.items()
