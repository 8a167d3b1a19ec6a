# SPDX-License-Identifier: BSD-3-Clause
"""Values computed again instead of kept: the same bits in less memory."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from cnnkern import functional as F
from cnnkern import models, nn, train
from cnnkern.engine import Executable
from cnnkern.engine.recompute import recomputed
from cnnkern.graph import trace
from cnnkern.train.step import gradient_graph

RNG = np.random.default_rng(23)


def batch(count: int, size: int, classes: int = 10) -> tuple[np.ndarray, np.ndarray]:
    return RNG.standard_normal((count, 3, size, size), dtype=np.float32), RNG.integers(0, classes, count)


def trained(name: str, x, y, recompute, steps: int = 3) -> tuple[list[float], dict[str, np.ndarray]]:
    model = models.get(name)(num_classes=10, seed=0)
    trainer = train.Trainer(model, optimizer=train.SGD(0.05, momentum=0.9), recompute=recompute)
    losses = [trainer.step(x, y) for _ in range(steps)]
    return losses, {key: array.copy() for key, array in model.state_dict().items()}


@pytest.mark.parametrize("name", ["resnet18", "densenet121", "mobilenet_v2", "googlenet"])
def test_same_bits(name):
    """Residual branches, concatenations, dropout, auxiliary heads; running statistics move once."""
    x, y = batch(4, 64)
    expected = trained(name, x, y, False)
    for recompute in (True, 2, 7):
        losses, state = trained(name, x, y, recompute)
        assert losses == expected[0]
        assert all(np.array_equal(state[key], array) for key, array in expected[1].items())


@pytest.mark.parametrize(("name", "most"), [("resnet18", 0.75), ("vgg11_bn", 0.8), ("densenet121", 0.5)])
def test_less_memory(name, most):
    x, y = batch(8, 128)
    graph = gradient_graph(models.get(name)(num_classes=10, seed=0).train(), x, y)
    everything, less = (Executable(graph, recompute=segments).memory(2) for segments in (0, None))
    print(f"{name}: {everything / 2**20:.0f} MiB, with recompute {less / 2**20:.0f}")
    assert less < most * everything


def test_a_plain_chain_runs_each_node_at_most_twice():
    weights = [RNG.standard_normal((8, 8, 3, 3), dtype=np.float32) * np.float32(0.2) for _ in range(9)]

    class Chain(nn.Module):
        def __init__(self):
            for i, weight in enumerate(weights):
                self.register_parameter(f"w{i}", weight.copy())

        def forward(self, x):
            for _, weight in self.named_parameters():
                x = F.relu(F.conv2d(x, weight, padding=1))
            return x

    x = RNG.standard_normal((2, 8, 40, 40), dtype=np.float32)
    y = RNG.standard_normal((2, 8, 40, 40), dtype=np.float32)
    graph = gradient_graph(Chain(), x, y, "mse")
    before = sum(node.op.name == "conv2d" for node in graph.nodes)
    plain, again = (Executable(graph, recompute=segments) for segments in (0, 3))
    after = sum(node.op.name == "conv2d" for node in again.graph.nodes)
    assert before == 9 and before < after <= 2 * before
    results = [execute(x, y) for execute in (plain, again)]
    assert all(np.array_equal(a, b) for a, b in zip(*results, strict=True))


def test_fit_takes_it_and_bad_values_are_named():
    x, y = batch(12, 16)
    untrained = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 14 * 14, 10))
    states = []
    for recompute in (False, 2):
        model = copy.deepcopy(untrained)
        train.fit(model, (x, y), epochs=2, batch_size=5, seed=1, progress=False, recompute=recompute)
        states.append([array.copy() for array in model.state_dict().values()])
    assert all(np.array_equal(a, b) for a, b in zip(*states, strict=True))
    for wrong in (1, -3, "yes", 2.5):
        with pytest.raises((TypeError, ValueError), match="recompute"):
            train.Trainer(model, recompute=wrong)


def test_graphs_without_a_gradient_stay_as_they_are():
    graph = trace(lambda x: F.relu(x), [(2, 3)])
    assert [node.op.name for node in recomputed(graph, graph.outputs[0], 4).nodes] == ["relu"]
