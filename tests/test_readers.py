# SPDX-License-Identifier: BSD-3-Clause
"""CIFAR's binary files and folders of images, also damaged ones."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern import data
from cnnkern.data import transforms as T

RNG = np.random.default_rng(0)


def records(count: int, *classes: int) -> tuple[Any, list[Any], bytes]:
    """Images, a column of labels for each number of classes, and both as bytes."""
    images = RNG.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    labels = [RNG.integers(0, n, count, dtype=np.uint8) for n in classes]
    return images, labels, np.column_stack([*labels, images.reshape(count, -1)]).tobytes()


@pytest.mark.parametrize("inner", ["", "cifar-10-batches-bin"])
def test_cifar10(tmp_path: Path, inner: str) -> None:
    folder = tmp_path / inner
    folder.mkdir(exist_ok=True)
    parts = [records(7 + i, 10) for i in range(5)]
    for i, (_, _, content) in enumerate(parts):
        (folder / f"data_batch_{i + 1}.bin").write_bytes(content)
    (folder / "test_batch.bin").write_bytes(parts[2][2])
    images, labels = data.cifar10(tmp_path)
    np.testing.assert_array_equal(images, np.concatenate([part[0] for part in parts]))
    np.testing.assert_array_equal(labels, np.concatenate([part[1][0] for part in parts]))
    assert images.dtype == np.uint8 and labels.dtype == np.int32 and images.flags.c_contiguous
    np.testing.assert_array_equal(data.cifar10(tmp_path, "test")[1], parts[2][1][0])


def test_cifar100(tmp_path: Path) -> None:
    images, (coarse, fine), content = records(20, 20, 100)
    (tmp_path / "train.bin").write_bytes(content)
    (tmp_path / "test.bin").write_bytes(content)
    for split in ("train", "test"):
        found = data.cifar100(tmp_path, split)  # type: ignore[arg-type]
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], fine)
    np.testing.assert_array_equal(data.cifar100(tmp_path, labels="coarse")[1], coarse)


def test_damaged_cifar_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no test_batch.bin"):
        data.cifar10(tmp_path, "test")
    content = records(3, 10)[2]
    path = tmp_path / "test_batch.bin"
    for broken, message in (
        (content[:-1], "9218 bytes, which is no multiple of the 3073 of a record"),
        (content + b"x", "no multiple"),
        (b"", "has 0 bytes"),
        (content[:3073] + b"\x0a" + content[3074:], "record 1 of .* has label 10, expected less than 10"),
    ):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=message):
            data.cifar10(tmp_path, "test")
    with path.open("wb") as file:
        file.truncate(3073 * (1 << 20))  # 3 GB of nothing
    with pytest.raises(ValueError, match="at most 2147483648 are accepted"):
        data.cifar10(tmp_path, "test")
    with pytest.raises(ValueError, match='"train" or "test"'):
        data.cifar10(tmp_path, "valid")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"fine" or "coarse"'):
        data.cifar100(tmp_path, labels="all")  # type: ignore[arg-type]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes, three sizes, folders in folders, and files that are no images."""
    image_module = pytest.importorskip("PIL.Image")
    for name, size in (("cats/b.png", (30, 40)), ("cats/a.jpg", (50, 35)), ("ants/deep/x.PNG", (33, 33))):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((*size, 3), 40 + 60 * (len(name) % 3), np.uint8)
        image_module.fromarray(pixels).save(path, "JPEG" if name.endswith("jpg") else "PNG")
    (tmp_path / "cats" / "notes.txt").write_text("no image")
    (tmp_path / "cats" / ".hidden.png").write_text("no image")
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_image_folders(photographs: Path) -> None:
    folder = data.ImageFolder(photographs)
    assert folder.classes == ["ants", "cats"] and folder.labels.tolist() == [0, 1, 1]
    assert [Path(path).name for path in folder.paths] == ["x.PNG", "a.jpg", "b.png"]
    assert [folder[i][0].shape for i in range(3)] == [(33, 33, 3), (50, 35, 3), (30, 40, 3)] and folder[2][1] == 1
    assert data.ImageFolder(photographs, gray=True)[1][0].shape == (50, 35, 1)
    assert len(data.ImageFolder(photographs, suffixes=(".jpg", ".txt", ".png"))) == 4
    loader = data.Loader(folder, 2, transform=T.Compose([T.Resize((16, 20)), T.Normalize()]), threads=2)
    batches = list(loader)
    assert [inputs[0].shape for inputs, _ in batches] == [(2, 3, 16, 20), (1, 3, 16, 20)]
    assert [targets.tolist() for _, targets in batches if targets is not None] == [[0, 1], [1]]


def test_images_are_read_when_they_are_asked_for(photographs: Path) -> None:
    (photographs / "cats" / "a.jpg").write_bytes(b"\xff\xd8 broken")
    whole = (photographs / "cats" / "b.png").read_bytes()
    (photographs / "cats" / "b.png").write_bytes(whole[: len(whole) // 2])
    folder = data.ImageFolder(photographs)
    assert folder[0][1] == 0
    for i, name in ((1, "a.jpg"), (2, "b.png")):
        with pytest.raises(ValueError, match=rf"{name}' cannot be read as an image"):
            folder[i]
    with pytest.raises(ValueError, match=r"cannot be read as an image"):
        list(data.Loader(folder, 1, transform=T.Resize((8, 8)), threads=2))
    (photographs / "cats" / "a.jpg").unlink()
    with pytest.raises(FileNotFoundError):
        folder[1]


def test_folders_that_are_none(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        data.ImageFolder(photographs / "nowhere")
    with pytest.raises(FileNotFoundError, match="it needs one per class"):
        data.ImageFolder(photographs / "ants" / "deep")
    (photographs / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no images in .*empty"):
        data.ImageFolder(photographs)
    (photographs / "empty").rmdir()
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r"pip install 'cnnkern\[image\]'"):
        data.ImageFolder(photographs)[0]
