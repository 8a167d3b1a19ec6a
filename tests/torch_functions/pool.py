# SPDX-License-Identifier: BSD-3-Clause
"""Pooling over one, two and three axes: windows, adaptive, norms, minima, unpooling, and the gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnkern import functional
from torch_functions.draw import Array, Call, Counterpart, Draw, Generator

_MOST = {1: 17, 2: 9, 3: 5}


def _map(draw: Draw, axes: int) -> Array:
    """Values with ties; sometimes NaN and infinities; without a batch axis one time in four."""
    shape = (draw.batch(3), draw.size(17 if axes < 3 else 5), *(draw.size(_MOST[axes]) for _ in range(axes)))
    shape = shape if draw.maybe(0.75) else (max(shape[1], 1), *shape[2:])
    if draw.bad and draw.maybe(0.3):
        shape = draw.choice(((*shape, 2, 2), shape[2:], (*shape[:-1], 0)))
    x = draw.normal(*shape) if draw.maybe(0.6) else draw.pick((-2, -1, 0, 0.5, 3), *shape)
    if draw.maybe(0.1):
        x = np.where(draw.rng.random(shape) < 0.2, draw.choice((np.nan, np.inf, -np.inf)), x).astype(draw.dtype)
    return draw.strided(x)


def _sizes(draw: Draw, axes: int, low: int, high: int) -> Any:
    """An argument of the kind of kernel_size: one number, one in a sequence, or one for each axis."""
    one = draw.integer(low, high)
    if draw.bad and draw.maybe(0.15):
        return draw.choice((low - 1, (one,) * (axes + 1), (low - 1,) * axes, 1.5))
    several = tuple(draw.integer(low, high) for _ in range(axes))
    return draw.choice((one, several, several, list(several), (one,)))


def _window(draw: Draw, axes: int, padded: bool = True) -> dict[str, Any]:
    """Mostly windows that fit: padding at most half of the kernel."""
    kernel = _sizes(draw, axes, 1, 4 if axes < 3 else 2)
    smallest = min(kernel) if isinstance(kernel, (tuple, list)) else kernel
    most = 2 if draw.bad or not isinstance(smallest, int) else max(smallest // 2, 0)
    options: dict[str, Callable[[], Any]] = {
        "stride": lambda: _sizes(draw, axes, 1, 4),
        "ceil_mode": lambda: draw.maybe(),
    }
    if padded:
        options["padding"] = lambda: _sizes(draw, axes, 0, most)
    return {"kernel_size": kernel, **draw.some(options)}


def _extremum(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        x, options = _map(draw, axes), _window(draw, axes)
        if draw.maybe(0.3):  # no window steps over all of the map: PyTorch's indices lie outside then
            options["dilation"] = _sizes(draw, axes, 1, max(1, min(3, *x.shape[-axes:], 3)))
            if axes == 1 and draw.bad:
                options.pop("padding", None)  # PyTorch measures it by the kernel in some cases, with dilation in others
        if draw.maybe(0.4):
            options["return_indices"] = draw.maybe(0.8)
        return Call((x,), options, gradients=(0,))

    return generator


def _average(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        options = _window(draw, axes)
        if draw.maybe(0.4):
            options["count_include_pad"] = draw.maybe()
        if axes > 1 and draw.maybe(0.3):
            options["divisor_override"] = 0 if draw.bad else draw.integer(1, 9)
        return Call((_map(draw, axes),), options, gradients=(0,))

    return generator


def _norm(axes: int) -> Generator:
    def generator(draw: Draw) -> Call:
        x, options = _map(draw, axes), _window(draw, axes, False)
        if axes == 1 and not isinstance(options["kernel_size"], int):
            options["kernel_size"] = draw.integer(1, 4)  # PyTorch multiplies by it
        elif axes > 1 and isinstance(options["kernel_size"], (tuple, list)):
            options["kernel_size"] = (*options["kernel_size"], *(2,) * axes)[:axes]
        if draw.maybe(0.5):  # whole powers of any number, others of positive ones
            return Call((x, draw.choice((1, 2, 2.0, 4))), options)
        tolerance = 1e-4 if draw.dtype == np.float32 else 1e-9
        x = (np.abs(np.nan_to_num(x, posinf=1, neginf=1)) + 0.1).astype(draw.dtype)
        return Call((x, draw.choice((1.5, 3, 0.5, 2))), options, gradients=(0,), tolerance=tolerance)

    return generator


def _adaptive(axes: int, maximum: bool) -> Generator:
    def generator(draw: Draw) -> Call:
        x = _map(draw, axes)
        while not maximum and (x.ndim - axes not in (1, 2) or 0 in x.shape[-axes:]):
            x = _map(draw, axes)  # PyTorch takes the mean of anything where the result has size 1
        several = tuple(draw.integer(1, 7) if axes == 1 or draw.maybe(0.8) else None for _ in range(axes))
        size = draw.choice((draw.integer(1, 7), several, list(several)))
        if draw.bad:
            size = draw.choice((-1, (3,) * (axes + 1), "3", 2.5, size))
        options = {"return_indices": draw.maybe(0.7)} if maximum and draw.maybe(0.5) else {}
        return Call((x, size), options, gradients=(0,))

    return generator


def _gradient(axes: int, kind: str) -> Generator:
    """Gradients for the windows of a forward call, and its indices."""

    def generator(draw: Draw) -> Call:
        x = _map(draw, axes)
        adaptive = kind.startswith("adaptive")
        while x.ndim - axes not in (1, 2) or (adaptive and 0 in x.shape[-axes:]):  # of an empty map: PyTorch's is empty
            x = _map(draw, axes)
        options = {} if kind.startswith("adaptive") else _window(draw, axes)
        if kind == "avg" and draw.maybe(0.4):
            options["count_include_pad"] = draw.maybe()
        if kind.startswith("adaptive"):
            size = tuple(draw.integer(1, 5) for _ in range(axes))
            shape = (*x.shape[: x.ndim - axes], *size)
        else:
            size, shape = (), _windows(x.shape, axes, options)
        if draw.bad and draw.maybe(0.5):
            channels = x.ndim - axes - 1  # any size is a result of adaptive windows
            other = (*shape[:channels], shape[channels] + 1, *shape[channels + 1 :])
            dy = draw.normal(*(other if kind.startswith("adaptive") else draw.broken(shape)))
        else:
            dy = draw.normal(*shape)
        if not kind.endswith("max"):
            return Call((dy, x.shape), options, torch_args=(dy, x))
        pool = getattr(functional, f"{kind}_pool{axes}d")
        try:
            _, indices = pool(x, *([size] if size else []), **options, return_indices=True)
        except (TypeError, ValueError):
            indices = np.zeros(shape, np.int64)
        return Call((dy, indices, x.shape), options, torch_args=(dy, x))

    return generator


def _windows(shape: tuple[int, ...], axes: int, options: dict[str, Any]) -> tuple[int, ...]:
    """The shape of a pooling's result, as near as possible where there is none."""
    kernel = _along(options["kernel_size"], axes)
    steps = _along(options.get("stride", kernel), axes)
    pads, dilations = _along(options.get("padding", 0), axes), _along(options.get("dilation", 1), axes)
    size = []
    for i in range(axes):
        pixels = shape[len(shape) - axes + i]
        room, step = pixels + 2 * pads[i] - dilations[i] * (kernel[i] - 1) - 1, max(steps[i], 1)
        count = (-(-room // step) if options.get("ceil_mode") else room // step) + 1
        if options.get("ceil_mode") and (count - 1) * step >= pixels + pads[i]:
            count -= 1
        size.append(max(count, 0))
    return (*shape[: len(shape) - axes], *size)


def _along(value: Any, axes: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return tuple(int(each) for each in (*values, *values * axes)[:axes])


def _by_autograd(axes: int, kind: str) -> Counterpart:
    """(grad_output, input, ...) -> gradient."""

    def make(torch: Any) -> Any:
        def gradient(dy: Any, x: Any, **options: Any) -> Any:
            x.requires_grad_()
            pool = getattr(torch.nn.functional, f"{kind}_pool{axes}d")
            y = pool(x, tuple(dy.shape[-axes:])) if kind.startswith("adaptive") else pool(x, **options)
            if y.shape != dy.shape:
                raise ValueError("grad_output has another shape")
            return torch.autograd.grad(y, x, dy)[0]

        return gradient

    return make


def _unpool(axes: int) -> Generator:
    """Pooled shapes and windows, with places that are all different."""

    def generator(draw: Draw) -> Call:
        shape = (draw.batch(2), draw.size(5), *(draw.size(4) for _ in range(axes)))
        shape = shape if draw.maybe(0.75) else shape[1:]
        kernel = draw.integer(1, 3)
        step = draw.choice((kernel, kernel, 2, 3))
        options: dict[str, Any] = {"stride": step} if step != kernel or draw.maybe(0.3) else {}
        pad = draw.integer(0, kernel // 2)
        if pad:
            options["padding"] = pad
        usual = [(size - 1) * step + kernel - 2 * pad for size in shape[len(shape) - axes :]]
        if min(usual) < 1:
            options.pop("padding")
            usual = [each + 2 * pad for each in usual]
        size = list(usual)
        if draw.maybe(0.4):
            size = [max(each + draw.integer(-(step if draw.bad else step - 1), step - 1), 1) for each in usual]
            options["output_size"] = tuple(size) if draw.maybe(0.7) or len(shape) == axes + 1 else (*shape[:2], *size)
        pixels, wanted = max(int(np.prod(size)), 1), int(np.prod(shape[len(shape) - axes :]))
        rows = int(np.prod(shape[: len(shape) - axes]))
        places = [draw.rng.permutation(max(pixels, wanted))[:wanted] for _ in range(rows)]
        indices = np.array(places, np.int64).reshape(shape)
        if draw.bad and indices.size and draw.maybe(0.4):
            indices.flat[0] = draw.choice((-1, pixels, pixels + 5))
        other = draw.broken(shape) if draw.bad and draw.maybe(0.3) else shape
        return Call((draw.normal(*other), indices, kernel), options, gradients=(0,))

    return generator


def _fractional(axes: int) -> Generator:
    """With samples; without them only where the windows cannot move."""

    def generator(draw: Draw) -> Call:
        shape = (draw.batch(2), draw.size(5), *(max(2, draw.size(17 if axes == 2 else 7)) for _ in range(axes)))
        shape = shape if draw.maybe(0.75) else shape[1:]
        pixels = shape[len(shape) - axes :]
        kernel = draw.integer(1, min(3, min(pixels) + 2 - axes))
        size = tuple(draw.integer(1, each - kernel + 3 - axes + (2 if draw.bad else 0)) for each in pixels)
        options: dict[str, Any] = {"output_size": size}
        if draw.maybe(0.3):
            options = {"output_ratio": draw.choice(((0.7,) * axes, (0.5,) * axes, 0.5 if axes == 3 else (0.9, 0.6)))}
        if draw.maybe(0.1):
            options = {"output_size": 1 if axes == 3 else tuple(each - kernel + 1 for each in pixels)}
        else:
            batch = shape[0] if len(shape) == axes + 2 else 1
            options["_random_samples"] = draw.uniform(0, 1, batch, shape[-1 - axes], axes)
        if draw.bad and draw.maybe(0.3):
            options = {"_random_samples": None}
        options |= draw.some({"return_indices": lambda: draw.maybe()})
        x = draw.normal(*shape) if draw.maybe() else draw.pick((-2, -1, 0, 0.5, 3, np.nan), *shape)
        gradients = (0,) if options.get("_random_samples") is not None else ()
        return Call((draw.strided(x), draw.choice((kernel, (kernel,) * axes))), options, gradients=gradients)

    return generator


def _minimum(axes: int) -> Counterpart:
    def make(torch: Any) -> Any:
        def pool(x: Any, *args: Any, **options: Any) -> Any:
            found = getattr(torch.nn.functional, f"max_pool{axes}d")(-x, *args, **options)
            return (-found[0], found[1]) if isinstance(found, tuple) else -found

        return pool

    return make


FUNCTIONS: dict[str, Generator] = {}
OWN: dict[str, Counterpart] = {}
for _axes in (2, 3):
    FUNCTIONS[f"fractional_max_pool{_axes}d"] = _fractional(_axes)
for _axes in (1, 2, 3):
    FUNCTIONS[f"max_pool{_axes}d"] = FUNCTIONS[f"min_pool{_axes}d"] = _extremum(_axes)
    OWN[f"min_pool{_axes}d"] = _minimum(_axes)
    FUNCTIONS[f"avg_pool{_axes}d"] = _average(_axes)
    FUNCTIONS[f"lp_pool{_axes}d"] = _norm(_axes)
    FUNCTIONS[f"max_unpool{_axes}d"] = _unpool(_axes)
    for _kind in ("max", "avg"):
        FUNCTIONS[f"adaptive_{_kind}_pool{_axes}d"] = _adaptive(_axes, _kind == "max")
        for _name in (_kind, f"adaptive_{_kind}"):
            FUNCTIONS[f"{_name}_pool{_axes}d_grad"] = _gradient(_axes, _name)
            OWN[f"{_name}_pool{_axes}d_grad"] = _by_autograd(_axes, _name)
