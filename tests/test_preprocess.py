# SPDX-License-Identifier: BSD-3-Clause
"""Resizing against Pillow, bit for bit; preprocessing step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern.data import Preprocess, read_image, resize
from cnnkern.data.resize import INTERPOLATIONS, vertical_first

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")


def pillow_resize(image: Any, size: tuple[int, int], interpolation: str) -> Any:
    method = getattr(Image.Resampling, interpolation.upper())
    return np.asarray(Image.fromarray(image).resize(size[::-1], method))


def noise(rng: np.random.Generator, *shape: int, contrast: bool = False) -> Any:
    image = rng.integers(0, 256, shape, np.uint8)
    return np.where(image > 127, 255, 0).astype(np.uint8) if contrast else image


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_resize_equals_pillow(interpolation: str, full: bool, seed: int) -> None:
    """Up, down and unchanged, single pixels, gray and colour; black and white overshoots most."""
    import PIL

    old = int(PIL.__version__.split(".")[0]) < 13
    rng = np.random.default_rng([seed, len(interpolation)])
    compared = 0
    for case in range(2000 if full else 200):
        height, width, out_height, out_width = (int(n) for n in rng.integers(1, 90, 4))
        if case % 7 == 0:
            out_width = width
        if old and vertical_first((height, width), (out_height, out_width)):
            continue
        image = noise(rng, height, width, *([3] if case % 2 else []), contrast=case % 3 == 0)
        expected = pillow_resize(image, (out_height, out_width), interpolation)
        np.testing.assert_array_equal(
            resize(image, (out_height, out_width), interpolation), expected, err_msg=f"{image.shape} {expected.shape}"
        )
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_a_box_is_a_part_of_the_whole(interpolation: str) -> None:
    rng = np.random.default_rng(5)
    for height, width, size in ((50, 30, (23, 41)), (20, 30, (60, 20)), (70, 20, (9, 15))):
        image = noise(rng, height, width, 3)
        whole = resize(image, size, interpolation)
        top, left = size[0] // 3, size[1] // 2
        part = resize(image, size, interpolation, (top, left, 3, 5))
        np.testing.assert_array_equal(part, whole[top : top + 3, left : left + 5])


def test_strided_and_read_only_images() -> None:
    image = noise(np.random.default_rng(1), 40, 60, 4)
    image.flags.writeable = False
    view = image[::-2, ::3, :3]
    np.testing.assert_array_equal(resize(view, (7, 9)), pillow_resize(np.ascontiguousarray(view), (7, 9), "bilinear"))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((np.zeros((4, 4), np.float32), (2, 2)), TypeError, "image must be a uint8 array, found float32"),
        (([[1]], (2, 2)), TypeError, "found list"),
        ((np.zeros((4,), np.uint8), (2, 2)), ValueError, r"\(H, W\) or \(H, W, C\)"),
        ((np.zeros((0, 4), np.uint8), (2, 2)), ValueError, "none of them 0"),
        ((np.zeros((4, 4), np.uint8), (0, 2)), ValueError, "size must be positive"),
        ((np.zeros((4, 4), np.uint8), (2, 2), "cubic"), ValueError, "one of nearest, box, bilinear, bicubic, lanczos"),
        ((np.zeros((4, 4), np.uint8), (2, 2), "box", (1, 0, 2, 2)), ValueError, "box .* inside"),
    ],
)
def test_resize_refuses(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"resize: .*{message}"):
        resize(*arguments)


def by_hand(image: Any, resize_size: int, crop: int, method: Any) -> Any:
    """Resize the shorter side, cut out the centre, normalize: with Pillow and NumPy alone; crop <= resize_size."""
    width, height = image.size
    size = (resize_size, int(resize_size * height / width))
    if height < width:
        size = (int(resize_size * width / height), resize_size)
    resized = image.resize(size, method)
    left, top = round((size[0] - crop) / 2.0), round((size[1] - crop) / 2.0)
    values = np.asarray(resized.crop((left, top, left + crop, top + crop))).transpose(2, 0, 1).astype(np.float32) / 255
    mean = np.array([0.485, 0.456, 0.406], np.float32)[:, None, None]
    return (values - mean) / np.array([0.229, 0.224, 0.225], np.float32)[:, None, None]


@pytest.mark.parametrize("size", [(64, 48), (48, 64), (50, 50), (33, 47), (31, 90), (256, 341)])
@pytest.mark.parametrize(("interpolation", "resize_size", "crop"), [("bilinear", 37, 32), ("bicubic", 32, 32)])
def test_preprocess_step_by_step(size: tuple[int, int], interpolation: str, resize_size: int, crop: int) -> None:
    image = Image.fromarray(noise(np.random.default_rng(3), size[1], size[0], 3))
    preprocess = Preprocess(resize_size, crop, interpolation)
    expected = by_hand(image, resize_size, crop, getattr(Image.Resampling, interpolation.upper()))
    found = preprocess(image)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_array_equal(found, expected[None])
    np.testing.assert_array_equal(preprocess(np.asarray(image)), found)


def test_one_or_many_images() -> None:
    rng = np.random.default_rng(4)
    preprocess = Preprocess(20, 16)
    images = [noise(rng, 30, 25, 3), Image.fromarray(noise(rng, 60, 20, 3)), noise(rng, 17, 18)]
    together = preprocess(images)
    assert together.shape == (3, 3, 16, 16)
    for alone, image in zip(together, images, strict=True):
        np.testing.assert_array_equal(preprocess(image)[0], alone)
    batch = noise(rng, 2, 30, 25, 3)
    np.testing.assert_array_equal(preprocess(batch), preprocess(list(batch)))
    assert preprocess([]).shape == (0, 3, 16, 16)


def test_a_small_image_gets_a_black_border() -> None:
    image = np.full((5, 8, 3), 255, np.uint8)
    pixels = Preprocess(None, 10, mean=(0, 0, 0), std=(1, 1, 1)).pixels(image)
    expected = np.zeros((10, 10), np.uint8)
    expected[2:7, 1:9] = 255
    np.testing.assert_array_equal(pixels[:, :, 1], expected)
    wide = Preprocess(None, (4, 10)).pixels(image)
    assert wide.shape == (4, 10, 3) and (wide[:, 1:9] == 255).all() and not wide[:, [0, 9]].any()


def test_gray_networks_and_gray_images() -> None:
    gray = noise(np.random.default_rng(6), 28, 28)
    network = Preprocess(28, 28, mean=(0.0,), std=(1.0,))
    np.testing.assert_array_equal(network(gray)[0, 0], gray.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(network(Image.fromarray(gray).convert("RGB")), network(gray))
    colour = Preprocess(28, 28)(gray[:, :, None])
    np.testing.assert_array_equal(colour, Preprocess(28, 28)(np.stack([gray] * 3, 2)))


def test_networks_of_other_channels() -> None:
    image = noise(np.random.default_rng(7), 12, 14, 4)
    four = Preprocess(8, 8, mean=(0.5,) * 4, std=(0.25,) * 4)
    expected = (resize(image, (8, 9))[:, :8].transpose(2, 0, 1).astype(np.float32) / np.float32(255) - 0.5) / 0.25
    np.testing.assert_array_equal(four(image), expected[None])
    with pytest.raises(ValueError, match=r"shape \(H, W, 4\) or \(H, W\), found \(12, 14, 3\)"):
        four(Image.fromarray(image[:, :, :3].copy()))


def test_figures_can_be_changed() -> None:
    preprocess = Preprocess().replace(resize_size=320, crop_size=288, interpolation="bicubic")
    assert (preprocess.resize_size, preprocess.crop_size, preprocess.interpolation) == (320, 288, "bicubic")
    assert Preprocess(mean=[0.5] * 3, std=np.full(3, 0.5)).std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop_size": 0}, "sizes must be positive"),
        ({"resize_size": 2.5}, "sizes must be positive integers"),
        ({"interpolation": "magic"}, "interpolation must be one of nearest"),
        ({"mean": (0.5,)}, "one value per channel"),
        ({"mean": (), "std": ()}, "one value per channel"),
        ({"std": (1, 0, 1)}, "std must be positive"),
    ],
)
def test_wrong_figures(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"Preprocess: .*{message}"):
        Preprocess(**options)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), TypeError, "float32 array"),
        ("cat.jpg", TypeError, "found str"),
        (["cat.jpg"], TypeError, "found str"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"x\.transpose\(1, 2, 0\)"),
        (np.zeros((8, 8, 4), np.uint8), ValueError, r"x\[:, :, :3\]"),
        (np.zeros((0, 8, 3), np.uint8), ValueError, r"found \(0, 8, 3\)"),
    ],
)
def test_wrong_images(image: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"preprocess: .*{message}"):
        Preprocess(8, 8)(image)


def test_photographs_from_files(tmp_path: Path) -> None:
    pixels = noise(np.random.default_rng(8), 6, 9, 3)
    image = Image.fromarray(pixels)
    image.save(tmp_path / "plain.png")
    np.testing.assert_array_equal(read_image(tmp_path / "plain.png"), pixels)
    np.testing.assert_array_equal(read_image(tmp_path / "plain.png", gray=True), np.asarray(image.convert("L")))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned by 90 degrees
    image.save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "turned.png"), np.rot90(pixels, -1))
    image.convert("P").save(tmp_path / "palette.gif")
    assert read_image(tmp_path / "palette.gif").shape == (6, 9, 3)


def test_files_that_are_no_photographs(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    data = noise(np.random.default_rng(8), 60, 90, 3)
    Image.fromarray(data).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:9000])
    for name in ("text.jpg", "cut.png"):
        with pytest.raises(ValueError, match=f"read_image: .*{name}.* cannot be read as an image"):
            read_image(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "absent.png")
