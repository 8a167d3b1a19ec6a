# SPDX-License-Identifier: BSD-3-Clause
"""Weights through files: by torch.save, old and new, and by safetensors; the networks then give the golden answers.

A plain run takes the smallest networks, `--full` all that have an answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import test_golden as golden
from oracle import torch_or_skip

import cnnkern
from cnnkern import models

pytestmark = golden.pytestmark
MOST_WEIGHTS = 3_000_000  # of a plain run


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    full = metafunc.config.getoption("--full")
    sizes = {name: sum(np.prod(shape) for _, shape in each["keys"]) for name, each in golden.SPECIFICATION.items()}
    names = [name for name in sizes if name in models.list_models() and (full or sizes[name] < MOST_WEIGHTS)]
    metafunc.parametrize("name", names)


def save_by_torch(path: Path, weights: dict[str, Any], zipped: bool) -> None:
    torch = torch_or_skip()
    state = {name: torch.from_numpy(array) for name, array in weights.items()}
    torch.save(state, path, _use_new_zipfile_serialization=zipped)


def save_by_safetensors(path: Path, weights: dict[str, Any]) -> None:
    library = pytest.importorskip("safetensors.numpy", reason="the library safetensors is not installed")
    library.save_file(weights, path)


def test_answers_with_weights_from_files(name: str, tmp_path: Path) -> None:
    weights = golden.weights(name)
    x = golden.images(name, 0)
    for kind in ("new.pth", "old.pth", "weights.safetensors"):
        path = tmp_path / kind
        if path.suffix == ".pth":
            save_by_torch(path, weights, kind == "new.pth")
        else:
            save_by_safetensors(path, weights)
        model = models.get(name)(weights=path)
        path.unlink()
        for key, array in model.state_dict().items():
            np.testing.assert_array_equal(array, weights[key], err_msg=f"{kind}: {key}")
        if kind == "new.pth":  # the same weights give the same answers
            assert not golden.problem(name, 0, kind, cnnkern.compile(model, x.shape, winograd=False)(x))


def test_half_precision_weights(name: str, tmp_path: Path) -> None:
    """Weights stored with half the bits are those weights, rounded."""
    torch = torch_or_skip()
    weights = golden.weights(name)
    for dtype in (torch.float16, torch.bfloat16):
        rounded = {
            key: torch.from_numpy(array).to(dtype) if array.dtype == np.float32 else torch.from_numpy(array)
            for key, array in weights.items()
        }
        torch.save(rounded, tmp_path / "half.pth")
        state = models.get(name)(weights=tmp_path / "half.pth").state_dict()
        for key, tensor in rounded.items():
            expected = tensor.float().numpy() if tensor.is_floating_point() else tensor.numpy()
            np.testing.assert_array_equal(state[key], expected, err_msg=key)
