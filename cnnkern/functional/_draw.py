# SPDX-License-Identifier: BSD-3-Clause
"""Where random functions get their numbers: a key (seed, step) and a node, told apart in a trace by counting."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import _random
from cnnkern.functional import _check as check
from cnnkern.graph import Attrs, KernelCall, Node, Shape, Spec, Symbol, apply, current_trace, define, product


def seed_of(function: str, seed: Any) -> int | None:
    """A checked `seed` argument."""
    return None if seed is None else check.integer(function, "seed", seed, 0, 2**32 - 1)


def drawn(input: Any, seed: int | None) -> tuple[Any, int]:
    """rng (seed and step: an array, or the input of the trace that `input` belongs to) and node of a random function.

    Without a seed each call outside a trace has a key of its own, in the sequence of `cnnkern.manual_seed`.
    """
    if seed is not None:
        return _key(seed, 0), 0
    trace = current_trace()
    if trace is not None and isinstance(input, Symbol):
        return trace.rng(), trace.next_index()
    return _key(*_random.next_key()), 0


def _key(seed: int, step: int) -> Any:
    return np.array([[seed, step]], np.uint32).view(np.int32)


def _infer_uniform(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(attrs["shape"], np.dtype(attrs["dtype"])),)


def _lower_uniform(node: Node) -> list[KernelCall]:
    (rng,), (y,) = node.inputs, node.outputs
    return [KernelCall("uniform", {"node": node.attrs["node"]}, [(rng, (1, 2)), (y, (max(product(y.shape), 1),))])]


UNIFORM = define("uniform", _infer_uniform, lower=_lower_uniform)


def uniform_like(input: Any, seed: int | None) -> Any:
    """Random numbers of [0, 1), of the shape and dtype of `input`."""
    return drawn_numbers(input, tuple(input.shape), seed)


def drawn_numbers(input: Any, shape: Shape, seed: int | None) -> Any:
    """Random numbers of [0, 1) of a shape, of the dtype of `input`."""
    rng, node = drawn(input, seed)
    return apply(UNIFORM, (rng,), {"shape": shape, "dtype": str(input.dtype), "node": node})[0]
