# SPDX-License-Identifier: BSD-3-Clause
"""Squeeze-and-excitation against its formula in PyTorch, eager and compiled."""

import numpy as np
from oracle import normal, torch_or_skip

import cnnkern
from cnnkern import nn


def test_squeeze_and_excitation_is_its_formula() -> None:
    torch = torch_or_skip()
    layer = nn.SqueezeExcitation(35, 8, rng=3)
    x = normal(2, 35, 7, 5).astype(np.float32)
    t = {name: torch.from_numpy(value) for name, value in layer.state_dict().items()}
    pooled = torch.from_numpy(x).mean((2, 3), keepdim=True)
    hidden = torch.relu(torch.conv2d(pooled, t["fc1.weight"], t["fc1.bias"]))
    want = (torch.from_numpy(x) * torch.sigmoid(torch.conv2d(hidden, t["fc2.weight"], t["fc2.bias"]))).numpy()
    np.testing.assert_allclose(layer(x), want, 1e-5, 1e-6)
    np.testing.assert_allclose(cnnkern.compile(layer.eval(), x.shape)(x), want, 1e-5, 1e-6)
    assert list(t) == ["fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"]


def test_the_activations_are_classes_to_be_called() -> None:
    layer = nn.SqueezeExcitation(4, 2, nn.Tanh, lambda: nn.LeakyReLU(0.5), rng=0)
    assert isinstance(layer.activation, nn.Tanh) and isinstance(layer.scale_activation, nn.LeakyReLU)
