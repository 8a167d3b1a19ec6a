# SPDX-License-Identifier: BSD-3-Clause
"""Models: names, shapes, counts, small networks against PyTorch, the perceptron rule, XOR."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip

import cnnkern
from cnnkern import graph, models, nn, train
from cnnkern.models import _registry

TORCHVISION = json.loads((Path(__file__).parent / "torchvision_names.json").read_text("utf-8"))


def parameters(model: nn.Module) -> int:
    return sum(array.size for array in model.parameters())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_and_shapes_are_torchvisions(name: str) -> None:
    weights = {key: np.zeros(shape, np.float32 if shape else np.int64) for key, shape in TORCHVISION[name]}
    model = models.get(name)(weights=weights)
    found = [[key, list(array.shape)] for key, array in model.state_dict().items()]
    assert sorted(found) == sorted(TORCHVISION[name])


@pytest.mark.parametrize(
    ("name", "options", "expected", "shape", "multiplications"),
    [
        ("course_cnn", {}, 29_034, (1, 1, 28, 28), 2_838_080),
        ("course_cnn", {"image_size": 8}, 14_634, (1, 1, 8, 8), 231_680),
        ("lenet5", {}, 61_706, (1, 1, 32, 32), 416_520),
        ("mlp", {"hidden": (300, 100)}, 266_610, (1, 784), 266_200),
        ("perceptron", {"in_features": 5}, 6, (1, 5), 5),
        ("resnet18", {}, 11_689_512, (1, 3, 224, 224), 1_814_073_344),
        ("resnet50", {}, 25_557_032, (1, 3, 224, 224), 4_089_184_256),
        ("resnet50", {"stride_placement": "1x1"}, 25_557_032, (1, 3, 224, 224), 3_857_973_248),
    ],
)
def test_counts(
    name: str, options: dict[str, Any], expected: int, shape: tuple[int, ...], multiplications: int
) -> None:
    model = models.get(name)(**options)
    assert parameters(model) == expected
    assert cnnkern.count_macs(model, shape) == multiplications
    assert model.summary(shape).parameters == expected


def test_maps_of_the_course_cnn() -> None:
    rows = {row.name: row.output_shape for row in models.course_cnn().summary((1, 1, 28, 28)).rows}
    assert rows["conv1"] == (1, 16, 28, 28) and rows["pool1"] == (1, 16, 14, 14)
    assert rows["conv2"] == (1, 32, 14, 14) and rows["pool2"] == (1, 32, 7, 7) and rows["fc"] == (1, 10)


def test_the_registry_lists_and_refuses() -> None:
    names = models.list_models()
    assert set(names) < set(models.__all__) and names.index("resnet50") < names.index("resnet101")
    with pytest.raises(ValueError, match=r"no model named 'resnet19'; there are .*course_cnn.*, lenet5"):
        models.get("resnet19")
    with pytest.raises(ValueError, match=r"no model named 'resnet19'"):
        models.info("resnet19")

    def lenet5() -> models.Network:
        return models.Network()

    with pytest.raises(ValueError, match="'lenet5' exists already"):
        _registry.register(year=1998, paper="again")(lenet5)


@pytest.mark.parametrize("name", ["course_cnn", "lenet5", "mlp", "perceptron", "resnet18"])
def test_a_seed_gives_the_same_weights(name: str) -> None:
    first, again, other = (models.get(name)(seed=seed).state_dict() for seed in (3, 3, 4))
    for key, array in first.items():
        np.testing.assert_array_equal(array, again[key])
    if name != "perceptron":
        assert any(not np.array_equal(array, other[key]) for key, array in first.items())


def test_weights_from_a_mapping_and_from_a_file(tmp_path: Path) -> None:
    state = models.lenet5(seed=1).state_dict()
    np.savez(tmp_path / "lenet.npz", **state)
    for weights in (state, tmp_path / "lenet.npz", str(tmp_path / "lenet.npz")):
        for key, array in models.lenet5(weights=weights).state_dict().items():
            np.testing.assert_array_equal(array, state[key])
    with pytest.raises(ValueError, match=r"classifier.5.weight: expected shape \(7, 84\), found \(10, 84\)"):
        models.lenet5(7, weights=state)
    (tmp_path / "lenet.bin").write_bytes(b"no weights")
    with pytest.raises(cnnkern.FormatError, match=r"lenet.bin: neither .npz nor safetensors"):
        models.lenet5(weights=tmp_path / "lenet.bin")


def test_initial_values_of_resnet() -> None:
    model = models.resnet18(seed=0, zero_init_residual=True)
    assert model.layer2[0].conv1.weight.std() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)
    assert not model.layer1[0].bn2.weight.any() and (model.layer1[0].bn1.weight == 1).all()
    with pytest.raises(ValueError, match='stride_placement must be "3x3" or "1x1"'):
        models.resnet50(stride_placement="5x5")  # type: ignore[arg-type]


def torch_twin(name: str, torch: Any) -> Any:
    """The same network written with PyTorch; its state-dict names are those of ours."""
    t = torch.nn
    if name == "lenet5":
        twin = t.Sequential()
        features = [t.Conv2d(1, 6, 5), t.Sigmoid(), t.AvgPool2d(2), t.Conv2d(6, 16, 5), t.Sigmoid(), t.AvgPool2d(2)]
        layers = [t.Linear(400, 120), t.Sigmoid(), t.Linear(120, 84), t.Sigmoid(), t.Linear(84, 10)]
        twin.add_module("features", t.Sequential(*features))
        twin.add_module("classifier", t.Sequential(t.Flatten(), *layers))
        return twin
    twin = t.Sequential()
    for block, (channels, filters) in enumerate(((1, 16), (16, 32)), 1):
        twin.add_module(f"conv{block}", t.Conv2d(channels, filters, 5, padding=2))
        twin.add_module(f"bn{block}", t.BatchNorm2d(filters))
        twin.add_module(f"relu{block}", t.ReLU())
        twin.add_module(f"pool{block}", t.MaxPool2d(2))
    twin.add_module("flatten", t.Flatten())
    twin.add_module("fc", t.Linear(32 * 49, 10))
    return twin


@pytest.mark.parametrize(("name", "size"), [("lenet5", 32), ("course_cnn", 28)])
def test_small_networks_are_those_of_pytorch(name: str, size: int) -> None:
    torch = torch_or_skip()
    model, twin = models.get(name)(seed=0), torch_twin(name, torch)
    twin.load_state_dict({key: torch.from_numpy(array) for key, array in model.state_dict().items()})
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((8, 1, size, size), dtype=np.float32), rng.integers(0, 10, 8)
    scores = twin.train()(torch.from_numpy(x))
    loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(y))
    loss.backward()
    value, gradients = cnnkern.value_and_grad(model)(x, y)
    assert value == pytest.approx(loss.item(), rel=1e-5)
    for key, parameter in twin.named_parameters():
        expected = parameter.grad.numpy()
        # The bias before a batch normalization has no gradient but rounding: hence the absolute part.
        np.testing.assert_allclose(gradients[key], expected, atol=2e-5 * np.abs(expected).max() + 2e-6, err_msg=key)
    np.testing.assert_allclose(model(x), scores.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model.eval()(x), twin.eval()(torch.from_numpy(x)).detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(cnnkern.compile(model, x.shape)(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_residual_gradients_of_the_plan_are_those_of_the_single_operations(name: str) -> None:
    model = models.get(name)(10, seed=0)
    for module in model.modules():
        if hasattr(module, "last_norm"):
            module.last_norm.weight[...] = 0.2  # else depth amplifies rounding
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((4, 3, 64, 64), dtype=np.float32), rng.integers(0, 10, 4).astype(np.int32)
    value, gradients = cnnkern.value_and_grad(model)(x, y)
    loss, expected = graph.run_numpy(train.gradient_graph(model, x, y), (x, y))
    assert value == pytest.approx(float(loss), rel=1e-4)
    assert set(gradients) == set(expected)
    for key, array in expected.items():
        # 1e-5 as a rule, but a rounding error that moves one value across a ReLU's corner is seen in all layers below.
        assert np.linalg.norm(gradients[key] - array) < 5e-2 * np.linalg.norm(array) + 1e-6, key


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu"])
@pytest.mark.parametrize("pooling", ["average", "max"])
def test_lenet_variants_keep_the_parameters(activation: Any, pooling: Any) -> None:
    model = models.lenet5(activation=activation, pooling=pooling, weights=models.lenet5(seed=0).state_dict())
    assert parameters(model) == 61_706 and model(np.ones((2, 1, 32, 32), np.float32)).shape == (2, 10)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.lenet5(activation="swish"), "activation: expected one of relu"),  # type: ignore[arg-type]
        (lambda: models.lenet5(pooling="sum"), 'pooling: expected "average" or "max"'),  # type: ignore[arg-type]
        (lambda: models.course_cnn(image_size=3), "image_size must be at least 4, found 3"),
        (lambda: models.mlp(activation="swish"), "activation: expected one of relu"),
        (lambda: models.perceptron(0), "in_features must be positive"),
    ],
)
def test_builders_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


AND = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)


def test_the_perceptron_learns_and() -> None:
    unit = models.perceptron(2, threshold=1.0)
    unit.weight = np.array([[1.2, 0.6]])
    np.testing.assert_array_equal(unit.predict(AND), [0, 0, 1, 1])
    assert unit.update(AND[2], 0, lr=0.5) == 1
    np.testing.assert_allclose(unit.weight, [[0.7, 0.6]], rtol=1e-6)
    np.testing.assert_array_equal(unit.predict(AND), [0, 0, 0, 1])
    assert unit.learn(AND, [0, 0, 0, 1], lr=0.5) == 0


def test_one_neuron_cannot_learn_xor_and_two_layers_can() -> None:
    xor = np.array([0, 1, 1, 0])
    assert models.perceptron(2).learn(AND, xor, lr=0.1, epochs=200, learn_threshold=True) > 0
    model = models.mlp(2, (8,), 2, activation="tanh", seed=0)
    train.fit(model, (AND, xor), epochs=200, batch_size=4, optimizer=train.Adam(0.05), seed=0, progress=False)
    np.testing.assert_array_equal(train.predict(model, AND).argmax(1), xor)


def test_update_takes_one_example() -> None:
    with pytest.raises(ValueError, match=r"x expects shape \(2,\), found \(4, 2\)"):
        models.perceptron(2).update(AND, 1)
