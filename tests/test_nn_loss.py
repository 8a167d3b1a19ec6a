# SPDX-License-Identifier: BSD-3-Clause
"""Losses and distances as layers: PyTorch's constructors and results."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import oracle
import pytest

from cnnkern import functional as F
from cnnkern import nn
from cnnkern.nn import loss

RNG = np.random.default_rng(0)
X, Y, Z = (RNG.uniform(0.1, 0.9, (4, 5)) for _ in range(3))
SIGNS, CLASSES, WEIGHT = np.array([1.0, -1, 1, -1]), np.array([0, 3, 4, 1]), RNG.uniform(0.1, 2, 5)
CALLS: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    **dict.fromkeys(("MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "PoissonNLLLoss"), ((X, Y), {})),
    **dict.fromkeys(("CrossEntropyLoss", "NLLLoss", "MultiMarginLoss"), ((X, CLASSES), {"weight": WEIGHT})),
    **dict.fromkeys(("BCELoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss"), ((X, Y), {"weight": WEIGHT})),
    "KLDivLoss": ((X, Y), {"reduction": "batchmean"}),
    "GaussianNLLLoss": ((X, Y, Z), {"full": True}),
    **dict.fromkeys(("HingeEmbeddingLoss", "SoftMarginLoss"), ((X[:, 0], SIGNS), {"reduction": "sum"})),
    "MultiLabelMarginLoss": ((X, np.array([[0, 2, -1, 1, 1]] * 4)), {}),
    "MarginRankingLoss": ((X[:, 0], Y[:, 0], SIGNS), {"margin": 0.5}),
    "CosineEmbeddingLoss": ((X, Y, SIGNS), {"margin": 0.5}),
    **dict.fromkeys(("TripletMarginLoss", "TripletMarginWithDistanceLoss"), ((X, Y, Z), {"swap": True})),
    "PairwiseDistance": ((X, Y), {"p": 1.0, "keepdim": True}),
    "CosineSimilarity": ((X, Y), {"dim": 0}),
}


def classes() -> dict[str, type[nn.Module]]:
    return {name: value for name, value in vars(nn).items() if inspect.isclass(value) and issubclass(value, loss.Loss)}


def test_every_loss_is_called() -> None:
    assert set(classes()) == set(CALLS)


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
@pytest.mark.parametrize("name", CALLS)
def test_like_torch(name: str) -> None:
    torch = oracle.torch_or_skip()
    arrays, options = CALLS[name]
    ours, theirs = getattr(nn, name), getattr(torch.nn, name)

    def arguments(function: Any) -> list[tuple[str, Any]]:
        return [(p.name, p.default) for p in inspect.signature(function.__init__).parameters.values()]

    assert arguments(ours) == arguments(theirs)
    as_tensors = {
        key: torch.from_numpy(value) if isinstance(value, np.ndarray) else value for key, value in options.items()
    }
    expected = theirs(**as_tensors)(*(torch.from_numpy(array) for array in arrays))
    layer = ours(**options)
    oracle.assert_close(layer(*arrays), expected)
    assert set(layer.state_dict()) == {key for key in options if "weight" in key}


def test_arguments() -> None:
    with pytest.raises(ValueError, match="MSELoss: reduction must be one of none, mean, sum, found 'median'"):
        nn.MSELoss(reduction="median")
    assert repr(nn.SmoothL1Loss(beta=0.5)) == "SmoothL1Loss(reduction='mean', beta=0.5)"
    triplet = nn.TripletMarginWithDistanceLoss(distance_function=lambda a, b: F.pairwise_distance(a, b, 1.0))
    assert triplet(X, Y, Z).shape == ()


def test_bilinear() -> None:
    torch = oracle.torch_or_skip()
    layer = nn.Bilinear(5, 5, 3, rng=0)
    assert np.abs(layer.weight).max() <= 5**-0.5 and repr(layer) == "Bilinear(5, 5, 3)"
    theirs = torch.nn.Bilinear(5, 5, 3)
    theirs.load_state_dict({name: torch.from_numpy(array) for name, array in layer.state_dict().items()})
    x, y = X.astype(np.float32), Y.astype(np.float32)
    expected = theirs(torch.from_numpy(x), torch.from_numpy(y)).detach().numpy()
    np.testing.assert_allclose(layer(x, y), expected, rtol=1e-5, atol=1e-6)
