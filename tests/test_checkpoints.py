# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: what is saved comes back; damaged files, full disks and killed runs lose nothing."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cnnkern
from cnnkern import io, models, nn, train

RNG = np.random.default_rng(11)
X = RNG.standard_normal((50, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)


def small(seed: int = 0) -> Any:
    model = models.mlp(6, (16,), 2, activation="tanh", dropout=0.3, seed=seed)
    return nn.Sequential(model, nn.BatchNorm1d(2))


def fitted(model: Any, **options: Any) -> train.History:
    settings = {"epochs": 4, "batch_size": 16, "optimizer": train.Adam(0.01), "seed": 3, "progress": False}
    return train.fit(model, (X, Y), **{**settings, **options})


def assert_same_bits(first: nn.Module, second: nn.Module) -> None:
    state = second.state_dict()
    for name, array in first.state_dict().items():
        np.testing.assert_array_equal(array, state[name], err_msg=name)


# --- The file -----------------------------------------------------------------------------------------------------


def test_a_state_of_any_depth_comes_back(tmp_path: Path) -> None:
    state = {
        "epoch": 3, "seed": 0, "stop": False, "optimizer": {}, "callbacks": {"a": [1.5, None, float("inf"), "x", (2,)]},
        "model": {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "": np.array(7), "e": np.zeros((0, 2), np.int8)},
    }  # fmt: skip
    train.save_checkpoint(tmp_path / "a.ckpt", state)
    found = train.load_checkpoint(tmp_path / "a.ckpt")
    assert found["callbacks"] == {"a": [1.5, None, float("inf"), "x", [2]]} and found["epoch"] == 3
    for name, array in state["model"].items():
        np.testing.assert_array_equal(found["model"][name], array)
        assert found["model"][name].dtype == array.dtype
    with pytest.raises(TypeError, match=r"save_checkpoint: model/x must hold .* found set"):
        train.save_checkpoint(tmp_path / "a.ckpt", {"model": {"x": {1}}})
    assert train.load_checkpoint(tmp_path / "a.ckpt")["epoch"] == 3


def test_damaged_and_truncated_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.ckpt"
    fitted(small(), epochs=1, callbacks=[train.ModelCheckpoint(path)])
    whole = path.read_bytes()
    for size in (0, 3, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(io.FormatError, match=r"run\.ckpt"):
            fitted(small(), resume=path)
    rng = np.random.default_rng(0)
    silent = 0
    for place in rng.integers(0, len(whole), 60):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        try:
            found = train.load_checkpoint(path)
        except io.FormatError:
            continue
        # Some bits of a zip file say nothing: dates, for example. Whatever is read must be what was written.
        path.write_bytes(whole)
        for name, array in train.load_checkpoint(path)["model"].items():
            np.testing.assert_array_equal(found["model"][name], array)
        silent += 1
    assert silent < 20


def test_other_files_and_other_models_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    fitted(small(), epochs=1, callbacks=[train.ModelCheckpoint(path)])
    with pytest.raises(ValueError, match="made with seed 3, found seed 4"):
        fitted(small(), resume=path, seed=4)
    with pytest.raises(ValueError, match="load_state_dict: Linear does not fit"):
        fitted(nn.Linear(6, 2), resume=path)
    with pytest.raises(ValueError, match=r"SGD: state of .* found"):
        fitted(small(), resume=path, optimizer=train.SGD(0.1))
    io.save(path, small().state_dict())
    with pytest.raises(io.FormatError, match="no checkpoint of cnnkern: only arrays, as of saved weights"):
        fitted(small(), resume=path)
    path.write_text("weights")
    with pytest.raises(io.FormatError, match="no checkpoint of cnnkern"):
        fitted(small(), resume=path)


# --- ModelCheckpoint and resuming ---------------------------------------------------------------------------------


class Script(train.Callback):
    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]


def test_best_and_last_epochs(tmp_path: Path) -> None:
    model = small()
    best = train.ModelCheckpoint(tmp_path / "best.npz", "figure", True, "max", save_weights_only=True)
    last = train.ModelCheckpoint(tmp_path / "last.ckpt", every=2)
    each = train.ModelCheckpoint(tmp_path / "{epoch:02d}-{figure:.1f}.ckpt")
    states = []

    class Keep(train.Callback):
        def on_checkpoint(self, epoch: int, logs: dict[str, float]) -> None:
            states.append(self.model.state_dict())

    fitted(model, epochs=5, callbacks=[Script([1, 3, float("nan"), 2, 3]), best, last, each, Keep()])
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["01-1.0.ckpt", "02-3.0.ckpt", "03-nan.ckpt", "04-2.0.ckpt", "05-3.0.ckpt", "best.npz", "last.ckpt"]
    for name, array in io.load(tmp_path / "best.npz").items():
        np.testing.assert_array_equal(array, states[1][name])
    assert train.load_checkpoint(tmp_path / "last.ckpt")["epoch"] == 4
    with pytest.raises(ValueError, match=r"no field 'fig'; there are epoch, loss, accuracy"):
        fitted(model, epochs=1, callbacks=[train.ModelCheckpoint(tmp_path / "{fig}")])


@pytest.mark.parametrize("first_epochs", [1, 3])
def test_a_resumed_training_ends_with_the_same_bits(first_epochs: int, tmp_path: Path) -> None:
    """Weights, statistics, optimizer, rate, early stopping and history, saved in a callback before the others."""

    def callbacks() -> list[train.Callback]:
        return [
            train.ModelCheckpoint(path),
            train.ModelCheckpoint(tmp_path / "best.npz", "loss", True, save_weights_only=True),
            train.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=0.05),
            train.EarlyStopping("loss", min_delta=0.02, patience=5, restore_best_weights=True),
        ]

    path = tmp_path / "whole.ckpt"
    whole = small()
    expected = fitted(whole, epochs=9, callbacks=callbacks())
    path = tmp_path / "run.ckpt"
    fitted(small(), epochs=first_epochs, callbacks=callbacks(), resume=path)
    with cnnkern.threads(1):
        resumed = small(seed=5)
        history = fitted(resumed, epochs=9, callbacks=callbacks(), resume=path, seed=None, optimizer=train.Adam(0.3))
    assert history.history == expected.history and history.epoch == expected.epoch
    assert len(set(history.history["lr"])) > 1
    assert_same_bits(whole, resumed)
    again = fitted(small(seed=6), epochs=9, callbacks=callbacks(), resume=path)
    assert again.history == expected.history


# --- Full disks and killed runs -----------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_full_disk_loses_no_checkpoint(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.ckpt"
    model = small()
    fitted(model, epochs=1, callbacks=[train.ModelCheckpoint(path)])
    saved = path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.fspath(path))

    if call == "write":
        monkeypatch.setattr("zipfile._ZipWriteFile.write", full)
    else:
        monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match=r"No space left on device: .*run.ckpt"):
        fitted(model, callbacks=[train.ModelCheckpoint(path)], resume=path)
    monkeypatch.undo()
    assert path.read_bytes() == saved and os.listdir(tmp_path) == ["run.ckpt"]
    assert train.load_checkpoint(path)["epoch"] == 1


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """The largest file that a process may write is set below the size of a checkpoint."""
    script = f"""
        import os, resource, signal, sys
        sys.path.insert(0, {os.fspath(Path(__file__).parent)!r})
        from test_checkpoints import fitted, small, train
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        fitted(small(), epochs=1, callbacks=[train.ModelCheckpoint("run.ckpt")])
        size = os.path.getsize("run.ckpt")
        resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, size // 2))
        try:
            fitted(small(), callbacks=[train.ModelCheckpoint("run.ckpt")], resume="run.ckpt")
        except OSError as error:
            print(error.strerror, os.listdir(), train.load_checkpoint("run.ckpt")["epoch"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"{os.strerror(errno.EFBIG)} ['run.ckpt'] 1\n", done.stderr
    assert resource.RLIMIT_FSIZE is not None


# Forks a child for every run, so that a run begins in a millisecond; children are killed and started again.
_KILLED = """
import os, random, signal, sys, time
sys.path.insert(0, {tests!r})
from test_checkpoints import fitted, small, train
import cnnkern

def run(threads):
    with cnnkern.threads(threads):
        model = small()
        fitted(model, epochs=5, batch_size=4, resume="run.ckpt", callbacks=[
            train.ModelCheckpoint("run.ckpt"), train.ReduceLROnPlateau("loss", 0.5, 1, min_delta=0.05)])
        train.save_checkpoint("done.part", {{"model": model.state_dict()}})
        os.replace("done.part", "done.ckpt")

def child(threads):
    number = os.fork()
    if number == 0:
        try:
            run(threads)
        finally:
            os._exit(1 if sys.exc_info()[0] else 0)
    return number

chance = random.Random(0)
begin = time.perf_counter()
os.waitpid(child(1), 0)
length = time.perf_counter() - begin
os.replace("done.ckpt", "expected.ckpt")
os.unlink("run.ckpt")
kills = finished = resumed = 0
while kills < {kills}:
    number = child(1 + kills % 4)
    time.sleep(chance.random() * length)
    os.kill(number, signal.SIGKILL)
    if os.waitpid(number, 0)[1] == signal.SIGKILL:
        kills += 1
    if os.path.exists("run.ckpt"):
        epoch = train.load_checkpoint("run.ckpt")["epoch"]
        resumed += 0 < epoch < 5
        if epoch == 5:
            number = child(2)
            assert os.waitpid(number, 0)[1] == 0
            assert open("done.ckpt", "rb").read() == open("expected.ckpt", "rb").read()
            finished += 1
            os.unlink("run.ckpt")
number = child(3)
assert os.waitpid(number, 0)[1] == 0
assert open("done.ckpt", "rb").read() == open("expected.ckpt", "rb").read()
left = [name for name in os.listdir() if name.startswith(".run.ckpt")]
print(kills, finished + 1, resumed, left)
"""


def test_killed_runs_are_resumed_to_the_same_bits(full: bool, tally: Any, tmp_path: Path) -> None:
    """kill -9 at random moments, also while a checkpoint is written; always another number of threads."""
    script = _KILLED.format(tests=os.fspath(Path(__file__).parent), kills=200 if full else 15)
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    kills, finished, resumed, left = done.stdout.split(maxsplit=3)
    assert int(resumed) > 0 and left.strip() == "[]"
    seconds = time.perf_counter() - begin
    tally.notes.append(
        f"test_checkpoints: {kills} runs killed with signal {signal.SIGKILL.value}, {resumed} of them within the "
        f"training, {finished} trainings finished with the same bits, {seconds:.0f} s"
    )


def test_the_bits_are_the_same_in_another_process(tmp_path: Path) -> None:
    script = f"""
        import sys
        sys.path.insert(0, {os.fspath(Path(__file__).parent)!r})
        from test_checkpoints import fitted, io, small
        model = small()
        fitted(model)
        io.save("weights.npz", model.state_dict())
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=tmp_path, check=True, timeout=120)
    model = small()
    fitted(model)
    for name, array in io.load(tmp_path / "weights.npz").items():
        np.testing.assert_array_equal(array, model.state_dict()[name])
