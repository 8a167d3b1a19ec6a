# SPDX-License-Identifier: BSD-3-Clause
"""Transforms: what each does to a picture, how often, and that it depends on seed, epoch and number alone."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from augmentation import jitter

from cnnkern.data import resize
from cnnkern.data import transforms as T

RNG = np.random.default_rng(5)
IMAGE = RNG.integers(0, 256, (31, 40, 3), dtype=np.uint8)
SMOOTH = resize(RNG.integers(0, 256, (6, 6, 3), dtype=np.uint8), (48, 48), "bicubic")
PLANES = IMAGE.transpose(2, 0, 1).astype(np.float32) / np.float32(255)


def close(found: Any, expected: Any, tolerance: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_an_empty_chain_makes_planes() -> None:
    found = T.Compose([])(IMAGE)
    assert found.dtype == np.float32 and found.flags.c_contiguous
    close(found, PLANES)
    close(T.Compose([])(IMAGE[:, :, 0]), PLANES[:1])


def test_mirrors_and_crops() -> None:
    close(T.RandomHorizontalFlip(1.0)(IMAGE), PLANES[:, :, ::-1])
    close(T.RandomVerticalFlip(1.0)(IMAGE), PLANES[:, ::-1])
    close(T.RandomHorizontalFlip(0.0)(IMAGE), PLANES)
    close(T.CenterCrop((20, 30))(IMAGE), PLANES[:, 6:26, 5:35])  # 5.5 rounds to even
    padded = np.pad(PLANES, ((0, 0), (4, 5), (0, 0)))
    close(T.CenterCrop(40)(IMAGE), padded)


def test_random_crops_reach_every_place_and_nothing_else() -> None:
    image = np.arange(30, dtype=np.uint8).reshape(5, 6)
    padded = np.pad(image, 1)
    crop = T.RandomCrop((4, 5), padding=1)
    places = {(y, x): padded[y : y + 4, x : x + 5] for y in range(4) for x in range(4)}
    found = [np.round(crop(image, index=i)[0] * 255) for i in range(300)]
    seen = {place for picture in found for place, part in places.items() if np.array_equal(picture, part)}
    assert seen == set(places)
    assert all(any(np.array_equal(picture, part) for part in places.values()) for picture in found)
    close(T.RandomCrop((4, 5), p=0.0)(image), T.CenterCrop((4, 5))(image))
    small = [np.round(T.RandomCrop((7, 6))(image, index=i)[0] * 255) for i in range(60)]
    assert {int(np.flatnonzero(picture.any(1))[0]) for picture in small} == {0, 1, 2}


def test_sizes_are_those_of_pillow() -> None:
    image_module = pytest.importorskip("PIL.Image")
    for size in ((12, 17), (31, 9), (77, 50), (62, 80)):
        theirs = image_module.fromarray(IMAGE).resize(size[::-1], image_module.Resampling.BILINEAR)
        found = T.Resize(size)(IMAGE) * 255
        assert np.abs(found - np.asarray(theirs).transpose(2, 0, 1)).max() < 1.1  # it rounds to bytes twice
    assert T.Resize(20)(IMAGE).shape == (3, 20, 25)
    assert T.Resize(20)(IMAGE.transpose(1, 0, 2)).shape == (3, 25, 20)
    close(T.Resize((12, 17))(image_module.fromarray(IMAGE)), T.Resize((12, 17))(IMAGE))


def test_resized_crops_have_the_area_and_shape_that_is_asked_for() -> None:
    row, column = np.meshgrid(np.arange(100), np.arange(100), indexing="ij")
    image = np.stack([row, column, row], -1).astype(np.uint8)
    crop = T.RandomResizedCrop(16, scale=(0.2, 0.6), ratio=(0.5, 2.0))
    areas, ratios, tops = [], [], []
    for index in range(400):
        picture = crop(image, index=index) * 255
        height, width = (np.ptp(picture[c]) * 16 / 15 for c in (0, 1))
        areas.append(height * width / 1e4)
        ratios.append(width / height)
        tops.append(picture[0].min())
    assert 0.17 < min(areas) < 0.23 and 0.57 < max(areas) < 0.64 and np.mean(areas) == pytest.approx(0.4, abs=0.03)
    assert 0.45 < min(ratios) < 0.56 and 1.8 < max(ratios) < 2.2
    assert np.mean(np.log(ratios)) == pytest.approx(0, abs=0.1)
    assert min(tops) < 4 and max(tops) > 45
    close(T.RandomResizedCrop(16, p=0.0)(image), T.Resize((16, 16))(image))
    # None of this shape fits: the largest that does.
    assert T.RandomResizedCrop(8, (1.0, 1.0), (9.0, 9.0))(image).shape == (3, 8, 8)


def test_quarter_turns() -> None:
    square = IMAGE[:, :31]
    planes = PLANES[:, :, :31]
    close(T.RandomRotation((90, 90))(square), np.rot90(planes, 1, (1, 2)), 1e-4)
    close(T.RandomAffine((90, 90))(square), np.rot90(planes, -1, (1, 2)), 1e-4)
    close(T.RandomRotation((180, 180))(IMAGE), PLANES[:, ::-1, ::-1], 1e-4)


@pytest.mark.parametrize("shear", [(0.0, 0.0), (20.0, 0.0), (0.0, -15.0), (10.0, 25.0)])
def test_affine_maps_are_rotation_shear_scale_and_translation(shear: tuple[float, float]) -> None:
    """A bright dot of the image is found where the matrix puts it."""
    image = np.zeros((61, 81, 1), np.uint8)
    image[20:23, 50:53] = 255
    affine = T.RandomAffine((30, 30), scale=(1.3, 1.3), shear=(shear[0], shear[0], shear[1], shear[1]))
    picture = affine(image)[0]
    weight = picture / picture.sum()
    found = np.array([(weight * (np.arange(81) + 0.5)).sum(), (weight.T * (np.arange(61) + 0.5)).sum()])
    angle, along_x, along_y = np.radians([30.0, *shear])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    skew = np.array([[1, 0], [-np.tan(along_y), 1]]) @ np.array([[1, -np.tan(along_x)], [0, 1]])
    centre = np.array([40.5, 30.5])
    expected = centre + 1.3 * turn @ skew @ (np.array([51.5, 21.5]) - centre)
    np.testing.assert_allclose(found, expected, atol=0.1)


def test_translations_zooms_and_shears_stay_within_their_limits() -> None:
    image = np.zeros((41, 61), np.uint8)
    image[20, 30] = 255

    def places(transform: T.Transform) -> Any:
        weights = [transform(image, index=i)[0] for i in range(200)]
        return np.array(
            [[(w.sum(0) * np.arange(61)).sum(), (w.sum(1) * np.arange(41)).sum()] / w.sum() for w in weights]
        )

    moved = places(T.RandomAffine(0, translate=(0.2, 0.1))) - [30, 20]
    assert np.abs(moved).max(0) == pytest.approx([12.2, 4.1], rel=0.05) and np.abs(moved.mean(0)).max() < 1
    assert np.abs(places(T.RandomZoom((0.5, 2.0))) - [30, 20]).max() < 1e-3
    zoomed = [T.RandomZoom((0.5, 2.0))(SMOOTH, index=i) for i in range(3)]
    assert not np.allclose(zoomed[0], zoomed[1])
    close(T.RandomZoom((2.0, 2.0))(SMOOTH)[:, 8:40, 8:40], T.Resize(96)(SMOOTH)[:, 32:64, 32:64], 1e-4)
    assert np.abs(places(T.RandomShear(30)) - [30, 20]).max() < 1e-3


def test_geometry_is_one_resampling() -> None:
    """Turned and turned back, a picture is itself; enlarged and shrunk, too."""
    chain = [T.RandomRotation((33, 33)), T.RandomZoom((1.7, 1.7)), T.RandomZoom((1 / 1.7, 1 / 1.7))]
    close(T.Compose([*chain, T.RandomRotation((-33, -33))])(IMAGE), PLANES, 1e-4)
    # The rotation finds what the crop left out.
    whole = T.Compose([T.RandomRotation((45, 45)), T.CenterCrop(15)])(SMOOTH)
    close(T.Compose([T.CenterCrop(15), T.RandomRotation((45, 45))])(SMOOTH), whole, 0.2)
    assert T.Compose([T.CenterCrop(15), T.RandomRotation((45, 45))], fill=255)(SMOOTH)[:, 0, 0].max() < 1


def test_elastic_warps_move_nearby() -> None:
    warped = T.ElasticTransform(alpha=60.0, sigma=4.0)
    assert np.abs(warped(SMOOTH) - T.Compose([])(SMOOTH)).max() > 0.05
    close(T.ElasticTransform(alpha=0.0)(IMAGE), PLANES)
    column = np.broadcast_to(np.arange(100, dtype=np.uint8)[None, :, None], (100, 100, 1)) * 2
    moved = (warped(column)[0] * 255 - column[:, :, 0])[20:80, 20:80] / 2
    assert 0.5 < np.abs(moved).max() < 10 and np.abs(np.diff(moved, axis=0)).max() < 1
    # Before or after a mirror: the displacement belongs to the picture as it is there.
    before = T.Compose([T.ElasticTransform(40.0, 3.0), T.RandomHorizontalFlip(1.0)])(SMOOTH)
    close(before, T.ElasticTransform(40.0, 3.0)(SMOOTH)[:, :, ::-1], 1e-4)


def test_borders() -> None:
    out = T.Compose([T.CenterCrop((33, 40))], fill=(51, 102, 255))(IMAGE)
    close(out[:, 0], np.array([[0.2], [0.4], [1.0]]) * np.ones(40))
    close(
        T.Compose([T.CenterCrop((33, 40))], padding_mode="edge")(IMAGE),
        np.pad(PLANES, ((0, 0), (1, 1), (0, 0)), "edge"),
    )
    mirrored = T.Compose([T.RandomCrop(31, padding=5)], padding_mode="symmetric")(IMAGE)
    assert mirrored.min() >= 0 and not (mirrored == 0).all(0).any(0).any()


@pytest.mark.parametrize("which", ["brightness", "contrast", "saturation", "all"])
def test_colour_jitter(which: str) -> None:
    factors = dict.fromkeys(("brightness", "contrast", "saturation"), 1.0)
    factors |= {"brightness": 1.4, "contrast": 0.3, "saturation": 2.0} if which == "all" else {which: 1.7}
    pairs: Any = {name: (value, value) for name, value in factors.items()}
    close(T.ColorJitter(**pairs)(IMAGE), jitter(PLANES.astype(np.float64), **factors), 2e-6)
    gray = T.ColorJitter(**pairs)(IMAGE[:, :, 0])
    close(gray, jitter(np.repeat(PLANES[:1], 3, 0).astype(np.float64), **factors)[:1], 1e-4)


def test_colours_after_colours_are_one() -> None:
    twice: Any = [T.ColorJitter((1.2, 1.2), (0.8, 0.8), (0.7, 0.7)), T.ColorJitter((0.9, 0.9), (0.7, 0.7), (1.1, 1.1))]
    picture = jitter(jitter(PLANES * 0.5 + 0.2, 1.2, 0.8, 0.7), 0.9, 0.7, 1.1)
    image = np.round((PLANES * 0.5 + 0.2).transpose(1, 2, 0) * 255).astype(np.uint8)
    close(T.Compose(twice)(image), picture, 3e-3)


def test_colour_shifts() -> None:
    image = np.full((2, 2, 3), 102, np.uint8)
    found = np.array([T.ColorShift(0.2)(image, index=i)[:, 0, 0] for i in range(300)]) - 0.4
    assert np.abs(found).max() < 0.2 and np.abs(found).max(0).min() > 0.19 and np.abs(found.mean(0)).max() < 0.03
    assert np.abs(np.corrcoef(found.T) - np.eye(3)).max() < 0.2
    assert T.ColorShift((0.9, 1.0))(IMAGE).max() == 1.0 and T.ColorShift((-1.0, -1.0))(IMAGE).max() == 0.0


def test_normalization_and_noise() -> None:
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (PLANES - mean[:, None, None]) / std[:, None, None]
    close(T.Normalize()(IMAGE), expected, 2e-6)
    close(T.Compose([T.Normalize([0.5], [0.25]), T.Normalize([1.0], [2.0])])(IMAGE), (PLANES - 0.5) * 2 - 0.5, 2e-6)
    gray = np.full((80, 80, 3), 128, np.uint8)
    noise = T.GaussianNoise(0.05, 0.1, clip=False)(gray) - 128 / 255
    assert noise.mean() == pytest.approx(0.05, abs=2e-3) and noise.std() == pytest.approx(0.1, rel=0.02)
    clipped = T.Compose([T.GaussianNoise(sigma=2.0), T.Normalize([0.5], [0.5])])(gray)
    assert set(np.unique(clipped)) > {-1.0, 1.0} and np.abs(clipped).max() == 1.0
    mixed = T.Compose([T.ColorJitter((3.0, 3.0), (1.5, 1.5)), T.GaussianNoise(sigma=0.0), T.Normalize()])(IMAGE)
    close(mixed, T.Compose([T.ColorJitter((3.0, 3.0), (1.5, 1.5)), T.Normalize()])(IMAGE), 3e-6)


def test_erasing() -> None:
    gray = np.full((50, 70, 3), 255, np.uint8)
    shares = []
    for index in range(200):
        picture = T.RandomErasing(1.0, (0.05, 0.2), (0.5, 2.0))(gray, index=index)
        rows, columns = np.flatnonzero((picture[0] == 0).any(1)), np.flatnonzero((picture[0] == 0).any(0))
        box = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert not box.any() and picture.sum() == picture.size - box.size
        assert 0.4 < len(rows) / len(columns) < 2.5
        shares.append(box[0].size / 3500)
    assert 0.04 < min(shares) < 0.06 and 0.19 < max(shares) < 0.21
    before = T.Compose([T.RandomErasing(1.0, value=(0.2, 0.4, 0.6)), T.Normalize()])(gray)
    after = T.Compose([T.Normalize(), T.RandomErasing(1.0, value=(0.2, 0.4, 0.6))])(gray)
    assert (np.abs(after - np.array([0.2, 0.4, 0.6])[:, None, None]) < 1e-6).all(0).mean() > 0.02
    inside = (
        np.abs(before - ((np.array([0.2, 0.4, 0.6]) - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225])[:, None, None])
        < 1e-5
    )
    assert inside.all(0).mean() > 0.02
    random = T.RandomErasing(1.0, (0.3, 0.33), value="random")(gray)
    values = random[random != 1]
    assert values.std() == pytest.approx(1, rel=0.1) and abs(values.mean()) < 0.1


def test_five_and_ten_crops() -> None:
    five = T.Compose([T.FiveCrop((20, 30)), T.Normalize([0.5], [0.5])])(IMAGE) / 2 + 0.5
    corners = [PLANES[:, y : y + 20, x : x + 30] for y, x in ((0, 0), (0, 10), (11, 0), (11, 10), (6, 5))]
    close(five, np.stack(corners))
    ten = T.TenCrop((20, 30))(IMAGE)
    flipped = T.FiveCrop((20, 30))(np.ascontiguousarray(IMAGE[:, ::-1]))
    close(ten, np.concatenate([five, flipped]))
    upside = T.TenCrop((20, 30), vertical_flip=True)(IMAGE)
    close(upside[5:], T.FiveCrop((20, 30))(np.ascontiguousarray(IMAGE[::-1])))
    batch = T.Compose([T.Resize(40), T.FiveCrop(24)]).batch([IMAGE, SMOOTH])
    assert batch.shape == (2, 5, 3, 24, 24)


PROBABLE: dict[str, Any] = {
    "RandomHorizontalFlip": T.RandomHorizontalFlip(0.3),
    "RandomVerticalFlip": T.RandomVerticalFlip(0.3),
    "RandomRotation": T.RandomRotation((5, 20), 0.3),
    "RandomAffine": T.RandomAffine((5, 20), (0.1, 0.1), (0.8, 0.9), 5, 0.3),
    "RandomShear": T.RandomShear((5, 20), 0.3),
    "RandomZoom": T.RandomZoom((1.2, 1.5), 0.3),
    "ElasticTransform": T.ElasticTransform(p=0.3),
    "ColorJitter": T.ColorJitter((1.2, 1.5), p=0.3),
    "ColorShift": T.ColorShift((0.1, 0.2), 0.3),
    "GaussianNoise": T.GaussianNoise(p=0.3),
    "RandomErasing": T.RandomErasing(0.3, value=0.77),
    "RandomCrop": T.RandomCrop((31, 40), 3, 0.3),
    "RandomResizedCrop": T.RandomResizedCrop((31, 40), (0.1, 0.6), p=0.3),
}


@pytest.mark.parametrize("name", PROBABLE)
def test_probabilities(name: str) -> None:
    transform = PROBABLE[name]
    plain = T.Compose([])(IMAGE)
    changed = [not np.allclose(transform(IMAGE, index=i), plain, atol=1e-4) for i in range(300)]
    # 99 of 300 within 4 standard deviations; a random crop finds the old place in 1 of 49.
    assert 58 <= sum(changed) <= 122


@pytest.mark.parametrize("name", PROBABLE)
def test_draws_depend_on_seed_epoch_number_and_place(name: str) -> None:
    transform = copy.copy(PROBABLE[name])
    transform.p = 1.0

    def pictures(seed: int = 1, epoch: int = 0, start: int = 0, chain: Any = (transform,)) -> Any:
        return T.Compose(chain, seed=seed).batch([IMAGE] * 6, epoch=epoch, indices=range(start, start + 6))

    first = pictures()
    np.testing.assert_array_equal(first, pictures())
    np.testing.assert_array_equal(first[2], T.Compose([transform], seed=1)(IMAGE, index=2))
    np.testing.assert_array_equal(first, pickle.loads(pickle.dumps(T.Compose([transform], seed=1))).batch([IMAGE] * 6))
    if name not in ("RandomHorizontalFlip", "RandomVerticalFlip"):
        others = [
            pictures(2),
            pictures(epoch=1),
            pictures(start=6),
            pictures(chain=(T.RandomHorizontalFlip(0.0), transform)),
        ]
        assert all(not np.array_equal(first, other) for other in others)
        assert len(np.unique(first.reshape(6, -1), axis=0)) >= 4
    own = copy.copy(transform)
    own.seed = 1
    np.testing.assert_array_equal(first, pictures(seed=9, chain=(own,)))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: T.RandomHorizontalFlip(1.5), ValueError, "RandomHorizontalFlip: p must lie in 0 .. 1, found 1.5"),
        (lambda: T.RandomHorizontalFlip("x"), TypeError, "p expected a number, found 'x'"),
        (lambda: T.RandomHorizontalFlip(float("nan")), ValueError, "p must lie in"),
        (lambda: T.RandomRotation(-3), ValueError, "RandomRotation: degrees must lie in 0"),
        (lambda: T.RandomRotation((9, 3)), ValueError, r"expected \(low, high\)"),
        (lambda: T.RandomAffine(5, translate=0.1), TypeError, "translate expected a pair"),
        (lambda: T.RandomAffine(5, scale=(0, 1)), ValueError, "scale must lie in"),
        (lambda: T.RandomShear(90), ValueError, "degrees must lie in 0 .. 89"),
        (lambda: T.RandomCrop(0), ValueError, "RandomCrop: size must lie in 1"),
        (lambda: T.RandomCrop((1, 2, 3)), ValueError, "an integer or"),
        (lambda: T.RandomCrop(2.5), TypeError, "size expected an integer, found 2.5"),
        (lambda: T.RandomResizedCrop(8, scale=(0.5, 2)), ValueError, "scale must lie in"),
        (lambda: T.ColorJitter(brightness=-1), ValueError, "brightness must lie in"),
        (lambda: T.Normalize([0.1, 0.2], [0.1]), ValueError, "as many means as stds, found 2 and 1"),
        (lambda: T.Normalize([0.1], [0.0]), ValueError, "std must lie in"),
        (lambda: T.RandomErasing(value="noise"), ValueError, "'noise'"),
        (lambda: T.Compose([3]), TypeError, "expected transforms, found int"),
        (lambda: T.Compose([T.Normalize(), T.ColorShift()]), ValueError, "ColorShift must come before Normalize"),
        (lambda: T.Compose([T.RandomErasing(), T.GaussianNoise()]), ValueError, "GaussianNoise must come before"),
        (lambda: T.Compose([T.FiveCrop(3), T.TenCrop(2)]), ValueError, "at most one FiveCrop or TenCrop"),
        (lambda: T.Compose([], padding_mode="wrap"), ValueError, "padding_mode must be one of constant"),
        (lambda: T.Compose([], fill=256), ValueError, "fill must lie in 0 .. 255"),
        (lambda: T.Compose([], seed=-1), ValueError, "seed must lie in"),
        (lambda: T.Compose([])(PLANES), TypeError, r"float32 array; use \(x \* 255\)"),
        (lambda: T.Compose([])(IMAGE.transpose(2, 0, 1)), ValueError, r"looks like \(C, H, W\)"),
        (lambda: T.Compose([])(IMAGE[:0]), ValueError, "must have shape"),
        (lambda: T.Compose([])("cat.jpg"), TypeError, "found str"),
        (lambda: T.Compose([])(IMAGE, epoch=-1), ValueError, "epoch must lie in"),
        (lambda: T.Compose([]).batch([IMAGE, SMOOTH]), ValueError, "image 1 becomes"),
        (lambda: T.Compose([]).batch([]), ValueError, "found 0 and 0"),
        (lambda: T.Compose([], fill=(1, 2))(IMAGE), ValueError, "fill expects one value or 3, found 2"),
        (lambda: T.Normalize()(IMAGE[:, :, 0]), ValueError, "an image of 3 channels, found 1"),
        (lambda: T.ColorJitter(contrast=0.5)(IMAGE[:, :, :2]), ValueError, "1 or 3 channels, found 2"),
        (lambda: T.RandomErasing(1.0, value=(1, 2))(IMAGE), ValueError, "one number or 3, found 2"),
        (lambda: T.FiveCrop(99)(IMAGE), ValueError, "only 31 x 40 pixels"),
        (lambda: T.Compose([T.ElasticTransform()] * 2)(IMAGE), ValueError, "at most one ElasticTransform"),
    ],
)
def test_bad_input(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()
