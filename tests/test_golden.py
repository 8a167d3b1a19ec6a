# SPDX-License-Identifier: BSD-3-Clause
"""Answers of torchvision's own definitions, computed in float64, for weights that a seeded recipe makes again.

The recipe and the answers lie outside the repository, in ../shared/golden; without them the tests are skipped.
"""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import models

GOLDEN = Path(__file__).resolve().parents[1].parent / "shared" / "golden"
pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"no golden answers in {GOLDEN.parent.name}/{GOLDEN.name}")
CASES = [("resnet18", 0), ("resnet50", 0), ("resnet50", 1)]


@cache
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("golden", GOLDEN / "golden.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def specification() -> Any:
    return json.loads((GOLDEN / "spec.json").read_text("utf-8"))


@cache
def network(name: str) -> Any:
    return models.get(name)(weights=recipe().make_weights(name, specification())).eval()


def check(name: str, case: int, answer: Any) -> None:
    expected = np.load(GOLDEN / "logits.npz")[f"{name}/{case}"]
    error = np.linalg.norm(answer.astype(np.float64) - expected) / np.linalg.norm(expected)
    bound = max(5e-6, 3 * specification()[name]["float32_error"])
    print(f"{name}/{case}: relative error {error:.2e}, bound {bound:.2e}")
    assert answer.shape == expected.shape
    assert error < bound


def images(name: str, case: int) -> Any:
    return recipe().make_input(specification()[name]["cases"][case])


@pytest.mark.parametrize(("name", "case"), CASES)
def test_eager(name: str, case: int, isa: str) -> None:
    check(name, case, network(name)(images(name, case)))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_compiled(name: str, case: int, isa: str) -> None:
    x = images(name, case)
    check(name, case, cnnkern.compile(network(name), x.shape)(x))


def test_an_engine_for_another_size() -> None:
    engine = cnnkern.compile(network("resnet50"), (1, 3, 64, 64))
    for case in (0, 1):
        check("resnet50", case, engine(images("resnet50", case)))
