# SPDX-License-Identifier: BSD-3-Clause
"""The figures of the course on counting: parameters, multiplications and shapes of layers and models."""

from typing import Any

import numpy as np
import pytest

from cnnkern import count_macs, functional, models, nn


def parameters(module: nn.Module) -> int:
    return sum(array.size for array in module.parameters())


@pytest.mark.parametrize(("f", "d", "n"), [(5, 1, 1), (3, 3, 64), (7, 6, 16), (1, 192, 16)])
def test_parameters_of_a_convolution(f: int, d: int, n: int) -> None:
    layer = nn.Conv2d(d, n, f)
    assert parameters(layer) == (f * f * d + 1) * n
    assert layer.summary((1, d, f, f)).parameters == (f * f * d + 1) * n


def test_one_filter_of_five_by_five() -> None:
    assert parameters(nn.Conv2d(1, 1, 5)) == 26


def test_depthwise_separable_convolution() -> None:
    normal = count_macs(nn.Conv2d(3, 5, 3), (1, 3, 6, 6))
    depthwise, pointwise = nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1)
    separable = count_macs(nn.Sequential(depthwise, pointwise), (1, 3, 6, 6))
    assert normal == 2160
    assert (count_macs(depthwise, (1, 3, 6, 6)), count_macs(pointwise, (1, 3, 4, 4))) == (432, 240)
    assert separable == 672
    assert separable / normal == pytest.approx(1 / 5 + 1 / 9)
    assert round(separable / normal, 2) == 0.31


def test_bottleneck() -> None:
    shape = (1, 192, 28, 28)
    assert count_macs(nn.Conv2d(192, 32, 5, padding="same"), shape) == 120_422_400
    reduce, expand = nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2)
    assert count_macs(reduce, shape) == 2_408_448
    assert count_macs(expand, (1, 16, 28, 28)) == 10_035_200
    both = nn.Sequential(reduce, expand)
    assert count_macs(both, shape) == both.summary(shape).multiply_adds == 12_443_648


@pytest.mark.parametrize("c", [1, 8, 64])
def test_small_filters_instead_of_large_ones(c: int) -> None:
    def per_filter(*kernels: Any) -> int:
        return sum(parameters(nn.Conv2d(c, 1, kernel, bias=False)) for kernel in kernels)

    assert per_filter(5) == 25 * c
    assert per_filter(3, 3) == 18 * c
    for n in (3, 5, 7):
        assert per_filter((1, n), (n, 1)) == 2 * n * c
    x = np.ones((1, c, 9, 9), np.float32)
    assert nn.Sequential(nn.Conv2d(c, c, 3), nn.Conv2d(c, c, 3))(x).shape == nn.Conv2d(c, c, 5)(x).shape
    assert nn.Sequential(nn.Conv2d(c, c, (1, 5)), nn.Conv2d(c, c, (5, 1)))(x).shape == (1, c, 5, 5)


def test_inception_module_keeps_the_map_and_adds_channels() -> None:
    class Module(nn.Module):
        def __init__(self) -> None:
            self.one = nn.Conv2d(192, 64, 1)
            self.three = nn.Sequential(nn.Conv2d(192, 96, 1), nn.Conv2d(96, 128, 3, padding=1))
            self.five = nn.Sequential(nn.Conv2d(192, 16, 1), nn.Conv2d(16, 32, 5, padding=2))
            self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.Conv2d(192, 32, 1))

        def forward(self, x: Any) -> Any:
            return functional.concat([branch(x) for branch in (self.one, self.three, self.five, self.pool)], 1)

    assert Module()(np.zeros((1, 192, 28, 28), np.float32)).shape == (1, 256, 28, 28)


def test_course_cnn() -> None:
    model = models.course_cnn()
    summary = model.summary((1, 1, 28, 28))
    shapes = {row.name: row.output_shape[1:] for row in summary.rows}
    assert shapes["conv1"] == (16, 28, 28)
    assert shapes["pool1"] == (16, 14, 14)
    assert shapes["conv2"] == (32, 14, 14)
    assert shapes["pool2"] == (32, 7, 7)
    assert shapes["fc"] == (10,)
    rows = {row.name: row.parameters for row in summary.rows}
    assert rows["conv1"] == 26 * 16
    assert rows["bn1"] == 2 * 16
    assert rows["conv2"] == (5 * 5 * 16 + 1) * 32
    assert rows["fc"] == (7 * 7 * 32 + 1) * 10
    assert summary.parameters == sum(rows.values()) == parameters(model)
    assert summary.multiply_adds == 28 * 28 * 16 * 25 + 14 * 14 * 32 * 25 * 16 + 7 * 7 * 32 * 10


def test_lenet5() -> None:
    model = models.lenet5()
    summary = model.summary((1, 1, 32, 32))
    assert summary.parameters == parameters(model) == 61_706
    with_weights = [row for row in summary.rows if row.parameters]
    pools = [row for row in summary.rows if "Pool" in row.kind]
    assert len(with_weights) + len(pools) == 7
    assert [row.output_shape[1:] for row in with_weights] == [(6, 28, 28), (16, 10, 10), (120,), (84,), (10,)]
    assert [row.output_shape[1:] for row in pools] == [(6, 14, 14), (16, 5, 5)]


def test_resnet50_multiplications() -> None:
    shape = (1, 3, 224, 224)
    with_stride_in_3x3 = models.resnet50()
    assert count_macs(with_stride_in_3x3, shape) == 4_089_184_256
    assert with_stride_in_3x3.summary(shape).multiply_adds == 4_089_184_256
    assert count_macs(models.resnet50(stride_placement="1x1"), shape) == 3_857_973_248  # the paper's 3.8e9


def test_resnet50_stages() -> None:
    model = models.resnet50()
    shapes = {row.name: row.output_shape[1:] for row in model.summary((1, 3, 224, 224)).rows}
    assert shapes["conv1"] == (64, 112, 112)
    assert shapes["maxpool"] == (64, 56, 56)
    assert [len(list(stage.children())) for stage in (model.layer1, model.layer2, model.layer3, model.layer4)] == [
        3,
        4,
        6,
        3,
    ]
    assert shapes["avgpool"] == (2048, 1, 1)
    assert parameters(model) == 25_557_032


def test_identity_and_convolutional_block() -> None:
    """y = relu(F(x) + x) where the shapes agree; a 1x1 convolution on the shortcut where they do not."""
    model = models.resnet50(seed=0).eval()
    convolutional, identity = list(model.layer1.children())[:2]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 256, 7, 7), dtype=np.float32)
    names = {name for name, _ in identity.named_parameters()}
    assert not any("downsample" in name for name in names)
    identity.bn3.weight[...] = 0  # then F(x) = 0, and only the shortcut is left
    np.testing.assert_array_equal(identity(x), np.maximum(x, 0))

    shortcut = dict(convolutional.named_parameters())["downsample.0.weight"]
    assert shortcut.shape == (256, 64, 1, 1)
    convolutional.bn3.weight[...] = 0
    x = rng.standard_normal((2, 64, 7, 7), dtype=np.float32)
    expected = np.maximum(np.einsum("oc,nchw->nohw", shortcut[:, :, 0, 0], x) / np.sqrt(1 + 1e-5), 0)
    np.testing.assert_allclose(convolutional(x), expected, rtol=1e-5, atol=1e-5)
