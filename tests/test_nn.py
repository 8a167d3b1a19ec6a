# SPDX-License-Identifier: BSD-3-Clause
"""Modules: registration, state, modes, initial values, and every layer against PyTorch's."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip

import cnnkern
from cnnkern import functional, nn
from cnnkern.nn import init


def normal(*shape: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, dtype=np.float32)


class Block(nn.Module):
    def __init__(self) -> None:
        self.conv = nn.Conv2d(2, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)

    def forward(self, input: Any) -> Any:
        return functional.relu(self.norm(self.conv(input)))


class Net(nn.Module):
    def __init__(self) -> None:
        self.body = nn.Sequential(Block(), nn.MaxPool2d(2), nn.Flatten())
        self.register_parameter("scale", [2.0])
        self.fc = nn.Linear(12, 4)

    def forward(self, input: Any) -> Any:
        return self.fc(self.body(input)) * self.scale


# --- Modules ------------------------------------------------------------------------------------------------------


NAMES = [
    "scale",
    "body.0.conv.weight",
    "body.0.conv.bias",
    "body.0.norm.weight",
    "body.0.norm.bias",
    "fc.weight",
    "fc.bias",
]


def test_names_are_paths_in_order_of_registration() -> None:
    model = Net()
    assert [name for name, _ in model.named_parameters()] == NAMES
    assert set(model.state_dict()) - set(NAMES) == {
        "body.0.norm.running_mean",
        "body.0.norm.running_var",
        "body.0.norm.num_batches_tracked",
    }
    assert [name for name, _ in model.named_modules()][:4] == ["", "body", "body.0", "body.0.conv"]


def test_state_is_a_snapshot_and_loading_keeps_the_arrays() -> None:
    first, second = Net(), Net()
    state, arrays = first.state_dict(), dict(second.named_parameters())
    assert not np.array_equal(state["fc.weight"], second.fc.weight)
    assert second.load_state_dict(state) == ((), ())
    for name, array in second.named_parameters():
        assert array is arrays[name]
        np.testing.assert_array_equal(array, state[name])
    first.fc.weight[...] = 7
    assert not (state["fc.weight"] == 7).any()


def test_every_problem_of_loading_is_in_one_error_and_nothing_is_loaded() -> None:
    model = Net()
    before = model.state_dict()
    state = {**before, "fc.bias": np.zeros(5, np.float32), "extra.a": np.zeros(1), "extra.b": np.zeros(1)}
    state["scale"] = np.array([1])
    del state["fc.weight"], state["body.0.norm.running_var"]
    with pytest.raises(ValueError) as caught:
        model.load_state_dict(state)
    message = str(caught.value)
    for part in (
        "missing: body.0.norm.running_var, fc.weight",
        "unexpected: extra.a, extra.b",
        "fc.bias: expected shape (4,), found (5,)",
        "scale: expected float32, found int64",
    ):
        assert part in message
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_loading_what_fits_reports_the_rest() -> None:
    model = Net()
    unmatched = model.load_state_dict({"fc.bias": np.ones(4, np.float64), "other": 0}, strict=False)
    assert unmatched.unexpected == ("other",) and "fc.weight" in unmatched.missing and len(unmatched.missing) == 9
    assert (model.fc.bias == 1).all() and model.fc.bias.dtype == np.float32


def test_assignment_copies_into_the_array() -> None:
    layer = nn.Linear(3, 2)
    weight = layer.weight
    layer.weight = np.arange(6.0).reshape(2, 3)
    assert layer.weight is weight and weight.dtype == np.float32
    np.testing.assert_array_equal(weight, [[0, 1, 2], [3, 4, 5]])
    layer.weight *= 2
    assert layer.weight is weight and weight[1, 2] == 10
    with pytest.raises(ValueError, match=r"Linear: weight has shape \(2, 3\), cannot assign \(3, 2\)"):
        layer.weight = np.zeros((3, 2))
    with pytest.raises(ValueError, match="cannot assign None"):
        layer.bias = None


@pytest.mark.parametrize("name", ["", "a.b", "forward", "weight", "training"])
def test_names_that_cannot_be_registered(name: str) -> None:
    with pytest.raises(ValueError, match=r"already in use|without dots"):
        nn.Linear(2, 2).register_parameter(name, np.zeros(1))


def test_a_submodule_can_only_be_replaced_by_a_module() -> None:
    model = Net()
    model.fc = nn.Linear(12, 2)
    assert model.fc.weight.shape == (2, 12) and len(list(model.children())) == 2
    with pytest.raises(TypeError, match="'fc' is a submodule"):
        model.fc = 3
    with pytest.raises(AttributeError, match="Net has no attribute 'nothing'"):
        model.nothing  # noqa: B018


def test_shared_parameters_count_once() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            self.a = nn.Linear(4, 4)
            self.b = self.a
            self.c = nn.Module()
            self.c.register_parameter("weight", self.a.weight)

    model = Tied()
    assert [name for name, _ in model.named_parameters()] == ["a.weight", "a.bias"]
    assert set(model.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias", "c.weight"}


def test_modes_and_freezing_reach_everything_below() -> None:
    model = Net()
    model.eval()
    assert not any(module.training for module in model.modules())
    model.train()
    assert all(module.training for module in model.modules())
    model.body.trainable = False
    assert [name for name, _ in model.named_parameters(trainable=True)] == ["scale", "fc.weight", "fc.bias"]
    assert model.body.requires_grad_().trainable and model.body[0].conv.trainable


def test_the_mode_returns_to_what_each_part_had() -> None:
    model = Net()
    model.body.eval()
    with nn.module.mode(model, training=True):
        assert model.body[0].norm.training
    assert model.training and not model.body[0].norm.training


def test_copies_and_pickles_are_independent_and_equal() -> None:
    model = Net().eval()
    x = normal(2, 2, 4, 4)
    expected = model(x)
    for duplicate in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(duplicate(x), expected)
        duplicate.fc.weight[...] = 0
    np.testing.assert_array_equal(model(x), expected)


def test_a_float64_copy_computes_in_float64() -> None:
    model = Net().eval()
    x = normal(2, 2, 4, 4)
    exact = model.astype(np.float64)
    y = exact(x.astype(np.float64))
    assert y.dtype == np.float64 and model.fc.weight.dtype == np.float32
    np.testing.assert_allclose(model(x), y, rtol=1e-4, atol=1e-5)
    with pytest.raises(TypeError, match="astype: expected float32 or float64, found"):
        model.astype(np.int32)


def test_repr_shows_the_tree() -> None:
    text = repr(Net())
    assert "(body): Sequential(" in text and "Conv2d(2, 3, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1))" in text


def test_containers() -> None:
    layers = [nn.Linear(2, 2) for _ in range(4)]
    chain = nn.Sequential(*layers)
    assert len(chain) == 4 and chain[-1] is layers[3] and list(chain) == layers
    assert list(chain[1:3]) == layers[1:3]
    chain[0] = replaced = nn.Identity()
    assert chain[0] is replaced
    with pytest.raises(IndexError, match="index 4 of 4"):
        chain[4]
    listed = nn.ModuleList(layers).append(nn.ReLU())
    assert len(listed) == 5 and "4" in dict(listed.named_modules())
    table = nn.ModuleDict({"a": layers[0]})
    table["b"] = layers[1]
    assert list(table) == ["a", "b"] and "b" in table and table["b"] is layers[1]
    assert set(table.state_dict()) == {"a.weight", "a.bias", "b.weight", "b.bias"}
    with pytest.raises(TypeError, match="submodule '0' must be a Module, found int"):
        nn.Sequential(3)  # type: ignore[arg-type]


# --- Initial values -----------------------------------------------------------------------------------------------


def test_seeds_make_initial_values_repeatable() -> None:
    cnnkern.manual_seed(5)
    first = nn.Linear(4, 4).weight
    cnnkern.manual_seed(5)
    again, next_one = nn.Linear(4, 4).weight, nn.Linear(4, 4).weight
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(again, next_one)
    np.testing.assert_array_equal(nn.Linear(4, 4, rng=1).weight, nn.Linear(4, 4, rng=1).weight)
    with init.seeded(9):
        a = nn.Conv2d(1, 2, 3).weight
    with init.seeded(9):
        b = nn.Conv2d(1, 2, 3).weight
    np.testing.assert_array_equal(a, b)
    with pytest.raises(TypeError, match="seed: expected an int"):
        init.generator(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="non-negative"):
        init.generator(-1)


SHAPE = (64, 32, 5, 5)
FAN_IN, FAN_OUT = 32 * 25, 64 * 25


@pytest.mark.parametrize(
    ("method", "variance"),
    [
        (lambda: init.xavier(SHAPE, 0, normalized=False), 1 / FAN_IN),
        (lambda: init.xavier(SHAPE, 0), 2 / (FAN_IN + FAN_OUT)),
        (lambda: init.xavier(SHAPE, 0, distribution="normal"), 2 / (FAN_IN + FAN_OUT)),
        (lambda: init.he(SHAPE, 0), 2 / FAN_IN),
        (lambda: init.he(SHAPE, 0, mode="fan_out", slope=0.5), 2 / (1.25 * FAN_OUT)),
        (lambda: init.he(SHAPE, 0, distribution="uniform"), 2 / FAN_IN),
        (lambda: init.normal(SHAPE, 0.3, rng=0), 0.09),
        (lambda: init.uniform(SHAPE, -1, 1, rng=0), 1 / 3),
        (lambda: init.fan_in_uniform(SHAPE, FAN_IN, 0), 1 / (3 * FAN_IN)),
    ],
)
def test_variances(method: Any, variance: float) -> None:
    values = method()
    assert values.dtype == np.float32 and values.shape == SHAPE
    # 51,200 draws: the sample's variance is within 3 % with a wide margin.
    assert values.var() == pytest.approx(variance, rel=0.03)
    assert abs(values.mean()) < 5 * math.sqrt(variance / values.size)


def test_default_values_are_those_of_pytorch() -> None:
    layer = nn.Conv2d(32, 64, 5, groups=2, rng=0)
    bound = 1 / math.sqrt(16 * 25)
    for array in (layer.weight, layer.bias):
        assert np.abs(array).max() <= bound and np.abs(array).max() > 0.9 * bound
    layer = nn.Linear(300, 200, rng=0)
    assert layer.weight.std() == pytest.approx(1 / math.sqrt(3 * 300), rel=0.02)


def test_initialize_fills_weights_and_clears_biases() -> None:
    model = Net()
    init.initialize(model, init.he, 3)
    assert model.fc.weight.std() == pytest.approx(math.sqrt(2 / 12), rel=0.4)
    assert not model.fc.bias.any() and (model.body[0].norm.weight == 1).all()


def test_equal_weights_stay_equal() -> None:
    """Zero or constant weights leave the units of a layer symmetrical: their gradients are identical."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    x, y = normal(8, 3), np.arange(8) % 2
    init.initialize(model, init.zeros)
    _, gradients = cnnkern.value_and_grad(model)(x, y)
    assert not gradients["0.weight"].any() and not gradients["2.weight"].any()
    init.initialize(model, lambda shape, rng: init.constant(shape, 0.5))
    model[2].weight[1] = -0.5
    _, gradients = cnnkern.value_and_grad(model)(x, y)
    assert gradients["0.weight"].any()
    for unit in range(1, 4):
        np.testing.assert_array_equal(gradients["0.weight"][unit], gradients["0.weight"][0])


@pytest.mark.parametrize("call", [lambda: init.fans((3,)), lambda: init.he((3, 3), 0, mode="fan")])  # type: ignore[arg-type]
def test_initial_values_refuse(call: Any) -> None:
    with pytest.raises(ValueError, match=r"two axes|fan_in"):
        call()


# --- Layers against PyTorch ---------------------------------------------------------------------------------------


LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv2d", (3, 8, 3), {"padding": 1}, (2, 3, 9, 10)),
    ("Conv2d", (4, 8, (3, 5)), {"stride": (2, 1), "padding": (0, 2), "dilation": (1, 2), "groups": 4}, (2, 4, 11, 17)),
    ("Conv2d", (3, 5, 4), {"padding": "same", "bias": False}, (1, 3, 7, 7)),
    ("Conv2d", (3, 5, 4), {"padding": "valid"}, (1, 3, 7, 7)),
    ("Conv2d", (3, 5, (3, 4)), {"padding": "same", "padding_mode": "circular", "dilation": (1, 2)}, (2, 3, 7, 9)),
    ("Conv2d", (3, 5, 3), {"padding": (2, 1), "padding_mode": "replicate", "stride": 2}, (2, 3, 7, 8)),
    ("Conv2d", (3, 5, 3), {"padding": (2, 1), "padding_mode": "reflect"}, (2, 3, 7, 8)),
    ("Linear", (7, 4), {}, (5, 7)),
    ("Linear", (7, 4), {"bias": False}, (2, 3, 7)),
    ("BatchNorm2d", (6,), {"eps": 1e-3, "momentum": 0.3}, (4, 6, 5, 3)),
    ("BatchNorm2d", (6,), {"affine": False}, (4, 6, 5, 3)),
    ("BatchNorm2d", (6,), {"track_running_stats": False}, (4, 6, 5, 3)),
    ("BatchNorm1d", (6,), {}, (9, 6)),
    ("BatchNorm1d", (6,), {}, (4, 6, 5)),
    ("MaxPool2d", (2,), {}, (2, 3, 8, 9)),
    ("MaxPool2d", (3, 2, 1), {"ceil_mode": True}, (2, 3, 8, 9)),
    ("AvgPool2d", (3, 2, 1), {"count_include_pad": False}, (2, 3, 8, 9)),
    ("AvgPool2d", ((2, 3),), {"divisor_override": 5}, (2, 3, 8, 9)),
    ("AdaptiveAvgPool2d", ((3, 2),), {}, (2, 3, 8, 9)),
    ("AdaptiveMaxPool2d", (2,), {}, (2, 3, 8, 9)),
    ("ReLU", (), {}, (3, 4)),
    ("LeakyReLU", (0.2,), {}, (3, 4)),
    ("Sigmoid", (), {}, (3, 4)),
    ("Tanh", (), {}, (3, 4)),
    ("Softmax", (1,), {}, (3, 4, 2, 2)),
    ("LogSoftmax", (-1,), {}, (3, 4)),
    ("Flatten", (), {}, (3, 4, 2, 2)),
    ("Flatten", (0, 2), {}, (3, 4, 2, 2)),
]


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_layer_and_gradients_are_those_of_pytorch(
    name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]
) -> None:
    torch = torch_or_skip()
    layer, theirs = getattr(nn, name)(*arguments, **options), getattr(torch.nn, name)(*arguments, **options)
    assert set(layer.state_dict()) == set(theirs.state_dict())
    for parameter in theirs.parameters():
        parameter.data.copy_(torch.from_numpy(normal(*parameter.shape, seed=4)))
    layer.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = normal(*shape)
    inputs = torch.from_numpy(x)

    for mode in (False, True):  # after training mode the running statistics are no longer the initial ones
        outputs = theirs.train(mode)(inputs)
        np.testing.assert_allclose(layer.train(mode)(x), outputs.detach().numpy(), rtol=1e-4, atol=1e-5)
    for key, buffer in theirs.state_dict().items():
        np.testing.assert_allclose(layer.state_dict()[key], buffer.numpy(), rtol=1e-5, atol=1e-6)

    targets = normal(*outputs.shape, seed=2)
    before = layer.state_dict()
    value, gradients = cnnkern.value_and_grad(layer, "mse")(x, targets)
    loss = torch.nn.functional.mse_loss(theirs(inputs), torch.from_numpy(targets))
    assert value == pytest.approx(loss.item(), rel=1e-4)
    assert set(gradients) == {key for key, _ in theirs.named_parameters()}
    if gradients:
        loss.backward()
    for key, parameter in theirs.named_parameters():
        expected = parameter.grad.numpy()
        np.testing.assert_allclose(gradients[key], expected, rtol=1e-4, atol=2e-5 * np.abs(expected).max() + 1e-7)
    for key, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[key])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Conv2d(3, 8, 3, groups=2), "groups=2 must divide in_channels=3 and out_channels=8"),
        (lambda: nn.Conv2d(0, 8, 3), "in_channels must be positive, found 0"),
        (lambda: nn.Conv2d(3, 8, 0), "kernel_size must be positive, found 0"),
        (lambda: nn.Conv2d(3, 8, 3, padding="full"), "padding must be one of same, valid, found 'full'"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(3, 8, 3, padding_mode="mirror"), "padding_mode must be one of zeros"),  # type: ignore[arg-type]
        (lambda: nn.Conv2d(3, 8, 3, stride=2, padding="same"), 'padding="same" needs stride 1'),
        (lambda: nn.Linear(3, 0), "out_features must be positive, found 0"),
        (lambda: nn.BatchNorm2d(0), "num_features must be positive"),
        (lambda: nn.BatchNorm2d(3)(np.zeros((2, 3), np.float32)), r"expected an input of 4 axes, found shape \(2, 3\)"),
        (lambda: nn.Dropout(1.5), "p must be in 0 .. 1, found 1.5"),
    ],
)
def test_layers_refuse(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_kernel_sizes_are_ints() -> None:
    with pytest.raises(TypeError, match=r"kernel_size must be an integer, found 1\.5"):
        nn.Conv2d(3, 8, 1.5)  # type: ignore[arg-type]


def test_a_frozen_batch_norm_uses_and_keeps_its_statistics() -> None:
    layer = nn.BatchNorm2d(3)
    layer.running_mean = np.array([1.0, 2.0, 3.0])
    layer.trainable = False
    x = normal(4, 3, 2, 2)
    before = layer.state_dict()
    frozen = layer.train()(x)
    np.testing.assert_array_equal(frozen, layer.eval()(x))
    for name, array in layer.state_dict().items():
        np.testing.assert_array_equal(array, before[name])


def test_dropout_acts_in_training_only() -> None:
    layer = nn.Dropout(0.4)
    x = np.ones((100, 100), np.float32)
    y = layer(x)
    kept = y != 0
    assert 0.58 < kept.mean() < 0.62
    np.testing.assert_allclose(y[kept], 1 / 0.6, rtol=1e-6)
    np.testing.assert_array_equal(layer.eval()(x), x)
