# SPDX-License-Identifier: BSD-3-Clause
"""What the fuzzer knows of losses and distances, as fuzz_entries does of the other functions."""

from fuzz_entries import DEPRECATED, Arg, Ruin, array, boolean, choice, indices, integer, number

NAN, INF = float("nan"), float("inf")
_REDUCED = {"reduction": choice("mean")}
_FORMERLY = {"size_average": DEPRECATED, "reduce": DEPRECATED}
_PAIR = {"input": array(3, 4, exact=(0, 1)), "target": array(3, 4, exact=(0, 1))}
_WEIGHT = {"weight": array(3, 4, exact=(0, 1), optional=True)}
_SCORES = {"input": array(4, 5, ranks=(2,), exact=(0, 1)), "target": indices(5, 4)}
_CLASS_WEIGHT = {"weight": array(5, ranks=(1,), exact=(0,), optional=True)}
_IGNORED = {"ignore_index": integer(-100, -(2**31) + 1, 2**31 - 1)}
_SMOOTHING = {"label_smoothing": number(0.1, -0.1, 1.1, NAN, INF)}
_VECTORS = {"ranks": (2,), "exact": (0, 1)}
_TRIPLET = {name: array(3, 4, **_VECTORS) for name in ("anchor", "positive", "negative")}
_MARGIN = {"margin": number(1.0, 0.0, -1.0, NAN, INF)}


def _without(arg: Arg, *faults: str) -> Arg:
    """The argument without the ways of spoiling it whose names begin with one of `faults`."""
    return Arg(arg.valid, lambda rng: [ruin for ruin in arg.ruins(rng) if not ruin.fault.startswith(faults)])


# Entry of cnnkern.functional -> its arguments in a valid call.
LOSSES: dict[str, dict[str, Arg]] = {
    "mse_loss": {**_PAIR, **_REDUCED, **_WEIGHT, **_FORMERLY},
    "l1_loss": {**_PAIR, **_REDUCED, **_WEIGHT, **_FORMERLY},
    "huber_loss": {**_PAIR, **_REDUCED, **_WEIGHT, "delta": number(1.0, 0.0, -1.0, NAN, INF)},
    "smooth_l1_loss": {**_PAIR, **_REDUCED, "beta": number(1.0, -1.0, NAN, INF)},
    "pseudo_huber_loss": {**_PAIR, **_REDUCED, "delta": number(1.0, 0.0, -1.0, NAN, INF)},
    "kl_div": {**_PAIR, **_REDUCED, **_FORMERLY, "log_target": boolean(True)},
    "poisson_nll_loss": {
        **_PAIR, "log_input": boolean(True), "full": boolean(True), "eps": number(1e-8), **_REDUCED, **_FORMERLY,
    },
    "gaussian_nll_loss": {
        **_PAIR, "var": array(3, 4, exact=(0, 1), positive=True, numbers=True), "full": boolean(True),
        "eps": number(1e-6), **_REDUCED,
    },
    "cross_entropy": {**_SCORES, **_CLASS_WEIGHT, **_IGNORED, **_REDUCED, **_SMOOTHING, **_FORMERLY},
    "cross_entropy_grad": {
        "grad_output": array(ranks=(0,)), **_SCORES, **_CLASS_WEIGHT, **_IGNORED, **_REDUCED, **_SMOOTHING,
    },
    "nll_loss": {**_SCORES, **_CLASS_WEIGHT, **_IGNORED, **_REDUCED, **_FORMERLY},
    "binary_cross_entropy": {
        "input": array(3, 4, exact=(0, 1), positive=True), "target": array(3, 4, exact=(0, 1), positive=True),
        **_WEIGHT, **_REDUCED,
    },
    "binary_cross_entropy_with_logits": {
        **_PAIR, **_WEIGHT, **_REDUCED, "pos_weight": array(3, 4, exact=(0, 1), optional=True),
    },
    "one_hot": {
        "tensor": _without(indices(5, 3, 4), "shape"),
        "num_classes": integer(5, 5, 2**31 - 1),
    },
    "hinge_loss": {**_PAIR, **_REDUCED},
    "soft_margin_loss": {**_PAIR, **_REDUCED, **_FORMERLY},
    "hinge_embedding_loss": {**_PAIR, "margin": number(1.0), **_REDUCED, **_FORMERLY},
    "margin_ranking_loss": {
        **{name: array(3, 4, **_VECTORS) for name in ("input1", "input2", "target")}, "margin": number(0.5),
        **_REDUCED, **_FORMERLY,
    },
    "cosine_embedding_loss": {
        **{name: array(3, 4, **_VECTORS) for name in ("input1", "input2")}, "target": array(3, ranks=(1,), exact=(0,)),
        "margin": number(0.5), **_REDUCED, **_FORMERLY,
    },
    "multi_margin_loss": {
        **_SCORES, "p": number(1, 3, 0, -1, 1.5, NAN, INF), "margin": number(1.0), **_CLASS_WEIGHT, **_REDUCED,
        **_FORMERLY,
    },
    "multilabel_margin_loss": {
        "input": array(4, 5, alone=True, ranks=(2,), exact=(0, 1)),
        "target": _without(indices(5, 4, 5, low=-1), "the index -1"), **_REDUCED, **_FORMERLY,
    },
    "multilabel_soft_margin_loss": {**_PAIR, **_WEIGHT, **_REDUCED, **_FORMERLY},
    "triplet_margin_loss": {
        **_TRIPLET, **_MARGIN, "p": number(2), "eps": number(1e-6), "swap": boolean(True), **_REDUCED, **_FORMERLY,
    },
    "triplet_margin_with_distance_loss": {
        **_TRIPLET, **_MARGIN, "swap": boolean(True), **_REDUCED,
        "distance_function": Arg(
            lambda rng: None, lambda rng: [Ruin(repr(value), value) for value in (0, 1.5, "text", [], {})]
        ),
    },
    "contrastive_loss": {
        "distance": array(3, 4, exact=(0, 1)), "target": array(3, 4, exact=(0, 1)), **_MARGIN, **_REDUCED,
    },
    "pairwise_distance": {
        "x1": array(3, 4, exact=(0, 1)), "x2": array(3, 4, exact=(0, 1)), "p": number(3.0), "eps": number(1e-6),
        "keepdim": boolean(True),
    },
    "cosine_similarity": {
        "x1": array(3, 4, exact=(0, 1)), "x2": array(3, 4, exact=(0, 1)), "dim": integer(1, -2, 1), "eps": number(1e-8),
    },
    "pdist": {"input": array(3, 4, ranks=(2,), alone=True), "p": number(2.0, -1.0, NAN)},
    "bilinear": {
        "input1": array(3, 4, exact=(0, 1)), "input2": array(3, 5, exact=(0, 1)),
        "weight": array(2, 4, 5, ranks=(3,), exact=(1, 2)), "bias": array(2, ranks=(1,), exact=(0,), optional=True),
    },
}  # fmt: skip
