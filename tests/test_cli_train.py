# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern train`, `evaluate` and `predict`, from files of data to a report, interrupted and resumed."""

from __future__ import annotations

import csv
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern import cli, data, io, train
from cnnkern.cli import options
from cnnkern.train.optimizers import OPTIMIZERS


def command(*arguments: Any) -> int:
    return cli.main([str(argument) for argument in arguments])


def write_idx(path: Path, array: np.ndarray[Any, Any]) -> None:
    path.write_bytes(struct.pack(f">2xBB{array.ndim}I", 8, array.ndim, *array.shape) + array.tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> Path:
    """Fashion-MNIST's four files, with enlarged digits in them."""
    raw = data.digits(raw=True)
    images = np.pad(np.repeat(np.repeat(raw.images[:, 0] * np.uint8(15), 3, 1), 3, 2), ((0, 0), (2, 2), (2, 2)))
    folder = tmp_path / "fashion"
    folder.mkdir()
    for stem, part in (("train", slice(0, 600)), ("t10k", slice(600, 800))):
        write_idx(folder / f"{stem}-images-idx3-ubyte", images[part].astype(np.uint8))
        write_idx(folder / f"{stem}-labels-idx1-ubyte", raw.labels[part].astype(np.uint8))
    return folder


def test_fashion_mnist(
    fashion: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command("train", "course_cnn", "fashion-mnist", "--data", fashion, "-e", 3, "-t", 1) == 0
    shown = capsys.readouterr()
    assert "course_cnn on 540 images of fashion-mnist, 60 for validation" in shown.out
    assert "on the 200 images of the test split" in shown.out and "ankle boot" in shown.out and "epoch 3/3" in shown.err
    accuracy = float(shown.out.rpartition("accuracy ")[0].split("accuracy ")[-1].split("%")[0])
    assert accuracy > 80
    run = tmp_path / "runs" / "course_cnn-fashion-mnist"
    assert sorted(path.name for path in run.iterdir()) == ["best.npz", "last.ckpt", "log.csv", "run.json"]
    assert len(list(csv.DictReader((run / "log.csv").read_text().splitlines()))) == 3
    assert command("evaluate", run, "--data", fashion) == 0
    assert f"accuracy {accuracy:.2f}%" in capsys.readouterr().out


def test_an_interrupted_run_goes_on_to_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    common = ["train", "course_cnn", "digits", "-q", "--augment", "--schedule", "cosine", "--warmup", 1, "-b", 128]
    assert command(*common, "-e", 3, "--output", tmp_path / "whole") == 0

    class Interrupted(train.CSVLogger):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            super().on_epoch_end(epoch, logs)
            if epoch == 1:
                raise OSError("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(train, "CSVLogger", Interrupted)
        assert command(*common, "-e", 3, "--output", tmp_path / "run") == 2
    assert "cnnkern train: interrupted" in capsys.readouterr().err
    assert command(*common, "-e", 3, "--output", tmp_path / "run") == 2
    assert "go on with --resume" in capsys.readouterr().err
    assert command(*common, "-e", 3, "--output", tmp_path / "run", "--resume") == 0
    for name in ("last.ckpt", "best.npz", "log.csv", "run.json"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_folders_of_images_and_prediction(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("tensorboardX")
    rng = np.random.default_rng(0)
    for split, count in (("train", 24), ("test", 6)):
        for name, colour in (("blue", (40, 60, 220)), ("red", (220, 60, 40))):
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                size = (int(rng.integers(36, 60)), int(rng.integers(36, 60)), 3)
                pixels = np.clip(np.array(colour) + rng.normal(0, 30, size), 0, 255).astype(np.uint8)
                image.fromarray(pixels).save(folder / f"{i}.png")
    run = tmp_path / "run"
    arguments = ["--size", 32, "-e", 4, "-b", 8, "--augment", "--validation", 0.25, "--patience", 3, "--lr", 0.01]
    arguments += ["--tensorboard", tmp_path / "events", "--data", tmp_path / "images", "--output", run, "-q"]
    assert command("train", "resnet20", "folder", *arguments) == 0
    assert "accuracy 100.00%" in capsys.readouterr().out and list((tmp_path / "events").iterdir())
    description = json.loads((run / "run.json").read_text())
    assert description["classes"] == ["blue", "red"] and description["pictures"]["size"] == [32, 32]
    pictures = [tmp_path / "images" / "test" / name / "0.png" for name in ("blue", "red")]
    assert command("predict", run, *pictures, "--topk", 1, "--csv", tmp_path / "found.csv") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].endswith("%  blue") and lines[3].endswith("%  red")
    rows = list(csv.DictReader((tmp_path / "found.csv").read_text().splitlines()))
    assert [row["class"] for row in rows] == ["blue", "red"] and float(rows[0]["probability"]) > 0.5
    assert command("predict", run, pictures[0], tmp_path / "none.png") == 1
    assert "none.png: No such file" in capsys.readouterr().err


def test_weights_of_another_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("train", "course_cnn", "digits", "-q", "-e", 1, "--output", tmp_path / "first") == 0
    best = tmp_path / "first" / "best.npz"
    given = ["--weights", best, "--freeze", "-q", "-e", 1, "--output", tmp_path / "second"]
    assert command("train", "course_cnn", "digits", *given) == 0
    old, new = io.load(best), io.load(tmp_path / "second" / "best.npz")
    for name in old:
        assert np.array_equal(old[name], new[name]) == (not name.startswith("fc")), name
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resnet19", "digits"], "no model named 'resnet19'"),
        (["course_cnn", "mnist"], "mnist lies in files: --data DIR says where"),
        (["course_cnn", "mnist", "--data", "{tmp}"], "none of train-images-idx3-ubyte"),
        (["course_cnn", "cifar10", "--data", "{tmp}"], "no data_batch_1.bin"),
        (["course_cnn", "folder", "--data", "{tmp}"], "no folder"),
        (["mlp", "digits"], "mlp does not take one image"),
        (["course_cnn", "digits", "--freeze"], "--freeze needs --weights"),
        (["course_cnn", "digits", "--momentum", "0.9"], "adam takes no --momentum"),
        (["course_cnn", "digits", "--validation", "1.5"], "--validation must lie between 0 and 1"),
        (["course_cnn", "digits", "--schedule", "plateau", "--warmup", "2"], "--warmup does not go with"),
        (["course_cnn", "digits", "--lr", "1e30", "--optimizer", "sgd", "-q"], "TerminateOnNaN: the loss is"),
        (["resnet18", "digits", "--weights", "{tmp}/none.npz"], "none.npz: No such file"),
    ],
)
def test_what_cannot_be_trained(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    assert command("train", *given, "--output", tmp_path / "run") == 2
    shown = capsys.readouterr().err
    assert shown.startswith("cnnkern train: ") and message in shown


def test_what_cannot_be_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("evaluate", tmp_path) == 2
    assert "run.json: No such file" in capsys.readouterr().err
    for text in ("{", "[]", '{"model": 3}'):
        (tmp_path / "run.json").write_text(text)
        assert command("predict", tmp_path, "a.png") == 2
        assert "run.json is damaged" in capsys.readouterr().err


def test_the_options_are_those_of_the_library() -> None:
    assert set(options.OPTIMIZERS) == set(OPTIMIZERS)
