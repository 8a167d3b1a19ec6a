# SPDX-License-Identifier: BSD-3-Clause
"""Sums and gates that a training step computes inside other operations: the same bits as on their own."""

from collections import Counter
from typing import Any

import numpy as np
import pytest

from cnnkern import models, nn, train
from cnnkern.engine import training
from cnnkern.functional import add, relu
from cnnkern.graph import Graph

Arrays = dict[str, np.ndarray[Any, Any]]


class Sums(nn.Module):
    """A map that three convolutions, a depthwise one and a sum of two norms read."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        for name, kernel in (("one", 1), ("three", 3), ("five", 5)):
            setattr(self, name, nn.Conv2d(20, 20, kernel, padding=kernel // 2, rng=rng))
        self.depthwise = nn.Conv2d(20, 20, 3, padding=1, groups=20, rng=rng)
        self.first, self.second = nn.BatchNorm2d(20), nn.BatchNorm2d(20)
        self.head = nn.Linear(20, 5, rng=rng)

    def forward(self, x: Any) -> Any:
        x = relu(self.one(x))
        y = relu(add(self.first(self.three(x)), self.second(self.five(x))))
        y = add(add(self.first(y), x), relu(self.depthwise(x)))
        return self.head(nn.AdaptiveAvgPool2d(1)(y).reshape(y.shape[0], 20))


def _steps(model: nn.Module, x: Any, labels: Any) -> tuple[list[float], Arrays, Graph]:
    trainer = train.Trainer(model, optimizer=train.SGD(lr=0.01, momentum=0.9), winograd=False)
    losses = [trainer.step(x, labels) for _ in range(2)]
    (plan,) = trainer._step._plans._plans.values()
    return losses, model.state_dict(), plan._execute.graph


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "googlenet", "squeezenet1_1", "Sums"])
def test_sums_and_gates_inside_other_operations(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def made() -> nn.Module:
        return Sums() if name == "Sums" else models.get(name)(num_classes=5, seed=0)

    rng = np.random.default_rng(1)
    shape = (3, 20, 9, 11) if name == "Sums" else (2, *models.info(name).input_shape)
    shape = (*shape[:2], *(min(size, 64) for size in shape[2:]))
    x, labels = rng.standard_normal(shape, np.float32), rng.integers(0, 5, shape[0])
    losses, state, graph = _steps(made(), x, labels)
    for each in ("grow_prefix_gradients", "fuse_sums", "gate_gradients"):
        monkeypatch.setattr(training, each, lambda program: None)
    want_losses, want, separate = _steps(made(), x, labels)
    assert losses == want_losses
    for key, value in want.items():
        np.testing.assert_array_equal(state[key], value, key)
    assert len(graph.nodes) < len(separate.nodes)


def test_a_residual_network_adds_and_gates_nowhere_else() -> None:
    model = models.resnet18(num_classes=5, seed=0)
    x = np.random.default_rng(0).standard_normal((2, 3, 32, 32), np.float32)
    _, _, graph = _steps(model, x, np.zeros(2, np.int64))
    count = Counter(node.op.name for node in graph.nodes if node.outputs and len(node.outputs[0].shape) == 4)
    assert count["add"] == 0
    assert count["relu_grad"] == 1  # the gradient of the average pool comes alone
