# SPDX-License-Identifier: BSD-3-Clause
"""Gradient rules of the graph: in float32 through the kernels, in float64 through the reference, and by PyTorch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from case import Case
from cases import OPS, rows
from generators import generated
from oracle import torch_or_skip
from torch_ops import FORWARD
from values import EXACT, Array, generator, inputs, whole_numbers

from cnnkern.functional import multiply
from cnnkern.functional.shape import sum_axes
from cnnkern.graph import OPS as DEFINITIONS
from cnnkern.graph import Spec, apply, current_trace, gradients, run_numpy, trace

# Sums of up to some thousand float32 terms, one after the other; a wrong rule is wrong in the first digit.
_TOLERANCE = 3e-5

# Inputs that only the compiler gives: residuals, gates; and running statistics, which need no gradient.
_COMPILED_INPUTS = {"batch_norm_training": (3, 4, 5)}
for _axes in (1, 2, 3):
    _COMPILED_INPUTS |= {f"conv{_axes}d": (3,), f"conv{_axes}d_grad_input": (2, 3)}
DIFFERENTIABLE = [op for op in OPS if DEFINITIONS[op].gradient is not None]


def _sample(op: str, seed: int, full: bool) -> list[Case]:
    """Rows and generated cases without what only the compiler adds (activations in other operations)."""
    share = 60 if op.startswith("conv") else 40
    found = [*rows(op), *generated(op, seed + 1, 10 if full else share)]
    return [_functional(case) for case in found if case.attrs.get("activation", "none") == "none"]


def _functional(case: Case) -> Case:
    """The case with the inputs that `functional` passes."""
    dropped = _COMPILED_INPUTS.get(case.op, ())
    return Case(case.op, tuple(None if i in dropped else shape for i, shape in enumerate(case.shapes)), case.attrs)


def _factor(case: Case, seed: int) -> Array:
    """What each element of the first output contributes to the loss."""
    values = [None if shape is None else np.empty(shape, np.float32) for shape in case.shapes]
    return whole_numbers(generator(case, seed + 1), DEFINITIONS[case.op].infer(tuple(values), case.attrs)[0].shape)


def _graph_gradients(case: Case, values: Sequence[Array | None], factor: Array, dtype: Any) -> list[Array | None]:
    """d sum(factor * first output) / d input for each input; None where the graph says that there is none."""
    present = [i for i, value in enumerate(values) if value is not None]
    arrays = [_cast(value, dtype) for value in values if value is not None]

    def function(*symbols: Any) -> Any:
        operands: list[Any] = [None] * len(values)
        for i, symbol in zip(present, symbols, strict=True):
            operands[i] = symbol
        y = apply(DEFINITIONS[case.op], tuple(operands), case.attrs)[0]
        loss = sum_axes(multiply(y, factor.astype(dtype)), (1,) * y.ndim)
        running = current_trace()
        assert running is not None
        return tuple(gradients(running, loss, symbols))

    graph = trace(function, [Spec(array.shape, array.dtype) for array in arrays])
    found = iter(run_numpy(graph, arrays))
    return [None if value is None else next(found) for value in values]


def _cast(value: Array, dtype: Any) -> Array:
    return value if value.dtype == np.int32 else value.astype(dtype)


@pytest.mark.filterwarnings("ignore:.*float64 arrays are computed by the slow reference")
@pytest.mark.parametrize("op", DIFFERENTIABLE)
def test_float32_kernels_give_the_gradients_of_float64(op: str, seed: int, full: bool) -> None:
    """Whole numbers give equal gradients where the operation and its gradients only add, multiply and compare."""
    for case in _sample(op, seed, full):
        whole = op in EXACT
        values, factor = inputs(case, seed, whole), _factor(case, seed)
        want = _graph_gradients(case, values, factor, np.float64)
        got = _graph_gradients(case, values, factor, np.float32)
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            if w is None:
                assert g is None, f"{case}: gradient of input {i}"
                continue
            assert g is not None and g.shape == w.shape and g.dtype == np.float32, f"{case}: gradient of input {i}"
            if whole:
                np.testing.assert_array_equal(g, w, f"{case}: gradient of input {i}")
            elif w.size:
                error, size = np.sqrt(np.mean((g - w) ** 2)), np.sqrt(np.mean(w**2))
                assert error <= _TOLERANCE * (size + _cancelling(case)), (
                    f"{case}: gradient of input {i}: {error} of {size}"
                )


def _cancelling(case: Case) -> float:
    """The size of terms that cancel in a gradient: through statistics of few elements nothing but rounding is left."""
    statistics = ("batch_norm_training", "group_norm", "softmax", "log_softmax", "cross_entropy")
    return 30.0 if case.op in (*statistics, "grid_sample") else 0.0  # nor of reads of one pixel several times


def _torch_gradients(torch: Any, case: Case, values: Sequence[Array | None], factor: Array) -> list[Array | None]:
    tensors = [None if value is None else torch.from_numpy(_cast(value, np.float64).copy()) for value in values]
    wanted = [t for t in tensors if t is not None and t.is_floating_point()]
    for tensor in wanted:
        tensor.requires_grad_()
    # PyTorch has no gradient for statistics and class weights.
    for i in {"batch_norm": (1, 2), "cross_entropy": (2,)}.get(case.op, ()):
        if tensors[i] is not None:
            tensors[i].requires_grad_(False)
    y = FORWARD[case.op](torch, *tensors, case.attrs)
    y = y[0] if isinstance(y, tuple) else y
    (y * torch.from_numpy(factor.astype(np.float64))).sum().backward()
    return [None if t is None or t.grad is None else t.grad.numpy() for t in tensors]


@pytest.mark.parametrize("op", [op for op in DIFFERENTIABLE if op in FORWARD])
def test_float64_gradients_are_those_of_pytorch(op: str, seed: int, full: bool) -> None:
    torch = torch_or_skip()
    for case in _sample(op, seed, full):
        if any(shape is not None and 0 in shape for shape in case.shapes):
            continue  # PyTorch refuses some empty arrays; that gradients of none are empty is tested above
        values, factor = inputs(case, seed, False), _factor(case, seed)
        got = _graph_gradients(case, values, factor, np.float64)
        want = _torch_gradients(torch, case, values, factor)
        for i, (g, w) in enumerate(zip(got, want, strict=True)):
            if w is not None and g is not None:
                np.testing.assert_allclose(g, w, 1e-9, 1e-9, err_msg=f"{case}: gradient of input {i}")
            elif case.op not in ("batch_norm", "cross_entropy"):
                assert (g is None) == (w is None), f"{case}: gradient of input {i}"


def test_every_operation_that_functional_differentiates_is_compared() -> None:
    """Gradients of gradients are compared above, in float32."""
    assert {op for op in set(DIFFERENTIABLE) - set(FORWARD) if "_grad" not in op} == set()
