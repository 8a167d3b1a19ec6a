# SPDX-License-Identifier: BSD-3-Clause
"""The Python code of the README, of CONTRIBUTING and of the pages in docs runs, top to bottom."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("name", PAGES)
def test_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / name).read_text("utf-8")
    blocks = [(page[: m.start(1)].count("\n"), m[1]) for m in re.finditer(r"^```python\n(.*?)^```", page, re.M | re.S)]
    assert blocks
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for line, block in blocks:
        # Empty lines in front keep the line numbers of a traceback those of the page.
        exec(compile("\n" * line + block, str(ROOT / name), "exec"), names)


def test_links_to_files_of_the_project_lead_somewhere() -> None:
    missing = []
    for page in (*(ROOT / name for name in PAGES), ROOT / "csrc" / "README.md", ROOT / "benchmarks" / "README.md"):
        prose = re.sub(r"`[^`]*`", "", page.read_text("utf-8"))
        links = re.findall(r"\]\(([^)#:]+)\)", prose)
        missing += [f"{page.name}: {link}" for link in links if not (page.parent / link).exists()]
    assert missing == []


def test_the_example_kernel_compiles() -> None:
    (code,) = re.findall(r"^```cpp\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.M | re.S)
    compiler = shutil.which("c++")
    if compiler is None or not (ROOT / "csrc").is_dir():
        pytest.skip("no compiler")
    flags = [
        "-std=c++20",
        "-fsyntax-only",
        "-Wall",
        "-Werror",
        "-Wno-unused-function",
        f"-I{ROOT / 'csrc'}",
        "-DCNNKERN_ISA=scalar",
    ]
    done = subprocess.run([compiler, *flags, "-xc++", "-"], input=code, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
