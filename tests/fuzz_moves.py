# SPDX-License-Identifier: BSD-3-Clause
"""What the fuzzer knows of normalization without a batch and of functions that move elements, as fuzz_entries does."""

from typing import Any

import numpy as np
from fuzz_entries import Anything, Arg, Ruin, array, boolean, choice, integer, number, pair

NAN, INF = float("nan"), float("inf")
_INPUT = {"input": array(2, 3, 4, alone=True)}
_IMAGES = {"input": array(2, 4, 6, 6, ranks=(3, 4), alone=True)}
_EPS = {"eps": number(1e-5, -1e-9, -1.0, NAN, INF)}
_VECTOR: dict[str, Any] = {"ranks": (1,), "exact": (0,)}
_RESPONSE = {"size": integer(3, 1, 2**31 - 1), "alpha": number(0.5), "beta": number(0.75), "k": number(1.0)}
_WINDOW = {
    "kernel_size": pair(2, 1), "dilation": pair(1, 1), "padding": pair(0, 0), "stride": pair(2, 1),
}  # fmt: skip


def _spoiled(good: Any, *bad: Any) -> Arg:
    """A valid value and invalid ones of its own."""
    always: list[Any] = [1.5, "1", b"1", {}, 1j, Anything(), np.float64(1)]
    return Arg(lambda rng: good, lambda rng: [Ruin(f"{value!r}", value) for value in [*always, *bad]])


_SIZE = {"size": _spoiled((5, 7), 0, -1, (5,), (5, 7, 3), (5, 0), (5, 1.5), (2**40, 2), True, 2**70)}
_DIM = {"dim": integer(1, -3, 2)}

# Entry of cnnkern.functional -> its arguments in a valid call.
MOVES: dict[str, dict[str, Arg]] = {
    "group_norm": {
        "input": array(2, 6, 4, ranks=(2, 3, 4, 5, 6, 7), exact=(1,)),
        "num_groups": _spoiled(3, 0, -1, 4, 5, None, True),
        "weight": array(6, **_VECTOR, optional=True), "bias": array(6, **_VECTOR, optional=True), **_EPS,
    },
    "group_norm_grad": {
        "grad_output": array(2, 6, 4, exact=(0, 1, 2)), "input": array(2, 6, 4, exact=(0, 1, 2)),
        "num_groups": _spoiled(3, 0, -1, 4, 5, None, True), "weight": array(6, **_VECTOR, optional=True), **_EPS,
    },
    "instance_norm": {
        "input": array(2, 3, 4, 2, ranks=(3, 4, 5, 6, 7), exact=(1,)), "running_mean": array(3, **_VECTOR),
        "running_var": array(3, **_VECTOR), "weight": array(3, **_VECTOR, optional=True),
        "bias": array(3, **_VECTOR, optional=True), "use_input_stats": boolean(True),
        "momentum": number(0.1, NAN, INF), **_EPS,
    },
    "layer_norm": {
        "input": array(2, 3, 4, exact=(1, 2)),
        "normalized_shape": _spoiled((3, 4), None, 4, (4, 3), (2,), (), (3, 4.0), (-3, 4), (2, 3, 4, 1)),
        "weight": array(3, 4, ranks=(2,), exact=(0, 1), optional=True),
        "bias": array(3, 4, ranks=(2,), exact=(0, 1), optional=True), **_EPS,
    },
    "rms_norm": {
        "input": array(2, 3, 4, exact=(1, 2)),
        "normalized_shape": _spoiled((3, 4), None, 4, (4, 3), (2,), (), (3, 4.0), (-3, 4), (2, 3, 4, 1)),
        "weight": array(3, 4, ranks=(2,), exact=(0, 1), optional=True), "eps": number(1e-5, -1.0, NAN, INF, none=True),
    },
    "local_response_norm": {"input": array(2, 3, 4, ranks=(3, 4, 5, 6, 7), alone=True), **_RESPONSE},
    "local_response_norm_grad": {
        "grad_output": array(2, 3, 4, exact=(0, 1, 2)), "input": array(2, 3, 4, exact=(0, 1, 2)), **_RESPONSE,
    },
    "normalize": {**_INPUT, "p": number(2.0), "dim": _spoiled(1, 3, -4, (0, 0), None, True), "eps": number(1e-12)},
    "interpolate": {
        "input": array(2, 3, 4, 5, ranks=(4,), alone=True), **_SIZE, "mode": choice("bilinear"),
        "align_corners": _spoiled(False, 0, 1, "True"), "recompute_scale_factor": _spoiled(None, 0, 1, True),
        "antialias": boolean(False),
    },
    "upsample": {
        "input": array(2, 3, 4, 5, ranks=(4,), alone=True), **_SIZE, "mode": choice("bilinear"),
        "align_corners": _spoiled(False, 0, 1, "True"),
    },
    "upsample_bilinear": {"input": array(2, 3, 4, 5, ranks=(4,), alone=True), **_SIZE},
    "upsample_nearest": {"input": array(2, 3, 4, 5, ranks=(4,), alone=True), **_SIZE},
    "pixel_shuffle": {
        "input": array(2, 8, 3, 3, ranks=(3, 4, 5, 6, 7), alone=True), "upscale_factor": integer(2, 1, 2),
    },
    "pixel_unshuffle": {
        "input": array(2, 2, 6, 4, ranks=(3, 4, 5, 6, 7), alone=True), "downscale_factor": integer(2, 1, 2),
    },
    "channel_shuffle": {
        "input": array(2, 6, 4, ranks=(3, 4, 5, 6, 7), alone=True), "groups": _spoiled(3, 0, -1, 4, 5, None, True),
    },
    "permute": {
        "input": array(2, 3, 4, ranks=(3,), alone=True),
        "dims": _spoiled((2, 0, 1), None, 5, (0, 1), (0, 1, 2, 3), (0, 0, 1), (0, 1, 3), (0, 1, -4), (0, 1, 2.0)),
    },
    "transpose": {**_INPUT, "dim0": integer(1, -3, 2), "dim1": integer(-1, -3, 2)},
    "flip": {**_INPUT, "dims": _spoiled((0, 2), None, (0, 0), (0, -3), (3,), (0, 1.0), -4, 3)},
    "narrow": {**_INPUT, **_DIM, "start": integer(1, -3, 3), "length": integer(2, 0, 2)},
    "split": {
        "tensor": array(2, 3, 4, alone=True),
        "split_size_or_sections": _spoiled(2, 0, -1, None, (1, 1), (4,), (-1, 4), (1.0, 2), True), **_DIM,
    },
    "chunk": {**_INPUT, "chunks": integer(2, 1, 2**31 - 1), **_DIM},
    "unflatten": {
        **_INPUT, "dim": integer(2, -1, 2),
        "sizes": _spoiled((2, -1), None, 4, (), (3, 2), (-1, -1), (5, -1), (2.0, 2)),
    },
    "unfold": {**_IMAGES, **_WINDOW},
    "fold": {
        "input": array(2, 8, 9, ranks=(2, 3), exact=(2,), alone=True),
        "output_size": _spoiled((6, 6), None, 0, -1, 3, (6,) * 3, (6, 1.5), (6, 8), True), **_WINDOW,
    },
    "grid_sample": {
        "input": array(2, 3, 4, 5, ranks=(4,), exact=(0,)), "grid": array(2, 6, 7, 2, ranks=(4,), exact=(0, 3)),
        "mode": choice("bilinear"), "padding_mode": choice("zeros"), "align_corners": _spoiled(False, 0, 1, "True"),
    },
    "affine_grid": {
        "theta": array(2, 2, 3, ranks=(3,), exact=(0, 1, 2), alone=True),
        "size": _spoiled((2, 3, 4, 5), None, 4, (2, 3, 4), (2, 3, 0, 5), (2, 3, -4, 5), (3, 3, 4, 5), (2, 3, 4, 5.0)),
        "align_corners": _spoiled(False, 0, 1, "True"),
    },
    "fractional_max_pool2d": {
        "input": array(2, 3, 6, 7, ranks=(3, 4), alone=True), "kernel_size": pair(2, 1),
        "output_size": _spoiled((3, 4), -1, (3, 4, 5), (3, 7), (3, -1), True, 2**70),
        "return_indices": boolean(True),
    },
    "fractional_max_pool3d": {
        "input": array(2, 3, 5, 6, 7, ranks=(4, 5), alone=True), "kernel_size": pair(2, 1, axes=3),
        "output_size": _spoiled((2, 3, 4), -1, (3, 4), (3, 3, 7), (3, 3, -1), True, 2**70),
        "return_indices": boolean(True),
    },
    "sobel": {
        **_IMAGES, "padding": integer(1, 0, 2**15), "padding_mode": choice("replicate"),
    },
}  # fmt: skip
