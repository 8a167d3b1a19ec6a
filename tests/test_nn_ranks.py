# SPDX-License-Identifier: BSD-3-Clause
"""Convolutions and pools over one to three axes, against PyTorch's layers: eager, gradients, compiled."""

import inspect
from typing import Any

import numpy as np
import pytest
from oracle import normal, torch_or_skip
from test_nn import test_layer_and_gradients_are_those_of_pytorch as assert_same_as_pytorch

import cnnkern
from cnnkern import functional as F
from cnnkern import nn, train

LAYERS: list[tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]] = [
    ("Conv1d", (3, 8, 3), {"padding": 1, "stride": 2}, (2, 3, 17)),
    ("Conv1d", (4, 8, 4), {"padding": "same", "dilation": 2, "groups": 4}, (2, 4, 17)),
    ("Conv1d", (3, 5, 3), {"padding": 2, "padding_mode": "circular"}, (3, 9)),
    ("Conv3d", (3, 8, 3), {"padding": 1}, (2, 3, 4, 5, 6)),
    ("Conv3d", (4, 6, (1, 2, 3)), {"stride": (1, 2, 1), "groups": 2, "bias": False}, (1, 4, 3, 6, 5)),
    ("Conv3d", (2, 3, (1, 3, 3)), {"padding": (0, 1, 2), "padding_mode": "reflect"}, (1, 2, 3, 4, 5)),
    ("Conv3d", (2, 3, 2), {"padding": "same", "padding_mode": "replicate"}, (1, 2, 3, 4, 5)),
    ("ConvTranspose1d", (5, 4, 3, 2, 1, 1), {}, (2, 5, 7)),
    ("ConvTranspose2d", (18, 16, 2, 2), {}, (2, 18, 5, 6)),
    (
        "ConvTranspose2d",
        (6, 4, (3, 4)),
        {"stride": (1, 2), "padding": (1, 0), "groups": 2, "bias": False},
        (2, 6, 5, 6),
    ),
    ("ConvTranspose2d", (3, 4, 3), {"stride": 2, "dilation": 3, "output_padding": 2}, (3, 5, 6)),
    ("ConvTranspose3d", (3, 4, 2, 2), {"padding": (0, 1, 0)}, (1, 3, 3, 4, 2)),
    ("MaxPool1d", (3, 2, 1), {"dilation": 1, "ceil_mode": True}, (2, 17, 9)),
    ("MaxPool3d", ((2, 1, 3), 2), {}, (2, 3, 4, 5, 6)),
    ("AvgPool1d", (3, 2, 1), {"count_include_pad": False}, (2, 17, 9)),
    ("AvgPool3d", (2, 1, 1), {"divisor_override": 3}, (2, 3, 4, 5, 6)),
    ("LPPool1d", (2, 3), {}, (2, 17, 9)),
    ("LPPool2d", (2, (2, 3), 2), {"ceil_mode": True}, (2, 3, 6, 7)),
    ("LPPool3d", (4, 2), {}, (1, 3, 4, 4, 6)),
    ("AdaptiveAvgPool1d", (4,), {}, (2, 17, 9)),
    ("AdaptiveAvgPool2d", ((None, 3),), {}, (2, 3, 6, 7)),
    ("AdaptiveAvgPool3d", ((2, None, 1),), {}, (1, 3, 4, 5, 6)),
    ("AdaptiveMaxPool1d", (4,), {}, (2, 17, 9)),
    ("AdaptiveMaxPool3d", (2,), {}, (1, 3, 4, 5, 6)),
]


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_layers(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    assert_same_as_pytorch(name, arguments, options, shape)


@pytest.mark.parametrize(("name", "arguments", "options", "shape"), LAYERS)
def test_compiled(name: str, arguments: tuple[Any, ...], options: dict[str, Any], shape: tuple[int, ...]) -> None:
    """After a convolution, so that its input is blocked where that can be."""
    layer = getattr(nn, name)(*arguments, **options)
    axes = int(name[-2])
    if len(shape) == axes + 1:
        shape = (2, *shape)
    before = getattr(nn, f"Conv{axes}d")(shape[1], shape[1], 1, rng=0)
    model, x = nn.Sequential(before, nn.ReLU(), layer, nn.ReLU()), normal(*shape, seed=1).astype(np.float32)
    want = model(x)
    np.testing.assert_allclose(cnnkern.compile(model, shape)(x), want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("name", sorted({layer[0] for layer in LAYERS} | {f"MaxUnpool{n}d" for n in (1, 2, 3)}))
def test_constructors_are_called_as_in_pytorch(name: str) -> None:
    torch = torch_or_skip()

    def taken(layer: Any) -> list[tuple[str, bool]]:
        found = inspect.signature(layer.__init__).parameters.values()
        return [(p.name, p.default is p.empty) for p in found if p.name not in ("device", "dtype", "rng", "kwargs")]

    assert taken(getattr(nn, name)) == taken(getattr(torch.nn, name))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_unpooling_puts_maxima_back(axes: int) -> None:
    torch = torch_or_skip()
    x = normal(2, 17, *(7, 6, 4)[:axes]).astype(np.float32)
    y, indices = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True)(x)
    ours, theirs = (getattr(home, f"MaxUnpool{axes}d")(2) for home in (nn, torch.nn))
    want = theirs(torch.from_numpy(y), torch.from_numpy(indices), x.shape)
    np.testing.assert_array_equal(ours(y, indices, x.shape), want.numpy())
    pool, back = getattr(nn, f"MaxPool{axes}d")(2, return_indices=True), ours

    def there_and_back(x: Any) -> Any:
        y, places = pool(F.relu(x))
        return back(y, places, x.shape)

    np.testing.assert_array_equal(cnnkern.compile(there_and_back, x.shape)(x), there_and_back(x))


@pytest.mark.parametrize("axes", [1, 2, 3])
def test_minimum_is_the_negative_of_a_maximum(axes: int) -> None:
    x = normal(2, 3, *(7, 6, 5)[:axes]).astype(np.float32)
    low, high = (getattr(nn, f"{kind}Pool{axes}d")(3, 2, 1, return_indices=True) for kind in ("Min", "Max"))
    y, indices = low(x)
    want, places = high(-x)
    np.testing.assert_array_equal(y, -want)
    np.testing.assert_array_equal(indices, places)


def test_output_size_of_a_transposed_convolution() -> None:
    torch = torch_or_skip()
    layer, theirs = (home.ConvTranspose2d(3, 4, 3, 2, 1) for home in (nn, torch.nn))
    layer.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = normal(2, 3, 5, 6).astype(np.float32)
    for size in ((9, 12), (2, 4, 10, 11)):
        want = theirs(torch.from_numpy(x), size)
        np.testing.assert_allclose(layer(x, size), want.detach().numpy(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"ConvTranspose2d: output_size must lie in \(9, 11\) .. \(10, 12\)"):
        layer(x, (11, 11))


@pytest.mark.parametrize("axes", [1, 3])
def test_a_network_trains(axes: int) -> None:
    """A gradient of the whole is that of its float64 copy, and the loss falls."""
    conv, norm, pool, up, mean = (
        getattr(nn, name) for name in (f"Conv{axes}d", f"BatchNorm{axes}d", f"MaxPool{axes}d", f"ConvTranspose{axes}d",
                                       f"AdaptiveAvgPool{axes}d")
    )  # fmt: skip
    model = nn.Sequential(
        conv(2, 16, 3, padding=1, rng=0), norm(16), nn.ReLU(), pool(2), up(16, 8, 2, 2, rng=1), nn.ReLU(), mean(1),
        nn.Flatten(), nn.Linear(8, 2, rng=2),
    )  # fmt: skip
    x, y = normal(32, 2, *(6,) * axes).astype(np.float32), np.arange(32) % 2
    x[y == 1] *= 2
    _, single = cnnkern.value_and_grad(model)(x, y)
    _, double = cnnkern.value_and_grad(model.astype(np.float64))(x.astype(np.float64), y)
    for name, gradient in double.items():
        np.testing.assert_allclose(single[name], gradient, rtol=1e-3, atol=1e-5)
    history = train.fit(model, (x, y), epochs=20, batch_size=16, seed=0, progress=False)
    losses = getattr(history, "history", history)["loss"]
    assert losses[-1] < 0.9 * losses[0]
