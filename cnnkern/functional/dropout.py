# SPDX-License-Identifier: BSD-3-Clause
"""Dropout (Srivastava et al., 2014) with random numbers that depend on seed, step, node and position alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from cnnkern import _random
from cnnkern.functional import _check as check
from cnnkern.functional._lowering import shape_of
from cnnkern.functional.elementwise import scaled
from cnnkern.graph import Attrs, KernelCall, Node, Spec, Symbol, apply, current_trace, define


def _infer(inputs: Any, attrs: Attrs) -> tuple[Spec, ...]:
    return (Spec(inputs[0].shape, inputs[0].dtype),)


def _lower(node: Node) -> list[KernelCall]:
    (x, rng), (y,) = node.inputs, node.outputs
    return [KernelCall("dropout", node.attrs, [(x, shape_of(x)), (rng, (1, 2)), (y, shape_of(x))])]


def _gradient(node: Node, dy: Symbol) -> tuple[Symbol | None, ...]:
    return apply(DROPOUT, (dy, node.inputs[1]), node.attrs)[0], None


DROPOUT = define("dropout", _infer, gradient=_gradient, lower=_lower)


def _key(seed: int, step: int) -> Any:
    return np.array([[seed, step]], np.uint32).view(np.int32)


def dropout(
    input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, seed: int | None = None
) -> Any:
    """Zero each element with probability p and scale the others by 1 / (1 - p); training=False returns the input.

    seed (0 .. 2^32 - 1): the same seed gives the same mask; without it each call draws a new one, in a sequence that
    `cnnkern.manual_seed` begins again. In a traced model the mask is drawn anew in each step. inplace=True is refused.
    """
    check.floating("dropout", input=input)
    check.not_in_place("dropout", inplace)
    rate = check.finite("dropout", "p", p, 0.0, 1.0)
    if seed is not None:
        seed = check.integer("dropout", "seed", seed, 0, 2**32 - 1)
    if not check.boolean("dropout", "training", training) or rate == 0.0:
        return input
    if rate == 1.0:
        return scaled(input, 0.0)
    if seed is not None:
        return apply(DROPOUT, (input, _key(seed, 0)), {"p": rate, "node": 0})[0]
    trace = current_trace()
    if trace is not None and isinstance(input, Symbol):
        return apply(DROPOUT, (input, trace.rng()), {"p": rate, "node": trace.next_index()})[0]
    return apply(DROPOUT, (input, _key(*_random.next_key())), {"p": rate, "node": 0})[0]
