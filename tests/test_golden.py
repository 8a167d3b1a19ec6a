# SPDX-License-Identifier: BSD-3-Clause
"""Answers of torchvision's own definitions, computed in float64, for weights that a seeded recipe makes again.

The recipe and the answers lie outside the repository, in ../shared/golden; without them the tests are skipped. A plain
run takes the first case of each network on two instruction sets, `--full` all cases on all.
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
SPECIFICATION = json.loads((GOLDEN / "spec.json").read_text("utf-8")) if GOLDEN.is_dir() else {}
PLAIN_ISAS = ("avx512", "avx2")
LARGE = 1 << 24  # elements


@cache
def recipe() -> Any:
    spec = importlib.util.spec_from_file_location("golden", GOLDEN / "golden.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def large_weight(key: str, shape: tuple[int, ...]) -> Any:
    """A weight that several networks share, since the recipe draws by name and shape."""
    return recipe().make_weights("", {"": {"keys": [[key, list(shape)]]}})[key]


def weights(name: str) -> dict[str, Any]:
    keys = SPECIFICATION[name]["keys"]
    large = {key: tuple(shape) for key, shape in keys if np.prod(shape) >= LARGE}
    small = recipe().make_weights(name, {name: {"keys": [entry for entry in keys if entry[0] not in large]}})
    return {**small, **{key: large_weight(key, shape) for key, shape in large.items()}}


@cache
def answers() -> Any:
    return np.load(GOLDEN / "logits.npz")


def images(name: str, case: int) -> Any:
    return recipe().make_input(SPECIFICATION[name]["cases"][case])


def problem(name: str, case: int, way: str, answer: Any, winograd: bool = False) -> str:
    """What is wrong with an answer; "" if nothing is."""
    expected = answers()[f"{name}/{case}"]
    error = np.linalg.norm(answer.astype(np.float64) - expected) / np.linalg.norm(expected)
    bound = max(5e-6, 3 * SPECIFICATION[name]["float32_error"]) * (3 if winograd else 1)
    text = f"{name}/{case} {way}: relative error {error:.2e}, bound {bound:.2e}"
    print(text)
    return "" if answer.shape == expected.shape and error < bound else text


@pytest.mark.parametrize("name", SPECIFICATION)
def test_network(name: str, core: Any, full: bool) -> None:
    model = models.get(name)(weights=weights(name)).eval()
    found = {key: list(array.shape) for key, array in model.state_dict().items()}
    assert found == dict(SPECIFICATION[name]["keys"])
    problems = []
    for case in range(len(SPECIFICATION[name]["cases"]) if full else 1):
        x = images(name, case)
        for isa in core.isas() if full else [isa for isa in core.isas() if isa in PLAIN_ISAS] or core.isas()[-1:]:
            core.set_isa(isa)
            problems.append(problem(name, case, f"eager {isa}", model(x)))
            for winograd in (True, False) if full else (True,):
                engine = cnnkern.compile(model, x.shape, winograd=winograd)
                used = any(step.algorithm.startswith("winograd") for step in engine.steps)
                assert winograd or not used
                way = f"compiled{' with Winograd' * used} {isa}"
                problems.append(problem(name, case, way, engine(x), used))
    assert not any(problems), "\n".join(filter(None, problems))


def test_an_engine_for_another_size() -> None:
    engine = cnnkern.compile(models.resnet50(weights=weights("resnet50")), (1, 3, 64, 64), winograd=False)
    for case in (0, 1):
        assert not problem("resnet50", case, "replanned", engine(images("resnet50", case)))
