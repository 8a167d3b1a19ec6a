# SPDX-License-Identifier: BSD-3-Clause
"""What the fuzzer knows of activations, random functions and further arithmetic, as fuzz_entries does of the others."""

from fuzz_entries import Arg, Ruin, array, boolean, choice, integer, number

NAN, INF = float("nan"), float("inf")
_INPUT = {"input": array(2, 3, 4, alone=True)}
_INPLACE = {"inplace": Arg(lambda rng: False, lambda rng: [*boolean(False).ruins(rng), Ruin("True", True)])}
_SEED = {"seed": integer(3, 0, 2**32 - 1, none=True)}
_RATE = {"p": number(0.5, -0.1, 1.5, NAN, INF), "training": boolean(True), **_INPLACE, **_SEED}
_TERM = array(2, 3, 4, exact=(0, 1, 2), numbers=True)
_BACKWARD = {"grad_output": array(2, 3, 4, exact=(0, 1, 2)), "input": array(2, 3, 4, exact=(0, 1, 2))}
_WITHOUT_OPTIONS = ("silu", "mish", "selu", "logsigmoid", "softsign", "hardswish", "hardsigmoid")

# Entry of cnnkern.functional -> its arguments in a valid call.
ACTIVATIONS: dict[str, dict[str, Arg]] = {
    **{name: {**_INPUT, **_INPLACE} for name in ("silu", "mish", "hardswish", "hardsigmoid", "selu")},
    **dict.fromkeys(("logsigmoid", "softsign", "tanhshrink", "abs", "reciprocal", "rsqrt"), _INPUT),
    "elu": {**_INPUT, "alpha": number(0.5, NAN, INF), **_INPLACE},
    "celu": {**_INPUT, "alpha": number(0.5, 0.0, NAN, INF), **_INPLACE},
    "gelu": {**_INPUT, "approximate": choice("tanh")},
    "softplus": {**_INPUT, "beta": number(2.0), "threshold": number(10.0)},
    "hardshrink": {**_INPUT, "lambd": number(0.5)},
    "softshrink": {**_INPUT, "lambd": number(0.5, -0.1, NAN, INF)},
    "threshold": {**_INPUT, "threshold": number(0.5), "value": number(2.0), **_INPLACE},
    "prelu": {"input": array(2, 3, 4, exact=(1,)), "weight": array(3, ranks=(0, 1), exact=(0,))},
    "rrelu": {
        **_INPUT, "lower": number(0.1, 0.5, NAN, INF), "upper": number(0.3, 0.0, NAN, INF), "training": boolean(True),
        **_INPLACE, **_SEED,
    },
    "glu": {"input": array(2, 3, 4, alone=True), "dim": integer(2, -3, 2)},
    "softmin": {**_INPUT, "dim": integer(1, -3, 2, none=True)},
    "gumbel_softmax": {
        "logits": array(2, 3, 4, alone=True), "tau": number(0.5, 0.0, NAN, INF), "hard": boolean(True),
        "eps": number(1e-10), "dim": integer(1, -3, 2), **_SEED,
    },
    "pow": {**_INPUT, "exponent": number(1.5, NAN, INF)},
    **{name: {"input": _TERM, "other": _TERM} for name in ("maximum", "minimum")},
    **{f"{name}_grad": _BACKWARD for name in _WITHOUT_OPTIONS},
    "gelu_grad": {**_BACKWARD, "approximate": choice("tanh")},
    "elu_grad": {**_BACKWARD, "alpha": number(0.5, NAN, INF)},
    "celu_grad": {**_BACKWARD, "alpha": number(0.5, 0.0, NAN, INF)},
    "softplus_grad": {**_BACKWARD, "beta": number(2.0), "threshold": number(10.0)},
    "hardshrink_grad": {**_BACKWARD, "lambd": number(0.5)},
    "softshrink_grad": {**_BACKWARD, "lambd": number(0.5, -0.1, NAN, INF)},
    "dropout1d": {"input": array(2, 3, 4, ranks=(2, 3), alone=True), **_RATE},
    "dropout2d": {"input": array(2, 3, 4, 4, ranks=(2, 3, 4, 5, 6, 7), alone=True), **_RATE},
    "dropout3d": {"input": array(2, 3, 2, 3, 2, ranks=(1, 2, 3, 4, 5, 6, 7), alone=True), **_RATE},
    "alpha_dropout": {**_INPUT, **_RATE},
    "feature_alpha_dropout": {"input": array(2, 3, 4, ranks=(2, 3, 4, 5, 6, 7), alone=True), **_RATE},
    "stochastic_depth": {
        **_INPUT, "p": _RATE["p"], "mode": choice("row"), "training": boolean(True), **_SEED,
    },
}  # fmt: skip
