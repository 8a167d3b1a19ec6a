# SPDX-License-Identifier: BSD-3-Clause
"""`Module`: named parameters, buffers and submodules around a `forward` that is written with `cnnkern.functional`."""

from __future__ import annotations

import contextlib
import contextvars
import copy
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from cnnkern.graph import current_trace

if TYPE_CHECKING:
    from cnnkern.nn.summary import Summary

Array = npt.NDArray[Any]
Observer = Callable[["Module", str, tuple[Any, ...], Any], None]
_observer: contextvars.ContextVar[Observer | None] = contextvars.ContextVar("cnnkern_module_observer", default=None)
_keep_statistics: contextvars.ContextVar[bool] = contextvars.ContextVar("cnnkern_keep_statistics", default=False)


class Unmatched(NamedTuple):
    """What `load_state_dict(strict=False)` left alone."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]


class Module:
    """Base of every layer and model.

    Parameters are float32 ndarrays that are updated in place: their identity never changes, so a training plan may keep
    their addresses. `register_parameter` and `register_buffer` name arrays; a Module assigned to an attribute is a
    submodule. `forward` gets arrays (and computes) or Symbols (and is traced); it must not branch on the values.

    `training` chooses the behaviour of dropout and batch normalization (`train()`, `eval()`). `trainable = False`
    freezes a module with all below it: its parameters get no gradient and no update, and a frozen batch normalization
    uses its running statistics and leaves them alone even in training mode (Keras' rule).
    """

    _parameters: dict[str, Array | None]
    _buffers: dict[str, Array | None]
    _modules: dict[str, Module]
    training: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        for name, value in (
            ("_parameters", {}),
            ("_buffers", {}),
            ("_modules", {}),
            ("training", True),
            ("_trainable", True),
        ):
            object.__setattr__(self, name, value)
        return self

    def forward(self, *inputs: Any) -> Any:
        """The computation. Layers and models override it."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *inputs: Any) -> Any:
        trace, observer = current_trace(), _observer.get()
        if trace is None and observer is None:
            return self.forward(*inputs)
        with contextlib.nullcontext() if trace is None else trace.within(self):
            if observer is None:
                return self.forward(*inputs)
            observer(self, "enter", inputs, None)
            outputs = self.forward(*inputs)
            observer(self, "leave", inputs, outputs)
            return outputs

    def after_training_step(self) -> None:
        """Called once after every training step that a plan has executed: for state that is not part of the graph."""

    # Registration

    def register_parameter(self, name: str, value: npt.ArrayLike | None) -> None:
        """Name a learned array, float32. None reserves the name (a layer without bias).

        A writable C-contiguous float32 array is kept itself, so that modules can share it; anything else is copied.
        """
        self._check_name(name)
        self._parameters[name] = None if value is None else np.require(value, np.float32, ["C", "W"])

    def register_buffer(self, name: str, value: npt.ArrayLike | None) -> None:
        """Name an array that belongs to the state but is not learned. Its dtype is kept."""
        self._check_name(name)
        self._buffers[name] = None if value is None else np.array(value, order="C")

    def register_module(self, name: str, module: Module) -> None:
        """Name a submodule; the same as assigning it to an attribute, for names that are no identifiers."""
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: submodule {name!r} must be a Module, found {type(module).__name__}"
            )
        if name not in self._modules:
            self._check_name(name)
        self._modules[name] = module

    def _check_name(self, name: str) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"{type(self).__name__}: a name must be a non-empty string without dots, found {name!r}")
        if (
            name in self.__dict__
            or name in self._parameters
            or name in self._buffers
            or name in self._modules
            or hasattr(type(self), name)
        ):
            raise ValueError(f"{type(self).__name__}: {name!r} is already in use")

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            entries = self.__dict__.get(table)
            if entries is not None and name in entries:
                return entries[name]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._parameters or name in self._buffers:
            self._assign(name, value)
        elif isinstance(value, Module):
            self.register_module(name, value)
        elif name in self._modules:
            raise TypeError(f"{type(self).__name__}: {name!r} is a submodule, found {type(value).__name__}")
        else:
            object.__setattr__(self, name, value)

    def _assign(self, name: str, value: Any) -> None:
        target = self._parameters.get(name) if name in self._parameters else self._buffers[name]
        if value is target:
            return
        if target is None or value is None or np.shape(value) != target.shape:
            found = "None" if value is None else str(np.shape(value))
            expected = "None" if target is None else str(target.shape)
            raise ValueError(f"{type(self).__name__}: {name} has shape {expected}, cannot assign {found}")
        target[...] = value

    def __delattr__(self, name: str) -> None:
        if self._modules.pop(name, None) is None:
            object.__delattr__(self, name)

    # Walking

    def children(self) -> Iterator[Module]:
        """The direct submodules, in order of registration."""
        yield from self._modules.values()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """(name, module) of this module ("") and all below it, parents first, a shared module once."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """This module and all below it."""
        for _, module in self.named_modules():
            yield module

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """Depth first. Every training step walks; generators inside each other took three times as long."""
        left = [(prefix, self)]
        while left:
            path, module = left.pop()
            yield path, module
            start = f"{path}." if path else ""
            left.extend([(start + name, child) for name, child in reversed(module._modules.items())])

    def _named_arrays(self, table: str, trainable: bool = False) -> Iterator[tuple[str, Array]]:
        for prefix, module in self._walk(""):
            if trainable and not module.trainable:
                continue
            for name, array in getattr(module, table).items():
                if array is not None:
                    yield (f"{prefix}.{name}" if prefix else name), array

    def named_parameters(self, *, trainable: bool = False) -> Iterator[tuple[str, Array]]:
        """(name, array) of every learned array, a shared one once; `trainable=True`: not those of frozen modules."""
        seen: set[int] = set()
        for name, array in self._named_arrays("_parameters", trainable):
            if id(array) not in seen:
                seen.add(id(array))
                yield name, array

    def parameters(self) -> Iterator[Array]:
        """Every learned array, a shared one once."""
        for _, array in self.named_parameters():
            yield array

    def named_buffers(self) -> Iterator[tuple[str, Array]]:
        """(name, array) of every array that belongs to the state but is not learned."""
        yield from self._named_arrays("_buffers")

    # Modes

    def train(self, mode: bool = True) -> Self:
        """Set training (or, with False, evaluation) mode here and below. Returns the module."""
        for module in self.modules():
            module.training = bool(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation mode here and below. Returns the module."""
        return self.train(False)

    @property
    def trainable(self) -> bool:
        """Whether training changes this module's own parameters; assigning sets it for all modules below, too."""
        return bool(self.__dict__["_trainable"])

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for module in self.modules():
            object.__setattr__(module, "_trainable", bool(value))

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """PyTorch's name for setting `trainable`. Returns the module."""
        self.trainable = requires_grad
        return self

    # State

    def state_dict(self) -> dict[str, Array]:
        """Name -> copy of every parameter and buffer: a snapshot, which later training does not change."""
        return {name: array.copy() for name, array in self._state()}

    def _state(self) -> Iterator[tuple[str, Array]]:
        for name, table, key in self._entries():
            yield name, table[key]

    def _entries(self) -> Iterator[tuple[str, dict[str, Any], str]]:
        """Name of every parameter and buffer, and the table and key where it stands."""
        for prefix, module in self._walk(""):
            for table in (module._parameters, module._buffers):
                for key, array in table.items():
                    if array is not None:
                        yield (f"{prefix}.{key}" if prefix else key), table, key

    def load_state_dict(self, mapping: Mapping[str, Any], strict: bool = True) -> Unmatched:
        """Copy arrays into the parameters and buffers of the same names.

        Nothing is copied unless everything fits. Floating dtypes are converted to float32. `num_batches_tracked`, which
        no result depends on, may be missing: PyTorch did not store it before version 0.4.1.

        Raises:
            ValueError: names missing or unexpected (only if `strict`), shapes that differ, values that are not
                floating where float32 is stored; all of them in one message.
        """
        unmatched, found = self._fitting(mapping, strict)
        own = dict(self._state())
        for name, value in found.items():
            own[name][...] = value
        return unmatched

    def _adopt_state_dict(self, mapping: Mapping[str, Any]) -> None:
        """`load_state_dict` of arrays that nobody else holds: they become the module's own where that needs no
        conversion, so that a large model is not in memory twice. Errors as of `load_state_dict`."""
        _, found = self._fitting(mapping, True)
        names: dict[int, int] = {}  # how many names an array has
        for array in (*(array for _, array in self._state()), *found.values()):
            names[id(array)] = names.get(id(array), 0) + 1
        for name, table, key in list(self._entries()):
            if name not in found:
                continue
            target, value = table[key], found[name]
            alone = names[id(target)] == names[id(value)] == 1 and value.base is None
            if alone and value.dtype == target.dtype and value.flags.c_contiguous and value.flags.writeable:
                table[key] = value
            else:
                target[...] = value

    def _fitting(self, mapping: Mapping[str, Any], strict: bool) -> tuple[Unmatched, dict[str, Array]]:
        """The arrays of a mapping that belong to this module, all of which fit."""
        if not isinstance(mapping, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping from names to arrays, found {type(mapping).__name__}")
        own = dict(self._state())
        missing = tuple(name for name in own if name not in mapping)
        unexpected = tuple(str(name) for name in mapping if name not in own)
        problems = []
        needed = [name for name in missing if name.rpartition(".")[2] != "num_batches_tracked"]
        if strict and needed:
            problems.append(f"missing: {', '.join(needed)}")
        if strict and unexpected:
            problems.append(f"unexpected: {', '.join(unexpected)}")
        found = {name: np.asarray(mapping[name]) for name in own if name in mapping}
        for name, value in found.items():
            target = own[name]
            if value.shape != target.shape:
                problems.append(f"{name}: expected shape {target.shape}, found {value.shape}")
            elif not _convertible(value.dtype, target.dtype):
                problems.append(f"{name}: expected {target.dtype}, found {value.dtype}")
        if problems:
            raise ValueError(f"load_state_dict: {type(self).__name__} does not fit:\n  " + "\n  ".join(problems))
        return Unmatched(missing, unexpected), found

    def astype(self, dtype: npt.DTypeLike) -> Self:
        """A copy whose floating parameters and buffers have `dtype` (float32 or float64).

        A float64 copy is for checks: it takes float64 arrays and computes by the reference, slowly and exactly.
        """
        kind = _dtype_name(dtype)
        if kind not in ("float32", "float64"):
            raise TypeError(f"astype: expected float32 or float64, found {dtype!r}")
        duplicate = copy.deepcopy(self)
        converted: dict[int, Array] = {}
        for module in duplicate.modules():
            for table in (module._parameters, module._buffers):
                for name, array in table.items():
                    if array is not None and array.dtype.kind == "f":
                        table[name] = converted.setdefault(id(array), array.astype(np.dtype(kind)))
        return duplicate

    # Description

    def summary(self, input_shape: tuple[int, ...] | tuple[tuple[int, ...], ...]) -> Summary:
        """Output shape, parameters and multiply-adds of every layer for an input (N, C, H, W), or a tuple of inputs.

        `print(model.summary(shape))` shows all layers, `print(model.summary(shape).table(2))` two levels of parts.
        """
        from cnnkern.nn.summary import summarize

        return summarize(self, input_shape)

    def extra_repr(self) -> str:
        """The arguments worth showing in `repr`."""
        return ""

    def __repr__(self) -> str:
        lines = [f"({name}): {module!r}".replace("\n", "\n  ") for name, module in self._modules.items()]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}({self.extra_repr()}\n  " + "\n  ".join(lines) + "\n)"


def require_module(function: str, model: Any) -> Module:
    """`model`, if it is a Module; else a TypeError in the name of `function`."""
    if not isinstance(model, Module):
        raise TypeError(f"{function}: model must be a Module, found {type(model).__name__}")
    return model


def _dtype_name(dtype: Any) -> str:
    name = dtype if isinstance(dtype, str) else getattr(dtype, "__name__", getattr(dtype, "name", ""))
    return str(name)


def _convertible(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    if target.kind == "f":
        # bfloat16 of ml_dtypes is of kind "V" and converts to float32 without loss.
        return source.kind == "f" or source.name == "bfloat16"
    return source.kind in "iu" and np.can_cast(source, target, "same_kind")


@contextlib.contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Call `observer(module, "enter" | "leave", inputs, outputs)` around every module call made inside the block."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)


@contextlib.contextmanager
def mode(module: Module, training: bool) -> Iterator[None]:
    """Training or evaluation mode inside the block, every submodule's own mode again afterwards."""
    others = [part for part in module.modules() if part.training != training]
    for part in others:
        part.training = training
    try:
        yield
    finally:
        for part in others:
            part.training = not training


@contextlib.contextmanager
def kept_statistics() -> Iterator[None]:
    """Inside the block training-mode normalization leaves its running statistics alone."""
    token = _keep_statistics.set(True)
    try:
        yield
    finally:
        _keep_statistics.reset(token)


def statistics_kept() -> bool:
    """Whether `kept_statistics` is in force."""
    return _keep_statistics.get()
