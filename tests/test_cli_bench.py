# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern bench` as a user meets it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

import cnnkern
from cnnkern import _core, cli


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cnnkern.cli.bench._SECONDS", 0.05)


def test_a_network(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    command = ["bench", "resnet20", "-b", "2", "-t", "1", "-niter", "7", "--layers", "--json", str(file)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("resnet20 on 2x3x32x32: ") and "1 thread\n" in printed
    assert "7 runs" in printed and "images/s" in printed and "layer1.0.conv1" in printed
    figures: dict[str, Any] = json.loads(file.read_text("utf-8"))
    latency = figures["latency_ms"]
    assert 0 < latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
    assert figures["images_per_second"] == pytest.approx(2e3 / latency["p50"])
    assert {row["layer"] for row in figures["layers"]} >= {"conv1", "fc"}


def test_another_size_and_instruction_set(capsys: pytest.CaptureFixture[str]) -> None:
    before = _core.isa()
    assert cli.main(["bench", "mobilenet_v2", "--size", "64,96", "--isa", "scalar", "-niter", "1"]) == 0
    assert "mobilenet_v2 on 1x3x64x96: scalar" in capsys.readouterr().out
    assert _core.isa() == before


def test_a_convolution_by_every_algorithm(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "kernels.csv"
    command = ["bench", "conv2d", "--input", "1,32,14,14", "--weight", "32,32,3,3", "--isa", "all", "--csv", str(file)]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    assert "1.8 million multiply-adds" in printed and "winograd_4x4" in printed
    with file.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["isa"] for row in rows} == set(_core.isas())
    assert {row["algorithm"] for row in rows} >= {"direct", "im2col", "winograd_2x2", "winograd_4x4"}
    for row in rows:
        assert (row["input"], row["weight"], row["threads"]) == (
            "1x32x14x14",
            "32x32x3x3",
            str(cnnkern.get_num_threads()),
        )
        assert 0 < float(row["low_ms"]) <= float(row["median_ms"]) <= float(row["high_ms"])
        assert float(row["predicted_ms"]) > 0 and float(row["gflop_per_s"]) > 0 and float(row["peak_gflop_per_s"]) > 0
        assert 1e-8 < float(row["rms_error"]) < 3e-6
    assert cli.main([*command[:6], "--algorithm", "direct"]) == 0
    assert "im2col" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["resnet51"], "no model named 'resnet51'"),
        (["resnet20", "--isa", "neon"], "neon"),
        (["siamese", "--size", "32,32"], "--size"),
        (["conv2d", "--input", "1,3,8,8"], "conv2d needs --weight with 4 numbers"),
        (["conv2d", "--input", "1,3,8,8", "--weight", "4,2,3,3"], "weight expects 2 input channels"),
        (["conv2d", "--input", "1,3,8,8", "--weight", "4,3,3,3", "--algorithm", "fastest"], "no algorithm 'fastest'"),
        (["resnet20", "--json", "/nowhere/figures.json"], "/nowhere/figures.json"),
    ],
)
def test_what_cannot_be_done(arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["bench", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("cnnkern bench: ") and text in error
