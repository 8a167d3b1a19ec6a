# SPDX-License-Identifier: BSD-3-Clause
"""Every builder: one training step on four images, and its outputs, eager and compiled, against PyTorch's.

The oracle runs the traced graph with PyTorch's functions. The hidden linear layers of AlexNet and VGG, most of
their hundred million parameters, are narrow but for `--full`.
"""

from __future__ import annotations

import functools
import zlib
from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip
from torch_graph import as_module, traced

import cnnkern
from cnnkern import functional, models, nn, train
from cnnkern.models import Network
from cnnkern.nn import init

# Sides of small images; 64 for the others, or what the model is registered with if that is less.
SIDES = {"alexnet2012": 227, "inception_v3": 299, "unet": 32}
OPTIONS: dict[str, dict[str, Any]] = {"unet": {"width": 8, "depth": 3}}
HIDDEN = {"alexnet": ("1", "4", "6"), "alexnet2012": ("0", "3", "6"), "vgg": ("0", "3", "6")}


def built(name: str, full: bool) -> Network:
    """A network with few outputs and random weights and statistics."""
    options = {"seed": 0, **OPTIONS.get(name, {})}
    if name != "perceptron":
        options["num_classes"] = 5
    hidden = HIDDEN.get("vgg" if name.startswith("vgg") else name)
    if hidden is None or full:
        model = models.get(name)(**options)
    else:
        with init.skipped():
            model = models.get(name)(**options)
        widths = (model.classifier[int(hidden[0])].in_features, 32, 32, 5)
        for layer, inputs, outputs in zip(hidden, widths, widths[1:], strict=False):
            model.classifier.register_module(layer, nn.Linear(inputs, outputs, rng=0))
        with init.seeded(0):
            for path, module in model.features.named_modules("features"):
                model.initial_values(path, module)
                if isinstance(module, nn.Conv2d) and not module.weight.any():  # as the layer's class draws it
                    module.weight = init.he(module.weight.shape)
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean[...] = 0.1 * rng.standard_normal(module.num_features)
            module.running_var[...] = rng.uniform(0.5, 1.5, module.num_features)
    return model


def images(name: str, model: Network, count: int) -> tuple[Any, ...]:
    shapes = models.info(name).batch(count)
    side = SIDES.get(name, 64)
    rng = np.random.default_rng(1)
    found = []
    for shape in shapes if isinstance(shapes[0], tuple) else (shapes,):
        small = (*shape[:2], *(min(side, size) for size in shape[2:]))
        found.append(rng.standard_normal(small, dtype=np.float32))
    return tuple(found)


def leaves(value: Any) -> list[Any]:
    return [leaf for each in value for leaf in leaves(each)] if isinstance(value, tuple) else [value]


def distance(outputs: Any, targets: Any) -> Any:
    """The sum over all outputs of their mean square distance from 1, whatever the targets."""
    terms = [functional.mse_loss(output, np.ones(output.shape, np.float32)) for output in leaves(outputs)]
    return functools.reduce(functional.add, terms)


@pytest.mark.parametrize("name", models.list_models())
def test_one_training_step(name: str, full: bool) -> None:
    model = built(name, full).train()
    x, y = images(name, model, 4), np.zeros(4, np.int32)
    inputs = x if len(x) > 1 else x[0]
    loss, gradients = cnnkern.value_and_grad(model, distance)(inputs, y)
    assert np.isfinite(loss) and set(gradients) == {key for key, _ in model.named_parameters()}
    assert not [key for key, gradient in gradients.items() if not np.isfinite(gradient).all()]
    assert not [key for key, gradient in gradients.items() if gradient.ndim > 1 and not gradient.any()]
    before = model.state_dict()
    scale = max(np.abs(gradient).max() for gradient in gradients.values())
    history = train.fit(
        model,
        (inputs, y),
        epochs=1,
        batch_size=4,
        loss=distance,
        metrics=(),
        optimizer=train.SGD(1e-3 / scale),
        seed=0,
        progress=False,
    )
    assert np.isfinite(history.history["loss"]).all()
    after = model.state_dict()
    assert all(np.isfinite(array).all() for array in after.values())
    assert any(not np.array_equal(after[key], before[key]) for key in gradients)


@pytest.mark.parametrize("name", models.list_models())
def test_outputs_are_those_of_pytorch(name: str, full: bool) -> None:
    torch = torch_or_skip()
    model = built(name, full).eval()
    x = images(name, model, 2)
    shapes = tuple(array.shape for array in x)
    oracle = as_module(torch, model, traced(model, shapes)).eval()
    with torch.no_grad():
        expected = leaves(oracle(*(torch.from_numpy(array) for array in x)))
    for found in (model(*x), cnnkern.compile(model, shapes if len(shapes) > 1 else shapes[0])(*x)):
        for output, answer in zip(leaves(found), expected, strict=True):
            assert output.shape == tuple(answer.shape) and output.dtype == np.float32
            reference = answer.numpy().astype(np.float64)
            assert np.linalg.norm(output - reference) <= 2e-5 * np.linalg.norm(reference)
