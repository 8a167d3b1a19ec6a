# SPDX-License-Identifier: BSD-3-Clause
"""Who may know whom: walks the imports and includes and fails on an arrow that the design does not have."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cnnkern"
CSRC = ROOT / "csrc"

# A part of the package -> the parts that it may import. In a chain (models -> nn -> functional -> graph) a part may
# also use the ones further down. A dotted name opens one module only.
ARROWS: dict[str, set[str]] = {
    "_version": set(),
    "_random": set(),
    "_config": {"_version", "_core"},
    "graph": set(),
    "reference": set(),
    "data": set(),
    "io": set(),
    "functional": {"graph", "_core", "reference", "_random"},
    "nn": {"functional", "graph", "_random"},
    "models": {"nn", "functional", "graph", "io", "data"},
    "engine": {"graph", "functional", "_core"},
    "train": {"graph", "functional", "engine", "nn.module", "data", "io", "_random"},
}
# These use everything, and nothing imports them.
TOPS = {"plot", "selftest", "cli", "__main__"}

# C++: folder -> folders whose headers it may include; single headers where the contract says so.
INCLUDES: dict[str, set[str]] = {
    "core": {"core"},
    "simd": {"simd", "core/op.hpp", "core/kernel.hpp"},
    "kernels": {"simd", "core/op.hpp", "core/kernel.hpp"},
    "ops": {"ops", "core"},
    "engine": {"engine", "ops", "core"},
    "bind": {"bind", "ops", "engine", "core"},
}
FREESTANDING = {"cfloat", "climits", "cstddef", "cstdint", "limits", "type_traits", "utility"}
THREADS = {"thread", "condition_variable", "future", "barrier", "latch", "semaphore", "pthread.h", "sched.h", "omp.h"}
INSTRUCTION_SETS = {"scalar", "avx2", "avx512", "amx", "neon"}


# --- Python -------------------------------------------------------------------------------------------------------


def imported_modules(source: str, module: str, is_package: bool) -> Iterator[tuple[str, int, bool]]:
    """Absolute names that a module imports, with the line, and whether it happens when the module is loaded."""
    tree = ast.parse(source)
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = module.split(".")
                kept = len(parents) - node.level + int(is_package)
                base = ".".join([*parents[:kept], *([base] if base else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            yield name, node.lineno, id(node) not in inside


def python_violations(module: str, is_package: bool, source: str) -> list[str]:
    """Arrows of one module of the package that the design does not have, as 'line: message'."""
    parts = module.split(".")
    own = parts[1] if len(parts) > 1 else ""
    found = []
    for name, line, at_import in imported_modules(source, module, is_package):
        target = name.split(".")
        if target[0] != "cnnkern":
            if at_import and target[0] != "numpy" and target[0] not in sys.stdlib_module_names:
                found.append(f"{line}: {module} imports {name} when it is loaded; only NumPy is required")
            if own == "reference" and target[0] != "numpy" and target[0] not in sys.stdlib_module_names:
                found.append(f"{line}: {module} imports {name}; the reference imports NumPy alone")
            continue
        part = target[1] if len(target) > 1 else ""
        if part in TOPS and own not in TOPS:
            found.append(f"{line}: {module} imports {part}, which nothing may import")
        elif own in TOPS or own in ("", part):
            continue
        elif part not in {*ARROWS, "_core"}:
            found.append(f"{line}: {module} imports from the package itself ({name}); name the module")
        elif not any(target[1 : 1 + len(a.split("."))] == a.split(".") for a in ARROWS.get(own, set())):
            found.append(f"{line}: {module} -> {name}: no such arrow")
    return found


def python_files() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def module_name(path: Path) -> str:
    parts = ["cnnkern", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", python_files(), ids=module_name)
def test_python_imports(path: Path) -> None:
    assert not python_violations(module_name(path), path.name == "__init__.py", path.read_text("utf-8"))


def test_every_part_of_the_package_has_its_arrows() -> None:
    parts = {module_name(path).split(".")[1] for path in python_files() if path != PACKAGE / "__init__.py"}
    assert parts <= {*ARROWS, *TOPS}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cnnkern.graph", "from cnnkern import functional as F"),
        ("cnnkern.graph", "def f():\n    from . import functional"),
        ("cnnkern.nn.conv", "from ..models import lenet"),
        ("cnnkern.nn.conv", "import cnnkern.engine.plan"),
        ("cnnkern.train.fit", "from cnnkern.nn import conv"),
        ("cnnkern.data.loader", "from cnnkern import cli"),
        ("cnnkern.engine.plan", "import cnnkern"),
        ("cnnkern.reference.conv", "def f():\n    import scipy"),
        ("cnnkern.functional.conv", "import torch"),
    ],
)
def test_forbidden_imports_are_found(module: str, source: str) -> None:
    assert python_violations(module, False, source)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cnnkern.models.lenet", "from ..nn import Module\nfrom cnnkern.functional import relu"),
        ("cnnkern.train.fit", "from cnnkern.nn.module import Module"),
        ("cnnkern.functional.conv", "from cnnkern import _core, reference\nimport numpy as np"),
        ("cnnkern.plot", "def f():\n    import matplotlib.pyplot"),
    ],
)
def test_arrows_of_the_design_are_allowed(module: str, source: str) -> None:
    assert not python_violations(module, False, source)


# --- C++ ----------------------------------------------------------------------------------------------------------


def cpp_violations(path: Path, source: str) -> list[str]:
    """Includes of one file (its path relative to csrc) that the design does not have, as 'line: message'."""
    folder = path.parts[0]
    stem = path.name.split(".")[0:-1]
    one_instruction_set = folder == "kernels" and len(stem) > 1 and stem[-1] in INSTRUCTION_SETS
    found = []
    for line, text in enumerate(source.splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', text)
        if not match:
            if "pybind11" in text and folder != "bind" and not text.lstrip().startswith("//"):
                found.append(f"{line}: pybind11 outside bind")
            continue
        quoted, name = match[1] == '"', match[2]
        if quoted:
            if "/" not in name and (CSRC / path).parent.joinpath(name).exists():
                continue  # a private header of the same folder
            allowed = INCLUDES[folder]
            if name not in allowed and name.split("/")[0] not in allowed:
                found.append(f"{line}: {folder} -> {name}: no such arrow")
        elif name.startswith(("pybind11", "Python.h")):
            if folder != "bind":
                found.append(f"{line}: {name} outside bind")
        elif re.fullmatch(r"(\w*intrin|arm_neon|arm_sve)\.h", name):
            if folder != "simd" and not one_instruction_set:
                found.append(f"{line}: intrinsics outside simd ({name})")
        elif name in THREADS:
            if path.with_suffix("").as_posix() != "core/parallel":
                found.append(f"{line}: threads outside core/parallel ({name})")
        elif folder in ("kernels", "simd") and name not in FREESTANDING:
            found.append(f"{line}: {folder} files include freestanding headers only, not {name}")
    return found


def cpp_files() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in (".hpp", ".cpp", ".in"))


def cpp_name(path: Path) -> str:
    return path.relative_to(CSRC).as_posix()


@pytest.mark.parametrize("path", cpp_files(), ids=cpp_name)
def test_cpp_includes(path: Path) -> None:
    assert not cpp_violations(path.relative_to(CSRC), path.read_text("utf-8"))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/conv2d/direct.cpp", '#include "core/parallel.hpp"'),
        ("kernels/conv2d/direct.cpp", "#include <immintrin.h>"),
        ("kernels/conv2d/direct.cpp", "#include <algorithm>"),
        ("kernels/conv2d/direct.cpp", '#include "ops/conv.hpp"'),
        ("simd/avx2.hpp", '#include "core/launch.hpp"'),
        ("core/launch.cpp", '#include "ops/conv.hpp"'),
        ("core/launch.cpp", "#include <thread>"),
        ("ops/conv.cpp", "#include <pybind11/numpy.h>"),
        ("engine/plan.cpp", '#include "bind/array.hpp"'),
    ],
)
def test_forbidden_includes_are_found(path: str, source: str) -> None:
    assert cpp_violations(Path(path), source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("kernels/matmul/amx.avx512.cpp", "#include <immintrin.h>"),
        ("kernels/conv2d/direct.cpp", '#include "simd/simd.hpp"\n#include <cstdint>'),
        ("core/parallel.cpp", "#include <thread>"),
        ("bind/module.cpp", "#include <pybind11/pybind11.h>"),
    ],
)
def test_includes_of_the_design_are_allowed(path: str, source: str) -> None:
    assert not cpp_violations(Path(path), source)


# --- Every source file --------------------------------------------------------------------------------------------


def source_files() -> list[Path]:
    folders = ("cnnkern", "csrc", "tests", "benchmarks", "tools", "cmake")
    suffixes = (".py", ".pyi", ".pyx", ".cpp", ".hpp", ".in", ".cmake")
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*") if p.suffix in suffixes)


def test_every_source_file_names_its_licence() -> None:
    tag = "SPDX-License-Identifier: BSD-3-Clause"
    assert [p.relative_to(ROOT).as_posix() for p in source_files() if tag not in p.read_text("utf-8")[:200]] == []


def test_files_stay_short() -> None:
    """A file holds one idea: about 400 lines of product, a few more where every line is a case."""
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text("utf-8").splitlines()) for p in source_files()}
    assert {name: n for name, n in lengths.items() if n > (500 if name.startswith("tests/") else 440)} == {}
