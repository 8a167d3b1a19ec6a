# SPDX-License-Identifier: BSD-3-Clause
"""Borders, resizing, windows, and everything that only moves elements."""

from typing import Any

import numpy as np

from torch_functions.draw import Call, Counterpart, Draw, Generator


def _maps(draw: Draw, axes: int, most: int = 9, batched: bool = True) -> tuple[int, ...]:
    spatial = tuple(draw.size(most) for _ in range(axes))
    return (draw.batch(3), draw.size(5), *spatial) if batched else (draw.size(5), *spatial)


def pad(draw: Draw) -> Call:
    mode = draw.choice(("constant", "constant", "replicate", "reflect", "circular"))
    if mode == "constant":
        shape = draw.shape(1, 5)
        amounts: list[int] = []
        for size in list(reversed(shape))[: draw.integer(1, len(shape))]:
            amounts += [-draw.integer(0, size // 2) if draw.maybe(0.2) else draw.integer(0, 3) for _ in range(2)]
        if draw.bad:
            amounts = [-9, -9] if draw.maybe() else [*amounts, 1]
        kwargs = draw.some({"mode": lambda: "constant", "value": lambda: draw.choice((0.0, 1.5, -2.0, None))})
        return Call((draw.strided(draw.normal(*shape)), amounts), kwargs, gradients=(0,))
    axes = draw.integer(1, 3)
    shape = _maps(draw, axes, 7, draw.maybe(0.8))
    amounts = []
    for size in reversed(shape[len(shape) - axes :]):
        most = {"replicate": 4, "reflect": size - 1, "circular": size}[mode]
        amounts += [draw.integer(0, most), draw.integer(0, most)]
        if size > 4 and draw.maybe(0.1):
            amounts[-2:] = [-1, min(most, 2)]
    if draw.bad:
        amounts = [amounts[0] + 9, *amounts[1:]] if mode != "replicate" else [*amounts, 1]
    return Call((draw.strided(draw.normal(*shape)), tuple(amounts), mode), gradients=(0,))


_RANKS = {"linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,)}


def interpolate(draw: Draw) -> Call:
    mode = draw.choice(("nearest", "nearest-exact", "area", *_RANKS, "lanczos", "bilinear", "bicubic"))
    axes = draw.choice(_RANKS.get(mode, (2,) if mode == "lanczos" else (1, 2, 3)))
    shape = _maps(draw, axes, 17 if axes < 3 else 7)
    kwargs: dict[str, Any] = {"mode": mode}
    if mode == "lanczos" or (mode in ("bilinear", "bicubic") and draw.maybe(0.4)):
        kwargs["antialias"] = True
    if mode in _RANKS and draw.maybe(0.7):
        kwargs["align_corners"] = draw.choice((True, False, None))
    low = 2 if "antialias" in kwargs else 1  # PyTorch's own results disagree for one column with antialias
    if draw.maybe():
        size: Any = tuple(draw.integer(low, 20) for _ in range(axes))
        kwargs["size"] = size[0] if draw.maybe(0.3) else size
    else:
        least = low / min(shape[2:])
        factors = tuple(max(least, draw.choice((0.5, 2.0, 1.0, 3, draw.number(0.3, 3)))) for _ in range(axes))
        kwargs["scale_factor"] = factors[0] if draw.maybe(0.4) else factors
        kwargs |= draw.some({"recompute_scale_factor": lambda: draw.choice((True, False, None))}, 0.3)
    if draw.bad:
        kwargs |= draw.choice(
            [
                {"size": 3, "scale_factor": 2.0},
                {"mode": "linear" if axes > 1 else "bilinear"},
                {"size": (3,) * (axes + 1)},
            ]
        )
        if mode not in _RANKS and draw.maybe():
            kwargs["align_corners"] = True
    nearest = mode.startswith("nearest")  # whose gradient PyTorch computes by other indices
    # With antialias PyTorch copies maps that keep their size, but its gradient resamples them by the scale.
    gradients = () if nearest or {"antialias", "scale_factor"} <= set(kwargs) else (0,)
    return Call((draw.strided(draw.normal(*shape)),), kwargs, gradients=gradients, tolerance=1e-5)


def upsample(draw: Draw) -> Call:
    x = draw.normal(*_maps(draw, 2))
    kwargs: dict[str, Any] = {"scale_factor": draw.choice((2, 1.5))} if draw.maybe() else {"size": (5, 7)}
    if draw.bad:
        kwargs = {}
    return Call((x,), {**kwargs, **draw.some({"mode": lambda: draw.choice(("nearest", "bilinear"))})}, gradients=(0,))


def upsample_by(draw: Draw) -> Call:
    kwargs: dict[str, Any] = {"scale_factor": draw.choice((2, 3))} if draw.maybe() else {"size": (5, 7)}
    return Call((draw.normal(*_maps(draw, 2)),), {} if draw.bad else kwargs, gradients=(0,))


def pixel_shuffle(draw: Draw) -> Call:
    factor, batch = draw.integer(1, 4), draw.shape(0, 2)
    channels = factor**2 * draw.size(4) + (1 if draw.bad else 0)
    gradients = () if 0 in batch else (0,)  # PyTorch's gradient of empty arrays has the wrong shape
    return Call((draw.normal(*batch, channels, draw.size(7), draw.size(7)), factor), gradients=gradients)


def pixel_unshuffle(draw: Draw) -> Call:
    factor, batch = draw.integer(1, 4), draw.shape(0, 2)
    batch = tuple(size or 1 for size in batch)  # PyTorch does nothing to empty arrays
    rows = factor * draw.size(5) + (1 if draw.bad and factor > 1 else 0)
    return Call((draw.normal(*batch, draw.size(4), rows, factor * draw.size(5)), factor), gradients=(0,))


def channel_shuffle(draw: Draw) -> Call:
    groups = draw.integer(1, 5)
    channels = groups * draw.size(8) + (1 if draw.bad and groups > 1 else 0)
    spatial = tuple(draw.size(5) for _ in range(draw.integer(1, 3)))
    return Call((draw.strided(draw.normal(draw.integer(1, 3), channels, *spatial)), groups), gradients=(0,))


def _window(draw: Draw) -> dict[str, Any]:
    def pair(low: int, high: int) -> Any:
        return draw.choice((draw.integer(low, high), (draw.integer(low, high), draw.integer(low, high))))

    options = {"dilation": lambda: pair(1, 2), "padding": lambda: pair(0, 2), "stride": lambda: pair(1, 3)}
    return {"kernel_size": pair(1, 4), **draw.some(options)}


def unfold(draw: Draw) -> Call:
    window = _window(draw)
    least = 2 if draw.bad else 8
    shape = (draw.size(4), draw.integer(least, least + 6), draw.integer(least, least + 6))
    shape = (draw.batch(3), *shape) if draw.maybe(0.7) else shape
    if draw.bad:
        window["kernel_size"] = 9
        window["padding"] = 0
    return Call((draw.strided(draw.normal(*shape)),), window, gradients=(0,))


def fold(draw: Draw) -> Call:
    window = _window(draw)
    size = (draw.integer(8, 14), draw.integer(8, 14))

    def both(name: str, otherwise: int) -> tuple[int, int]:
        value = window.get(name, otherwise)
        return value if isinstance(value, tuple) else (value, value)

    kernel, rest = (
        both("kernel_size", 1),
        [both(name, n) for name, n in (("dilation", 1), ("padding", 0), ("stride", 1))],
    )
    counts = [(size[i] + 2 * rest[1][i] - rest[0][i] * (kernel[i] - 1) - 1) // rest[2][i] + 1 for i in (0, 1)]
    columns = counts[0] * counts[1] + (1 if draw.bad else 0)
    shape = (draw.size(4) * kernel[0] * kernel[1], columns)
    shape = (draw.integer(1, 3), *shape) if draw.maybe(0.7) else shape
    return Call((draw.normal(*shape), size), window, gradients=(0,))


def permute(draw: Draw) -> Call:
    shape = draw.shape(0, 5)
    order = [int(axis) for axis in draw.rng.permutation(len(shape))]
    dims = [axis - len(shape) if draw.maybe(0.3) else axis for axis in order]
    if draw.bad:
        dims = [*dims, 0]
    return Call((draw.strided(draw.normal(*shape)), tuple(dims)), gradients=(0,))


def transpose(draw: Draw) -> Call:
    shape = draw.shape(1, 6, 5)
    rank = len(shape)
    one, other = draw.integer(-rank, rank - 1), draw.integer(-rank, rank - 1)
    return Call((draw.normal(*shape), rank if draw.bad else one, other), gradients=(0,))


def flip(draw: Draw) -> Call:
    shape = draw.shape(1, 5)
    dims = [int(axis) for axis in draw.rng.permutation(len(shape))[: draw.integer(1, len(shape))]]
    if draw.bad:
        dims = [dims[0], dims[0]]
    return Call((draw.strided(draw.normal(*shape)), tuple(dims)), gradients=(0,))


def narrow(draw: Draw) -> Call:
    shape = draw.shape(1, 4)
    axis = draw.integer(0, len(shape) - 1)
    start = draw.integer(0, shape[axis])
    length = draw.integer(0, shape[axis] - start) + (shape[axis] + 1 if draw.bad else 0)
    return Call((draw.normal(*shape), axis, start, length), gradients=(0,))


def split(draw: Draw) -> Call:
    shape = draw.shape(1, 4)
    axis = draw.integer(0, len(shape) - 1)
    size = shape[axis]
    sections: Any = draw.integer(1, 5)
    if draw.maybe():
        cut = draw.integer(0, size)
        sections = [cut, size - cut + (1 if draw.bad else 0)]
    elif draw.bad:
        sections = -1
    return Call((draw.normal(*shape), sections, axis), gradients=(0,) if size else ())


def chunk(draw: Draw) -> Call:
    shape = draw.shape(1, 4)
    axis = draw.integer(-len(shape), len(shape) - 1)
    return Call((draw.normal(*shape), 0 if draw.bad else draw.integer(1, 6), axis), gradients=(0,))


def unflatten(draw: Draw) -> Call:
    shape = draw.shape(0, 3)
    axis, sizes = draw.integer(0, len(shape)), [draw.size(4), draw.size(4)]
    whole = (*shape[:axis], sizes[0] * sizes[1], *shape[axis:])
    if draw.maybe() and 0 not in whole:
        sizes[draw.integer(0, 1)] = -1
    if draw.bad:
        sizes = [-1, -1] if draw.maybe() else [7, 5]
    return Call((draw.normal(*whole), axis, tuple(sizes)), gradients=(0,))


def sobel(draw: Draw) -> Call:
    shape = (draw.size(4), draw.integer(3, 9), draw.integer(3, 9))
    shape = (draw.integer(1, 3), *shape) if draw.maybe(0.7) else shape
    if draw.bad:
        shape = (2, *shape, 1)
    kwargs = draw.some(
        {
            "padding": lambda: draw.integer(0, 2),
            "padding_mode": lambda: draw.choice(("constant", "replicate", "reflect", "circular")),
        }
    )
    return Call((draw.normal(*shape),), kwargs, gradients=(0,))


def grid_sample(draw: Draw) -> Call:
    """Places between pixels: at a kink a rounding decides on the gradient, or on the nearest pixel."""
    axes = draw.choice((2, 2, 3))
    mode = draw.choice(("bilinear", "nearest", "bicubic") if axes == 2 else ("bilinear", "nearest"))
    x = (draw.batch(3), draw.size(5), *(draw.size(17 if axes == 2 else 5) for _ in range(axes)))
    kwargs: dict[str, Any] = draw.some(
        {
            "padding_mode": lambda: draw.choice(("zeros", "border", "reflection")),
            "align_corners": lambda: draw.choice((True, True, False, None)),
        },
        0.7,
    )
    if mode != "bilinear" or draw.maybe():
        kwargs["mode"] = mode
    places = tuple(draw.size(9) for _ in range(axes))
    grid = np.empty((x[0], *places, axes), draw.dtype)
    for i, pixels in enumerate(x[:1:-1]):
        whole = draw.rng.integers(-2, pixels + 2, grid.shape[:-1])
        u = whole + draw.rng.uniform(0.05, 0.45, whole.shape) * draw.rng.choice((-1, 1), whole.shape)
        aligned = kwargs.get("align_corners")
        grid[..., i] = 2 * u / max(pixels - 1, 1) - 1 if aligned else (2 * u + 1) / pixels - 1
    if draw.maybe(0.2):
        far = 3.0 if kwargs.get("padding_mode") == "reflection" else 1e20  # what PyTorch mirrors overflows there
        grid = draw.pick((-far, -2.0, -1.0, -0.5, 0.0, 0.25, 1.0, 1.5, far), *grid.shape)
        return Call((draw.strided(draw.normal(*x)), grid), kwargs, tolerance=1e-5)
    if draw.bad:
        if draw.maybe():
            grid = draw.normal(*draw.broken(grid.shape))
        else:
            kwargs |= draw.choice(({"mode": "cubic"}, {"padding_mode": "circular"}, {"align_corners": 2.5}))
    gradients = () if 0 in x or mode == "nearest" else (0, 1)
    return Call((draw.strided(draw.normal(*x)), draw.strided(grid)), kwargs, gradients=gradients, tolerance=1e-5)


def affine_grid(draw: Draw) -> Call:
    axes = draw.choice((2, 3))
    size = (draw.integer(1, 3), draw.size(5), *(draw.size(9) for _ in range(axes)))
    theta = (size[0], axes, axes + 1)
    if draw.bad:
        if draw.maybe():
            theta = draw.broken(theta)
        else:
            size = draw.choice(((*size[:2], 0, 3), (*size[:2], -1, 3), size[:3], (*size, 1, 1)))
    kwargs = draw.some({"align_corners": lambda: draw.choice((True, False, None))})
    return Call((draw.strided(draw.normal(*theta)), size), kwargs, gradients=(0,))


FUNCTIONS: dict[str, Generator] = {
    "affine_grid": affine_grid,
    "channel_shuffle": channel_shuffle,
    "chunk": chunk,
    "flip": flip,
    "fold": fold,
    "grid_sample": grid_sample,
    "interpolate": interpolate,
    "narrow": narrow,
    "pad": pad,
    "permute": permute,
    "pixel_shuffle": pixel_shuffle,
    "pixel_unshuffle": pixel_unshuffle,
    "sobel": sobel,
    "split": split,
    "transpose": transpose,
    "unflatten": unflatten,
    "unfold": unfold,
    "upsample": upsample,
    "upsample_bilinear": upsample_by,
    "upsample_nearest": upsample_by,
}


def _sobel(torch: Any, x: Any, padding: int = 1, padding_mode: str = "replicate") -> Any:
    if x.ndim not in (3, 4):
        raise ValueError("no images")
    padded = torch.nn.functional.pad(x, (padding,) * 4, padding_mode) if padding else x
    kernel = torch.tensor([[1, 0, -1], [2, 0, -2], [1, 0, -1]], dtype=x.dtype)
    single = padded.reshape(-1, 1, *padded.shape[-2:])
    across, down = (torch.conv2d(single, each.reshape(1, 1, 3, 3)) for each in (kernel, kernel.T))
    magnitude = (across**2 + down**2).clamp(min=1e-38).sqrt()  # no NaN in the gradient where all is flat
    return magnitude.reshape(*x.shape[:-2], *magnitude.shape[-2:])


OWN: dict[str, Counterpart] = {
    "sobel": lambda torch: lambda *args, **kwargs: _sobel(torch, *args, **kwargs),
    **{
        name: lambda torch, name=name: getattr(torch, name)  # type: ignore[misc]
        for name in ("chunk", "flip", "narrow", "permute", "split", "transpose", "unflatten")
    },
}
