# SPDX-License-Identifier: BSD-3-Clause
"""One case: an operation of the graph, the shapes of its inputs and its attributes, with a name that can be typed."""

import ast
from dataclasses import dataclass, field
from typing import Any

Shape = tuple[int, ...]

_EPILOGUE = {"activation": "none", "slope": 0.25, "low": -4.0, "high": 5.0}
_AVERAGE = {"count_include_pad": True, "divisor": 0}
_RESPONSE = {"alpha": 1e-4, "beta": 0.75, "k": 1.0}
_GRID = {"mode": "bilinear", "padding_mode": "zeros", "align_corners": False}
_LOSS = {"reduction": "mean", "ignore_index": -100, "label_smoothing": 0.0, "log_probabilities": False}

# What an attribute is where a case does not say. An attribute that always has to be said is missing here.
DEFAULTS: dict[str, dict[str, Any]] = {
    "matmul": {"transpose_a": False, "transpose_b": False, **_EPILOGUE},
    "batch_norm": {"eps": 1e-5, **_EPILOGUE},
    "batch_norm_training": {"eps": 1e-5, "momentum": 0.1, **_EPILOGUE},
    "batch_norm_grad": {"training": True, **_EPILOGUE},
    "leaky_relu": {"slope": 0.25},
    "leaky_relu_grad": {"slope": 0.25},
    "clamp": {"low": -2.0, "high": 1.0},
    "clamp_grad": {"low": -2.0, "high": 3.0},
    **{key: {"alpha": 1.0, "beta": 1.0, "gamma": 1.0} for key in ("elu", "elu_grad")},
    **{key: {"alpha": 1.0, "beta": 20.0} for key in ("softplus", "softplus_grad")},
    **{key: {"alpha": 0.5} for key in ("hardshrink", "hardshrink_grad", "softshrink", "softshrink_grad")},
    **{key: {"alpha": -1.0, "beta": 2.0} for key in ("threshold", "threshold_grad")},
    **{key: {"alpha": 3.0} for key in ("power", "power_grad")},
    "scale": {"alpha": 1.0, "beta": 0.0},
    "sum_to": {"scale": 1.0},
    "pad": {"value": 0.0},
    "group_norm": {"eps": 1e-5},
    "local_response_norm": _RESPONSE,
    "local_response_norm_grad": _RESPONSE,
    **dict.fromkeys(("grid_sample", "grid_sample_grad_input", "grid_sample_grad_grid"), _GRID),
    "cross_entropy": _LOSS,
    "cross_entropy_grad": _LOSS,
    "sgd_step": {"momentum": 0.0, "dampening": 0.0, "weight_decay": 0.0, "nesterov": False},
    "adam_step": {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0, "decoupled": False},
    "adaptive_step": {"eps": 1e-8, "momentum": 0.0, "weight_decay": 0.0},
}
for _axes in (1, 2, 3):
    _window = {"stride": (1,) * _axes, "padding": ((0, 0),) * _axes}
    _taps = {**_window, "dilation": (1,) * _axes}
    DEFAULTS[f"conv{_axes}d"] = {**_taps, "groups": 1, **_EPILOGUE}
    DEFAULTS[f"conv{_axes}d_grad_input"] = DEFAULTS[f"conv{_axes}d_grad_weight"] = {**_taps, "groups": 1}
    DEFAULTS[f"max_pool{_axes}d"] = DEFAULTS[f"max_pool{_axes}d_grad"] = _taps
    DEFAULTS[f"avg_pool{_axes}d"] = DEFAULTS[f"avg_pool{_axes}d_grad"] = {**_window, **_AVERAGE}
DEFAULTS["conv2d_scaled"] = {**DEFAULTS["conv2d"], "input_activation": "none"}
# Inputs of operations whose last ones are optional.
_INPUTS = {"conv2d_scaled": 7, "matmul": 3, "batch_norm_training": 6, "batch_norm_grad": 7}
for _axes in (1, 2, 3):
    _INPUTS[f"conv{_axes}d"] = _INPUTS[f"conv{_axes}d_grad_input"] = 4


@dataclass(frozen=True)
class Case:
    """`shapes` holds one shape per input of the operation, None where an optional one is left out."""

    op: str
    shapes: tuple[Shape | None, ...]
    attrs: dict[str, Any] = field(hash=False)

    def __str__(self) -> str:
        default = DEFAULTS.get(self.op, {})
        said = [f"{k}={_literal(v)}" for k, v in self.attrs.items() if k not in default or default[k] != v]
        return ":".join([self.op, ",".join(map(_shape_text, self.shapes)), *said])


def make(op: str, shapes: tuple[Shape | None, ...], **attrs: Any) -> Case:
    """A case with every attribute: the given ones and the defaults of the operation."""
    missing = (None,) * (_INPUTS.get(op, 0) - len(shapes))
    return Case(op, shapes + missing, {**DEFAULTS.get(op, {}), **attrs})


def parse(text: str) -> Case:
    """The inverse of str(case): 'conv2d:2x3x8x8,16x3x3x3,-,-:stride=(2,2)'; '()' is the shape of a scalar."""
    op, shapes, *said = text.strip().split(":")
    attrs: dict[str, Any] = {}
    for item in said:
        key, _, value = item.partition("=")
        attrs[key] = value if value.isidentifier() and value not in ("True", "False") else ast.literal_eval(value)
    return make(op, tuple(_parse_shape(shape) for shape in shapes.split(",")), **attrs)


def _literal(value: Any) -> str:
    return value if isinstance(value, str) else repr(value).replace(" ", "")


def _shape_text(shape: Shape | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape)) or "()"


def _parse_shape(text: str) -> Shape | None:
    if text == "-":
        return None
    return () if text == "()" else tuple(int(size) for size in text.split("x"))


def conv_output(x: Shape, w: Shape, attrs: dict[str, Any]) -> Shape:
    """Shape of y of a convolution of x (N, C, H, W) with w (O, C / groups, R, S), or over other numbers of axes."""
    sizes = [
        (x[2 + i] + sum(attrs["padding"][i]) - attrs["dilation"][i] * (w[2 + i] - 1) - 1) // attrs["stride"][i] + 1
        for i in range(len(x) - 2)
    ]
    return (x[0], w[0], *sizes)


def conv_direction(case: Case, op: str) -> Case:
    """A case of a forward convolution as one of its gradients, with the same geometry."""
    if op == case.op:
        return case
    x, w = case.shapes[0], case.shapes[1]
    assert x is not None and w is not None
    attrs = {key: case.attrs[key] for key in ("stride", "padding", "dilation", "groups")}
    y = conv_output(x, w, attrs)
    if op.endswith("_grad_input"):
        return make(op, (y, w), input_shape=x, **attrs)
    return make(op, (x, y), weight_shape=w, **attrs)
