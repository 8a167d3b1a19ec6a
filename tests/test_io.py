# SPDX-License-Identifier: BSD-3-Clause
"""Weights written and read again, by cnnkern, NumPy, safetensors and PyTorch."""

from __future__ import annotations

import os
import pickle
import stat
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import checkpoints
import numpy as np
import pytest
from oracle import torch_or_skip

import cnnkern
from cnnkern import io, models

SUFFIXES = [".npz", ".safetensors", ".pth", ".pt"]
DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    made = {f"of.{dtype}": (rng.standard_normal((3, 4)) * 50).astype(dtype) for dtype in DTYPES}
    made["layer.0.weight"] = rng.standard_normal((4, 2, 3, 3), dtype=np.float32)
    made["transposed"] = np.asfortranarray(rng.standard_normal((3, 5), dtype=np.float32))
    made["strided"] = rng.standard_normal((6, 8), dtype=np.float32)[::-2, 1::3]
    made["big end"] = np.arange(5, dtype=">f4")
    made["scalar"] = np.float32(2.5)
    made["empty"] = np.zeros((0, 3), np.float32)
    made["ünï"] = np.arange(3)
    return made


def native() -> dict[str, Any]:
    made = {name: np.asarray(array) for name, array in arrays().items()}
    return {name: np.array(array, array.dtype.newbyteorder("="), order="C") for name, array in made.items()}


def suffix_or_skip(suffix: str) -> str:
    if suffix == ".safetensors":
        pytest.importorskip("safetensors", reason="the library safetensors is not installed")
    return suffix


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        array = np.asarray(value)
        wide = np.float32 if array.dtype == np.float16 else array.dtype.newbyteorder("=")
        assert found[name].dtype == wide and found[name].dtype.isnative, name
        assert found[name].flags.c_contiguous and found[name].flags.writeable and found[name].flags.aligned
        np.testing.assert_array_equal(found[name], array.astype(wide), strict=True, err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_saved_is_loaded(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix_or_skip(suffix)}"
    io.save(path, arrays())
    assert_same(io.load(path), arrays())
    # The content decides, not the name.
    (tmp_path / "anything").write_bytes(path.read_bytes())
    assert_same(io.load(str(tmp_path / "anything")), arrays())
    if suffix != ".safetensors":
        assert list(io.load(path)) == list(arrays())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_arrays_give_the_same_bytes(suffix: str, tmp_path: Path) -> None:
    for name in ("first", "second"):
        io.save(tmp_path / f"{name}{suffix_or_skip(suffix)}", arrays())
    assert (tmp_path / f"first{suffix}").read_bytes() == (tmp_path / f"second{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_takes_its_weights_from_a_path(suffix: str, tmp_path: Path) -> None:
    state = models.lenet5(seed=1).state_dict()
    io.save(tmp_path / f"lenet{suffix_or_skip(suffix)}", state)
    for name, array in models.lenet5(weights=tmp_path / f"lenet{suffix}").state_dict().items():
        np.testing.assert_array_equal(array, state[name])


def test_numpy_reads_and_writes_the_same_archives(tmp_path: Path) -> None:
    expected = native()
    io.save(tmp_path / "ours.npz", expected)
    with np.load(tmp_path / "ours.npz") as archive:
        for name, array in expected.items():
            np.testing.assert_array_equal(archive[name], array, strict=True)
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "theirs.npz", **expected)
        assert_same(io.load(tmp_path / "theirs.npz"), expected)


def test_safetensors_reads_and_writes_the_same_files(tmp_path: Path) -> None:
    library = pytest.importorskip("safetensors.numpy")
    expected = native()
    io.save(tmp_path / "ours.safetensors", expected)
    for name, array in library.load_file(tmp_path / "ours.safetensors").items():
        np.testing.assert_array_equal(array, expected[name])
    library.save_file(expected, tmp_path / "theirs.safetensors", metadata={"format": "pt"})
    assert_same(io.load(tmp_path / "theirs.safetensors"), expected)


def torch_state(torch: Any) -> dict[str, Any]:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Linear(3, 2))
    state = network.state_dict()
    state["transposed"] = torch.arange(12.0).reshape(3, 4).t()
    state["part"] = torch.arange(10)[2:5]
    state["rest"] = state["part"].clone()[1:]
    state["tied"] = state["0.weight"]
    state["empty"] = torch.zeros(0, 3)
    for dtype in ("float64", "float16", "bfloat16", "int32", "int16", "int8", "uint8"):
        state[dtype] = (torch.randn(3, 5) * 20).to(getattr(torch, dtype))
    state["bool"] = torch.tensor([True, False])
    state["odd"] = torch.tensor([float("inf"), float("nan"), 1e-40, -0.0, 65504.0]).bfloat16()
    state["parameter"] = torch.nn.Parameter(torch.ones(2))
    return dict(state)


def assert_same_as_torch(found: dict[str, Any], state: dict[str, Any]) -> None:
    assert list(found) == list(state)
    for name, value in state.items():
        plain = value.detach()
        expected = (plain.float() if str(plain.dtype) in ("torch.float16", "torch.bfloat16") else plain).numpy()
        assert found[name].flags.c_contiguous and found[name].flags.writeable
        np.testing.assert_array_equal(found[name], expected, strict=True, err_msg=name)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", ["bare", "module", "compiled", "checkpoint", "twice"])
def test_checkpoints_of_torch(zipped: bool, wrapper: str, tmp_path: Path) -> None:
    torch = torch_or_skip()
    state = torch_state(torch)
    saved: Any = {
        "bare": state,
        "module": {f"module.{name}": value for name, value in state.items()},
        "compiled": {"state_dict": {f"_orig_mod.{name}": value for name, value in state.items()}},
        "checkpoint": {
            "epoch": 3,
            "model_state_dict": state,
            "best": 0.5,
            "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(3)}}, "param_groups": [{}]},
            "history": [(1, 0.5, None, True)],
            "size": torch.Size([2, 3]),
            "large": 2**70,
        },
        "twice": {"net": {"model": state}, "version": -1},
    }[wrapper]
    torch.save(saved, tmp_path / "weights.pth", _use_new_zipfile_serialization=zipped)
    assert_same_as_torch(io.load(tmp_path / "weights.pth"), state)


def test_a_model_of_torch_with_the_versions_of_its_modules(tmp_path: Path) -> None:
    torch = torch_or_skip()
    network = torch.nn.BatchNorm2d(3)  # its state dict is ordered and has an attribute _metadata
    for protocol in (2, 3, 4, 5):
        torch.save(network.state_dict(), tmp_path / "weights.pt", pickle_protocol=protocol)
        assert_same_as_torch(io.load(tmp_path / "weights.pt"), dict(network.state_dict()))


def test_torch_reads_what_is_saved(tmp_path: Path) -> None:
    torch = torch_or_skip()
    expected = native()
    io.save(tmp_path / "weights.pth", expected)
    for options in ({"weights_only": True}, {"weights_only": True, "mmap": True}):
        loaded = torch.load(tmp_path / "weights.pth", **options)
        assert list(loaded) == list(expected)
        for name, array in expected.items():
            np.testing.assert_array_equal(loaded[name].numpy(), array)


def test_big_endian_checkpoints(tmp_path: Path) -> None:
    members = {
        "x/data.pkl": checkpoints.state(a=checkpoints.tensor()),
        "x/byteorder": b"big",
        "x/data/0": np.arange(6, dtype=">f4").tobytes(),
    }
    (tmp_path / "big.pt").write_bytes(checkpoints.archive(members))
    assert io.load(tmp_path / "big.pt")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_legacy_checkpoints_without_torch(tmp_path: Path) -> None:
    values = struct.pack("<q6f", 6, *range(6))
    (tmp_path / "old.pth").write_bytes(checkpoints.legacy(storages=values))
    assert io.load(tmp_path / "old.pth")["a"].tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_format_error_tells_file_tensor_and_rule(tmp_path: Path) -> None:
    path = tmp_path / "bad.pt"
    path.write_bytes(checkpoints.checkpoint(checkpoints.state(**{"conv.weight": checkpoints.tensor(offset=1)})))
    with pytest.raises(cnnkern.FormatError) as caught:
        io.load(path)
    error = caught.value
    assert (error.file, error.tensor) == (str(path), "conv.weight")
    assert error.rule == "reaches element 6 of a storage of 6"
    assert str(error) == f"{path}: tensor 'conv.weight': {error.rule}"
    assert isinstance(error, ValueError)
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.tensor) == (str(error), "conv.weight")


def test_files_that_are_not_there_are_errors_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        io.load(tmp_path / "absent.pth")


def test_pipes_and_folders_do_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pth")
    for path in (tmp_path / "pipe.pth", tmp_path, Path("/dev/zero")):
        with pytest.raises(cnnkern.FormatError, match="not a regular file"):
            io.load(path)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (b"", "an empty file"),
        (b"<!doctype html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n\0\0", "HDF5"),
        (b"\x93NUMPY\x01\x00v\x00", "single array"),
        (b"\x1f\x8b\x08\0", "gzip"),
        (b"hello", "begins with 68 65 6c 6c 6f"),
    ],
)
def test_other_kinds_of_files_are_told_apart(head: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "weights.pth").write_bytes(head)
    with pytest.raises(cnnkern.FormatError, match=message):
        io.load(tmp_path / "weights.pth")


class TestSave:
    def test_a_failure_leaves_the_old_file_and_nothing_else(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "weights.npz"
        io.save(path, {"a": np.ones(3)})
        before = path.read_bytes()

        def fail(*arguments: object) -> None:
            raise OSError(28, "No space left on device")

        for target in ("os.fsync", "os.replace", "cnnkern.io.npz.save"):
            with monkeypatch.context() as patch:
                patch.setattr(target, fail)
                with pytest.raises(OSError, match="No space left"):
                    io.save(path, {"a": np.zeros(3)})
            assert path.read_bytes() == before
            assert os.listdir(tmp_path) == ["weights.npz"]

    def test_permissions_and_links_stay(self, tmp_path: Path) -> None:
        path, link = tmp_path / "weights.pt", tmp_path / "link.pt"
        io.save(path, {"a": np.ones(3)})
        mask = os.umask(0)
        os.umask(mask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
        path.chmod(0o640)
        link.symlink_to(path.name)
        io.save(link, {"a": np.zeros(3)})
        assert link.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o640
        assert not io.load(path)["a"].any()

    def test_readers_never_see_half_a_file(self, tmp_path: Path) -> None:
        path = tmp_path / "weights.npz"
        io.save(path, {"a": np.zeros(50_000)})
        done = threading.Event()

        def write() -> None:
            for value in range(30):
                io.save(path, {"a": np.full(50_000, float(value))})
            done.set()

        writer = threading.Thread(target=write)
        writer.start()
        while not done.is_set():
            found = io.load(path)["a"]
            assert (found == found[0]).all()
        writer.join()

    @pytest.mark.parametrize(
        ("name", "mapping", "error", "message"),
        [
            ("weights.h5", {"a": np.ones(1)}, ValueError, r"must end in \.npz, \.safetensors, \.pth, \.pt"),
            ("weights.npz", [np.ones(1)], TypeError, "expected a mapping"),
            ("weights.npz", {1: np.ones(1)}, TypeError, "a name must be a text, found 1"),
            ("weights.npz", {"": np.ones(1)}, ValueError, "cannot be the name"),
            ("weights.npz", {"../a": np.ones(1)}, ValueError, "cannot be the name"),
            ("weights.npz", {"/a": np.ones(1)}, ValueError, "cannot be the name"),
            ("weights.npz", {"a\nb": np.ones(1)}, ValueError, "cannot be the name"),
            ("weights.npz", {"a": np.array(["x"])}, TypeError, "a must hold plain numbers, found <U1"),
            ("weights.npz", {"a": np.array([None])}, TypeError, "found object"),
            ("weights.npz", {"a": np.ones(1, np.complex64)}, TypeError, "found complex64"),
        ],
    )
    def test_what_cannot_be_saved(
        self, name: str, mapping: Any, error: type[Exception], message: str, tmp_path: Path
    ) -> None:
        with pytest.raises(error, match=f"save: .*{message}"):
            io.save(tmp_path / name, mapping)
        assert os.listdir(tmp_path) == []

    def test_a_model_is_no_mapping(self, tmp_path: Path) -> None:
        with pytest.raises(TypeError, match=r"found LeNet5; use model.state_dict\(\)"):
            io.save(tmp_path / "weights.pt", models.lenet5())  # type: ignore[arg-type]


def test_without_the_library_safetensors_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "safetensors", None)
    (tmp_path / "weights.safetensors").write_bytes(checkpoints.safetensors("{}"))
    for call in (lambda p: io.load(p), lambda p: io.save(p, {"a": np.ones(2)})):
        with pytest.raises(ImportError, match=r"pip install 'cnnkern\[io\]'"):
            call(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loading_costs_little_more_than_the_arrays(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix_or_skip(suffix)}"
    io.save(path, {f"layer{i}": np.full((256, 1024), i, np.float32) for i in range(16)})
    io.load(path)  # imports what it needs
    tracemalloc.start()
    try:
        found = io.load(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    size = sum(array.nbytes for array in found.values())
    assert size == 16 << 20 and peak < 1.25 * size
