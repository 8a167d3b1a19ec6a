# SPDX-License-Identifier: BSD-3-Clause
"""The package as a whole: what it exports, what importing it costs, its stub, its configuration."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import cnnkern
from cnnkern import _core


def run(code: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)


def test_every_export_exists() -> None:
    for name in cnnkern.__all__:
        assert getattr(cnnkern, name) is not None
    assert set(cnnkern.__all__) <= set(dir(cnnkern))
    with pytest.raises(AttributeError, match="module 'cnnkern' has no attribute 'convolve'"):
        _ = cnnkern.convolve


def test_importing_loads_nothing_that_is_not_used() -> None:
    code = "import sys, cnnkern; print(sorted(m for m in sys.modules if m.startswith('cnnkern.')))"
    assert run(code).stdout.split() == ["['cnnkern._core',", "'cnnkern._version']"]
    code = (
        "import sys, cnnkern.functional; print([m for m in sys.modules if m.startswith(('cnnkern.nn', 'cnnkern.ref'))])"
    )
    assert run(code).stdout.strip() == "[]"


def test_without_the_compiled_core_the_error_says_how_to_build() -> None:
    result = run("import sys; sys.modules['cnnkern._core'] = None; import cnnkern")
    assert result.returncode == 1
    assert "ImportError: cnnkern's compiled core cannot be found" in result.stderr
    assert "pip install ." in result.stderr


def test_the_stub_names_what_the_core_has() -> None:
    tree = ast.parse((Path(cnnkern.__file__).parent / "_core.pyi").read_text("utf-8"))
    functions = {n.name: n for n in tree.body if isinstance(n, ast.FunctionDef)}
    classes = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    assert {*functions, *classes} == {name for name in dir(_core) if not name.startswith("_")}
    for name, function in functions.items():
        documented = inspect.getdoc(getattr(_core, name)) or ""
        shown = [part.split(":")[0].strip() for part in documented.split("(", 1)[1].split(") ->")[0].split(", ")]
        assert [a.arg for a in function.args.args] == [n for n in shown if n.isidentifier()], name
    for name, body in classes.items():
        methods = {n.name for n in body.body if isinstance(n, ast.FunctionDef)} - {"__init__"}
        assert methods == {m for m in vars(getattr(_core, name)) if not m.startswith("_")}, name


class TestConfig:
    def test_show_config(self, capsys: pytest.CaptureFixture[str]) -> None:
        cnnkern.show_config()
        lines = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
        assert list(lines) == [
            "version",
            "compiler",
            "instruction sets built",
            "instruction sets found",
            "instruction set active",
            "threads",
        ]
        assert lines["version"] == cnnkern.__version__
        assert "scalar" in lines["instruction sets built"]
        assert lines["instruction set active"] in lines["instruction sets found"].split(", ")
        count, rule = lines["threads"].split(" ", 1)
        assert int(count) == cnnkern.get_num_threads()
        assert len(rule) > 4

    def test_threads(self) -> None:
        before = cnnkern.get_num_threads()
        with cnnkern.threads(3):
            assert cnnkern.get_num_threads() == 3
            with cnnkern.threads(1):
                assert cnnkern.get_num_threads() == 1
            assert cnnkern.get_num_threads() == 3
        assert cnnkern.get_num_threads() == before
        with pytest.raises(RuntimeError), cnnkern.threads(5):
            raise RuntimeError
        assert cnnkern.get_num_threads() == before
        cnnkern.set_num_threads(2)
        assert cnnkern.get_num_threads() == 2
        _core.set_num_threads(0)
        assert cnnkern.get_num_threads() == before

    def test_the_environment_decides_unless_told_otherwise(self) -> None:
        code = "import cnnkern; cnnkern.show_config()"
        for variables, expected in (
            ("CNNKERN_NUM_THREADS=3 OMP_NUM_THREADS=2", "threads: 3 (CNNKERN_NUM_THREADS"),
            ("OMP_NUM_THREADS=2", "threads: 2 (OMP_NUM_THREADS"),
        ):
            lines = "; ".join(f"os.environ['{v.split('=')[0]}'] = '{v.split('=')[1]}'" for v in variables.split())
            result = run(f"import os; os.environ.pop('CNNKERN_NUM_THREADS', None); {lines}; {code}")
            assert expected in result.stdout, result

    def test_errors(self) -> None:
        for value, error in (
            (0, ValueError),
            (-1, ValueError),
            (10**6, ValueError),
            (1.5, TypeError),
            (True, TypeError),
        ):
            with pytest.raises(error, match="set_num_threads: n must be"):
                cnnkern.set_num_threads(value)  # type: ignore[arg-type]
