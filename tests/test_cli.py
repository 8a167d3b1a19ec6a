# SPDX-License-Identifier: BSD-3-Clause
"""The command line, run in this process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import cnnkern
from cnnkern import cli, models
from cnnkern.cli import demo


def test_models_lists_name_year_parameters_multiply_adds_and_paper(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["name", "year", "parameters", "multiply-adds", "paper"]
    assert [line.split()[0] for line in lines] == models.list_models()
    rows = {line.split()[0]: line.split(maxsplit=4)[1:] for line in lines}
    paper = "He et al., Deep residual learning for image recognition"
    assert rows["resnet50"] == ["2015", "25,557,032", "4,089,184,256", paper]
    assert all(len(row) == 4 and row[3] for row in rows.values())


def test_info(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["info"]) == 0
    shown = capsys.readouterr().out
    assert cnnkern.__version__ in shown and "instruction set" in shown and "threads" in shown


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "cnnkern", "models"], capture_output=True, text=True, check=True)
    assert "resnet50" in done.stdout


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in ((["--version"], f"cnnkern {cnnkern.__version__}"), (["--help"], "demo")):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 0 and expected in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["dance"], ["demo", "--fold", "5"]])
def test_wrong_commands_are_explained(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: cnnkern" in capsys.readouterr().err


def test_demo(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(demo, "EPOCHS", 3)
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--fold", "2", "--plot", str(picture)]) == 0
    shown = capsys.readouterr().out
    for part in ("1438 to learn from", "359 held out", "conv2 (Conv2d)", "precision", "true:", "top-3 accuracy"):
        assert part in shown
    for operation in ("conv2d", "conv2d_grad_weight", "max_pool2d_grad", "batch_norm_training", "network, compiled"):
        assert f"\n{operation} " in shown
    curve = [line.split() for line in shown.splitlines() if line.split()[:1] in (["1"], ["2"], ["3"]) and "%" in line]
    assert len(curve) == 3 and float(curve[2][1]) < float(curve[0][1])
    assert picture.read_bytes().startswith(b"\x89PNG") and picture.stat().st_size > 20_000


def test_a_plot_without_matplotlib_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert cli.main(["demo", "--plot"]) == 2
    shown = capsys.readouterr()
    assert "pip install 'cnnkern[plot]'" in shown.err and not shown.out


def test_images_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    image = np.zeros((2, 1, 2, 3), np.float32)
    image[0, 0, 0] = [0, 0.5, 1]
    demo._show_images(image, ["a", "b"])
    assert capsys.readouterr().out.splitlines() == ["    ==@@", "", "    a        b"]
