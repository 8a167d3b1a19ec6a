# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern run` on real photographs, against PyTorch on the same weights and pixels."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip
from torch_graph import as_module, traced

from cnnkern import cli, io, models, nn
from cnnkern.cli.run import top

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


@pytest.fixture(scope="module")
def photographs() -> list[str]:
    """china.jpg and flower.jpg, 640 x 427 pixels, of scikit-learn."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn is not installed")
    return [str(name) for name in datasets.load_sample_images().filenames]


def network(num_classes: int = 1000) -> Any:
    """A small network whose classes are far apart."""
    model = models.resnet18(num_classes, seed=3).eval()
    model.fc.weight[...] *= 30
    return model


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("weights") / "resnet18.npz"
    io.save(path, network().state_dict())
    return str(path)


def answers(shown: str) -> dict[str, list[tuple[float, str]]]:
    """What was printed, as path -> [(per cent, class), ...]."""
    found: dict[str, list[tuple[float, str]]] = {}
    path = ""
    for line in shown.splitlines():
        row = re.fullmatch(r" +(\d+\.\d\d)%  (.+)", line)
        if row:
            found[path].append((float(row[1]), row[2]))
        else:
            path = line.split("  (")[0]
            found[path] = []
    return found


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = cli.main(["run", *arguments])
    return status, *capsys.readouterr()


def test_photographs_as_pytorch_sees_them(
    photographs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = torch_or_skip()
    model = network()
    oracle = as_module(torch, model, traced(model, [(1, 3, 224, 224)])).eval()
    torch.save({"state_dict": oracle.state_dict()}, tmp_path / "resnet18.pth")
    status, shown, errors = run(capsys, "resnet18", "--weights", str(tmp_path / "resnet18.pth"), *photographs)
    assert (status, errors) == (0, "")
    found = answers(shown)
    assert list(found) == photographs
    assert "(640 x 427 pixels, " in shown
    for path in photographs:
        resized = Image.open(path).resize((383, 256), Image.Resampling.BILINEAR)  # 256 * 640 / 427
        pixels = np.asarray(resized.crop((80, 16, 304, 240)), np.float32).transpose(2, 0, 1) / 255
        pixels -= np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
        pixels /= np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]
        with torch.no_grad():
            shares = oracle(torch.from_numpy(pixels[None])).softmax(1)[0] * 100
        best = shares.argsort(descending=True)[:5]
        assert [name for _, name in found[path]] == [models.imagenet_classes()[i] for i in best]
        np.testing.assert_allclose([share for share, _ in found[path]], shares[best], atol=0.011)
        assert found[path][0][0] > 2 * found[path][4][0]


def test_other_classes_and_labels(photographs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Weights of seven classes are taken as they are; their names come from a file."""
    weights, labels = str(tmp_path / "seven.pth"), tmp_path / "labels.txt"
    io.save(weights, network(7).state_dict())
    arguments = ("resnet18", "--weights", weights, photographs[0])
    (rows,) = answers(run(capsys, *arguments, "--topk", "9")[1]).values()
    assert sorted(name for _, name in rows) == [f"class {index}" for index in range(7)]
    assert sum(share for share, _ in rows) == pytest.approx(100, abs=0.05)
    labels.write_text("\n".join("abcdefg") + "\n\n", "utf-8")
    (named,) = answers(run(capsys, *arguments, "--labels", str(labels), "--topk", "2")[1]).values()
    assert [name for _, name in named] == ["abcdefg"[int(name.split()[1])] for _, name in rows[:2]]
    labels.write_text("a\nb\n", "utf-8")
    status, shown, errors = run(capsys, *arguments, "--labels", str(labels))
    assert status == 2 and not shown and "has 2 lines, the network 7 classes" in errors
    assert "absent.txt: No such file" in run(capsys, *arguments, "--labels", "absent.txt")[2]


def test_weights_that_expect_other_values(
    photographs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = models.googlenet(4, seed=1, transform_input=True).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var[...] = 0.05  # the initial weights are small
    model.fc.weight[...] *= 100
    io.save(tmp_path / "google.npz", model.state_dict())
    arguments = ("--weights", str(tmp_path / "google.npz"), photographs[0])
    with_it, without = (
        next(iter(answers(run(capsys, "googlenet", *arguments, *more)[1]).values()))
        for more in (["--transform-input"], [])
    )
    best = top(model(model.preprocess(np.asarray(Image.open(photographs[0]))))[0], 4)
    assert [name for _, name in with_it] == [f"class {index}" for index, _ in best]
    np.testing.assert_allclose([share for share, _ in with_it], [100 * share for _, share in best], atol=0.02)
    assert with_it != without
    status, _, errors = run(capsys, "resnet18", "--transform-input", *arguments)
    assert status == 2 and "--transform-input is for googlenet and inception_v3, not for resnet18" in errors


def test_a_network_for_gray_images(photographs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = models.lenet5(seed=0).eval()
    io.save(tmp_path / "lenet5.npz", model.state_dict())
    _, shown, errors = run(capsys, "lenet5", "--weights", str(tmp_path / "lenet5.npz"), photographs[0], "--topk", "1")
    expected = model(model.preprocess(Image.open(photographs[0])))[0]
    assert not errors and answers(shown)[photographs[0]][0][1] == f"class {expected.argmax()}"


def test_an_image_that_cannot_be_read_does_not_stop_the_others(
    photographs: list[str], weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    images = [str(tmp_path / "text.jpg"), str(tmp_path / "absent.jpg"), photographs[1]]
    status, shown, errors = run(capsys, "resnet18", "--weights", weights, *images, "--topk", "1")
    assert status == 1 and list(answers(shown)) == photographs[1:2]
    assert "text.jpg' cannot be read as an image" in errors and "absent.jpg: No such file or directory" in errors


def test_what_cannot_be_run_is_explained(
    weights: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rubbish.pth").write_bytes(b"rubbish")
    for name, path, message in (
        ("resnet19", weights, "no model named 'resnet19'"),
        ("resnet18", "absent.pth", "absent.pth: No such file or directory"),
        ("resnet18", str(tmp_path / "rubbish.pth"), "neither .npz nor safetensors nor a checkpoint"),
        ("mlp", weights, "mlp does not take one image"),
        ("resnet50", weights, f"{weights} does not fit resnet50:\n"),
    ):
        status, shown, errors = run(capsys, name, "--weights", path, "image.jpg")
        assert status == 2 and not shown and message in errors, name
        assert errors.startswith("cnnkern run: ") and len(errors) < 1500
    monkeypatch.setitem(sys.modules, "PIL", None)
    status, shown, errors = run(capsys, "resnet18", "--weights", weights, "image.jpg")
    assert status == 2 and "pip install 'cnnkern[image]'" in errors


@pytest.mark.parametrize("arguments", [["resnet18", "x.jpg"], ["resnet18", "--weights", "w.pth"], ["--topk", "0"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["run", *arguments])
    assert caught.value.code == 2 and "usage: cnnkern run" in capsys.readouterr().err


def test_the_best_classes() -> None:
    scores = np.array([1.0, 5.0, 3.0, 5.0], np.float32)
    found = top(scores, 3)
    assert [index for index, _ in found] == [1, 3, 2]
    exact = np.exp([5.0, 5.0, 3.0]) / np.exp([1.0, 5.0, 3.0, 5.0]).sum()
    np.testing.assert_allclose([share for _, share in found], exact)


def test_the_names_of_imagenet() -> None:
    names = models.imagenet_classes()
    assert len(names) == len(set(names)) == 1000 and all(name == name.strip() and name for name in names)
    known = {0: "tench", 1: "goldfish", 207: "golden retriever", 281: "tabby", 985: "daisy", 999: "toilet tissue"}
    assert {index: names[index] for index in known} == known
