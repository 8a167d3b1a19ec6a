# SPDX-License-Identifier: BSD-3-Clause
"""Layers that put a border around arrays.

padding: one integer for all sides, or (left, right, top, bottom, front, back) as far as there are axes; negative ones
crop.
"""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class _Pad(Module):
    _axes: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        name = type(self).__name__
        if not isinstance(padding, (tuple, list)):
            padding = (padding,) * (2 * self._axes)
        if len(padding) != 2 * self._axes:
            raise ValueError(f"{name}: padding must be one integer or {2 * self._axes}, found {padding!r}")
        self.padding = tuple(check.integer(name, "padding", amount) for amount in padding)
        self.value: float | None = None

    def forward(self, input: Any) -> Any:
        """(N, C, ...), the last axes larger by the padding."""
        return functional.pad(input, self.padding, self._mode, self.value)

    def extra_repr(self) -> str:
        return f"{self.padding}" + ("" if self.value is None else f", value={self.value:g}")


class _ConstantPad(_Pad):
    _mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = check.number(type(self).__name__, "value", value)


class _ZeroPad(_Pad):
    _mode = "constant"


class _ReflectionPad(_Pad):
    _mode = "reflect"


class _ReplicationPad(_Pad):
    _mode = "replicate"


class _CircularPad(_Pad):
    _mode = "circular"


class ZeroPad1d(_ZeroPad):
    """A border of zeros around the last axis."""

    _axes = 1


class ZeroPad2d(_ZeroPad):
    """A border of zeros around the last two axes."""

    _axes = 2


class ZeroPad3d(_ZeroPad):
    """A border of zeros around the last three axes."""

    _axes = 3


class ConstantPad1d(_ConstantPad):
    """A border of `value` around the last axis."""

    _axes = 1


class ConstantPad2d(_ConstantPad):
    """A border of `value` around the last two axes."""

    _axes = 2


class ConstantPad3d(_ConstantPad):
    """A border of `value` around the last three axes."""

    _axes = 3


class ReflectionPad1d(_ReflectionPad):
    """A border of a mirror image around the last axis."""

    _axes = 1


class ReflectionPad2d(_ReflectionPad):
    """A border of a mirror image around the last two axes."""

    _axes = 2


class ReflectionPad3d(_ReflectionPad):
    """A border of a mirror image around the last three axes."""

    _axes = 3


class ReplicationPad1d(_ReplicationPad):
    """A border of the outermost value around the last axis."""

    _axes = 1


class ReplicationPad2d(_ReplicationPad):
    """A border of the outermost value around the last two axes."""

    _axes = 2


class ReplicationPad3d(_ReplicationPad):
    """A border of the outermost value around the last three axes."""

    _axes = 3


class CircularPad1d(_CircularPad):
    """A border of what stands at the other end around the last axis."""

    _axes = 1


class CircularPad2d(_CircularPad):
    """A border of what stands at the other end around the last two axes."""

    _axes = 2


class CircularPad3d(_CircularPad):
    """A border of what stands at the other end around the last three axes."""

    _axes = 3
