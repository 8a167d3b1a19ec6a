# SPDX-License-Identifier: BSD-3-Clause
"""What the packaging files promise, and that they agree with each other."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import cnnkern

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_the_version_is_the_same_everywhere() -> None:
    version = cnnkern.__version__
    changelog = re.search(r"^## \[(\d\S*)\] - (\S+)$", text("CHANGELOG.md"), re.MULTILINE)
    citation = text("CITATION.cff")
    assert changelog is not None
    assert changelog[1] == version
    assert re.search(r"^version: (\S+)$", citation, re.MULTILINE)[1] == version  # type: ignore[index]
    assert re.search(r"^date-released: (\S+)$", citation, re.MULTILINE)[1] == changelog[2]  # type: ignore[index]


def test_numpy_is_the_only_requirement() -> None:
    assert [re.split(r"\W", requirement)[0] for requirement in PROJECT["project"]["dependencies"]] == ["numpy"]


def test_the_extras_that_users_were_promised_exist() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    assert set(extras) == {
        "all", "bench", "image", "io", "keras", "onnx", "plot", "progress", "tensorboard", "test"
    }  # fmt: skip
    # PyTorch is a peer to measure against, nothing that cnnkern or its tests need.
    needing = {name for name, group in extras.items() if any(one.startswith("torch") for one in group)}
    assert needing == {"bench"}
    included = re.fullmatch(r"cnnkern\[(.*)\]", extras["all"][0])
    assert included is not None
    assert set(included[1].split(",")) == set(extras) - {"all", "bench", "test"}


def test_pre_commit_uses_the_pinned_tools() -> None:
    pinned = set(PROJECT["dependency-groups"]["lint"])
    used = set(re.findall(r"[\w-]+==[\w.]+", text(".pre-commit-config.yaml")))
    assert used == pinned


def test_the_notice_names_every_data_file_of_the_package() -> None:
    notice = text("NOTICE")
    data = [p for p in (ROOT / "cnnkern").rglob("*") if p.suffix in (".npz", ".npy", ".gz", ".json", ".csv")]
    assert [p.name for p in data if p.relative_to(ROOT).as_posix() not in notice] == []


def test_the_package_is_typed_and_every_extension_module_has_a_stub() -> None:
    package = ROOT / "cnnkern"
    assert (package / "py.typed").exists()
    assert (package / "_core.pyi").exists()
    assert [p.name for p in package.rglob("*.pyx") if not p.with_suffix(".pyi").exists()] == []
