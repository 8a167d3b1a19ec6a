# SPDX-License-Identifier: BSD-3-Clause
"""Summaries of models: rows, sums of parts, totals, the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import functional, models, nn
from cnnkern.nn import init


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


def test_summary_rows_and_totals() -> None:
    model = Net()
    model.body.trainable = False
    summary = model.summary((5, 2, 4, 4))
    rows = {row.name: row for row in summary.rows}
    assert [row.name for row in summary.rows] == ["body.0.conv", "body.0.norm", "body.1", "body.2", "fc"]
    assert rows["body.0.conv"].output_shape == (5, 3, 4, 4) and rows["body.0.conv"].parameters == 57
    assert rows["body.0.conv"].multiply_adds == 5 * 3 * 16 * 18
    assert rows["fc"].multiply_adds == 5 * 12 * 4 and rows["body.1"].multiply_adds == 0
    assert summary.parameters == 57 + 6 + 52 + 1 and summary.trainable_parameters == 53
    assert summary.multiply_adds == 5 * (864 + 48) == cnnkern.count_macs(model, (5, 2, 4, 4))
    assert model.training
    text = str(summary)
    assert "\n    conv (Conv2d) " in text and "5 x 3 x 4 x 4" in text and "frozen parameters: 63" in text
    assert "not used" not in text
    assert len({len(line) for line in text.splitlines()[1:-1]}) == 1


def test_the_table_shows_parts_within_parts() -> None:
    summary = Net().summary((5, 2, 4, 4))
    depths = [(depth, row.name) for depth, row in summary.tree]
    assert depths[:3] == [(1, "body"), (2, "body.0"), (3, "body.0.conv")]
    sums = {row.name: (row.parameters, row.multiply_adds) for _, row in summary.tree}
    assert sums["body.0"] == (57 + 6, 5 * 864) == sums["body"]
    short = summary.table(1).splitlines()
    assert [line.split()[0] for line in short[4:-2]] == ["body", "fc"]
    with pytest.raises(ValueError, match="table: depth"):
        summary.table(0)


def test_the_summary_of_resnet50_fits_100_columns() -> None:
    with init.skipped():
        summary = models.resnet50().summary((1, 3, 224, 224))
    lines = str(summary).splitlines()
    assert max(map(len, lines)) <= 100 and len(lines) < 200
    stages = [line.split() for line in summary.table(1).splitlines()[4:-2]]
    assert [row[0] for row in stages if row[0].startswith("layer")] == ["layer1", "layer2", "layer3", "layer4"]
    assert lines[-1].split() == ["total", "25,557,032", "4,089,184,256"]


def test_a_layer_used_twice_is_computed_twice_and_stored_once() -> None:
    layer = nn.Linear(4, 4)
    summary = nn.Sequential(layer, nn.ReLU(), layer).summary((1, 4))
    assert [row.parameters for row in summary.rows] == [20, 0, 0]
    assert summary.multiply_adds == 32 and summary.parameters == 20


def test_several_inputs() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Linear(3, 2), nn.Linear(5, 2)

        def forward(self, a: Any, b: Any) -> Any:
            return {"sum": self.left(a) + self.right(b)}

    assert cnnkern.count_macs(Sum(), ((4, 3), (4, 5))) == 4 * 2 * 8
    assert len(Sum().summary(((4, 3), (4, 5))).rows) == 2


@pytest.mark.parametrize("shape", [3, (1, -3), (1, 2.5)])
def test_input_shapes_that_are_none(shape: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        cnnkern.count_macs(nn.Identity(), shape)


def test_parameters_that_only_training_uses() -> None:
    with init.skipped():
        summary = models.googlenet().summary((1, 3, 224, 224))
    assert summary.unused_parameters == 13_004_888 - 6_624_904
    assert str(summary).splitlines()[-1] == "parameters not used in evaluation mode: 6,379,984"
    assert np.prod(summary.rows[-1].output_shape) == 1000
