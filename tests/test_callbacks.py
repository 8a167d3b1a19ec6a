# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks of `fit`: the order of events, the history, early stopping, progress, tables, events, NaN."""

from __future__ import annotations

import csv
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkern import functional, models, nn, train

RNG = np.random.default_rng(11)
X = RNG.standard_normal((50, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)


def small() -> Any:
    return models.mlp(6, (16,), 2, activation="tanh", seed=0)


def fitted(model: Any, **options: Any) -> train.History:
    settings = {"epochs": 2, "batch_size": 16, "optimizer": train.SGD(0.1, 0.9), "seed": 3, "progress": False}
    return train.fit(model, (X, Y), **{**settings, **options})


class Recorder(train.Callback):
    def __init__(self) -> None:
        self.events: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            self.events.append(name)
        return super().__getattribute__(name)


def test_events_come_in_order() -> None:
    recorder = Recorder()
    fitted(small(), epochs=1, batch_size=25, callbacks=[recorder], validation_data=(X, Y))
    batch = ["on_train_batch_begin", "on_train_batch_end"]
    test = ["on_test_begin", "on_test_end"]
    assert recorder.events == [
        "on_train_begin", "on_epoch_begin", *batch, *batch, *test, "on_epoch_end", "on_checkpoint", "on_train_end"
    ]  # fmt: skip
    with pytest.raises(TypeError, match="expected Callback objects, found str"):
        fitted(small(), callbacks=["early"])


def test_history() -> None:
    history = fitted(small(), epochs=3, validation_data=(X, Y), metrics=["accuracy", "top_2"])
    assert history.epoch == [0, 1, 2]
    assert set(history.history) == {"loss", "accuracy", "top_2", "val_loss", "val_accuracy", "val_top_2"}
    assert history.history["top_2"] == [1.0, 1.0, 1.0] and history.history["loss"][2] < history.history["loss"][0]
    assert "3 epochs" in repr(history)


class Script(train.Callback):
    """Replaces the logged figure by a given sequence."""

    def __init__(self, values: list[float]) -> None:
        self.values = values

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]


@pytest.mark.parametrize(
    ("options", "values", "stopped", "best"),
    [
        ({"mode": "min"}, [3, 2, 2, 1], 2, 1),
        ({"mode": "min", "patience": 2}, [3, 2, 2, 1, 1, 1, 1], 5, 3),
        ({"mode": "auto"}, [1, 2, 3, 2], 3, 2),
        ({"mode": "min", "min_delta": 0.5}, [3, 2, 1.7, 1.6], 2, 1),
        ({"mode": "min", "patience": 1, "start_from_epoch": 2}, [1, 2, 4, 3, 3], 4, 3),
        ({"mode": "max", "baseline": 5, "patience": 2}, [1, 2, 3], 1, None),
        ({"mode": "min"}, [3, float("nan"), 1], 1, 0),
        ({"mode": "min"}, [4, 3, 2, 1], None, 3),
    ],
)
def test_early_stopping(options: dict[str, Any], values: list[float], stopped: int | None, best: int | None) -> None:
    stopping = train.EarlyStopping("figure", **options)
    history = fitted(small(), epochs=len(values), callbacks=[Script(values), stopping])
    assert stopping.stopped_epoch == stopped and stopping.best_epoch == best
    assert len(history.epoch) == (len(values) if stopped is None else stopped + 1)


def test_the_best_weights_come_back() -> None:
    states: list[Any] = []

    class Keep(train.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            states.append(self.model.state_dict())

    model = small()
    stopping = train.EarlyStopping("figure", mode="min", patience=2, restore_best_weights=True)
    fitted(model, epochs=9, callbacks=[Script([5, 4, 6, 7, 8, 9, 9, 9, 9]), Keep(), stopping])
    assert len(states) == 4
    for name, array in model.state_dict().items():
        np.testing.assert_array_equal(array, states[1][name])
    with pytest.raises(ValueError, match="'val_loss' is not logged; there are loss, accuracy"):
        fitted(model, callbacks=[train.EarlyStopping()])


def test_progress_by_tqdm_and_by_lines(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tqdm")
    fitted(small(), progress=True)
    shown = capsys.readouterr()
    assert "epoch 2/2: 100%" in shown.err and "accuracy" in shown.err and not shown.out
    monkeypatch.setitem(sys.modules, "tqdm", None)
    fitted(small(), progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and lines[1].startswith("epoch 2/2: loss 0.")


# --- Where the numbers end ----------------------------------------------------------------------------------------


class Poison(nn.Module):
    """log of its input: NaN below 0, -inf at 0."""

    def forward(self, input: Any) -> Any:
        return functional.log(input)


def terminated(model: Any, **options: Any) -> str:
    before = model.state_dict()
    with pytest.raises(FloatingPointError) as caught:
        fitted(model, callbacks=[train.TerminateOnNaN()], **{"epochs": 1, "optimizer": train.SGD(0.0), **options})
    for name, array in model.state_dict().items():
        if "running" in name or "num_batches" in name or options.get("optimizer") is None:
            np.testing.assert_array_equal(array, before[name])
    return str(caught.value)


def test_the_first_layer_that_is_not_finite_is_named() -> None:
    model = nn.Sequential(
        nn.Linear(6, 8, rng=0), nn.BatchNorm1d(8), nn.Sequential(nn.ReLU(), Poison()), nn.Linear(8, 2)
    )
    message = terminated(model)
    assert message.startswith("TerminateOnNaN: the loss is nan in batch 1 of epoch 1; ")
    assert "the first layer whose output is not finite is 2.1 (Poison). The model has" in message
    plain = small()
    dict(plain.named_parameters())["3.weight"][1, 2] = np.inf
    message = terminated(plain)
    assert "is 3 (Linear), and so is its parameter 3.weight" in message


def test_an_exploding_training_leaves_finite_weights() -> None:
    model = nn.Sequential(nn.Linear(6, 8, rng=0), nn.Linear(8, 1, rng=1))
    options: dict[str, Any] = {"loss": "mse", "metrics": [], "epochs": 50, "optimizer": train.SGD(1e3)}
    with pytest.raises(
        FloatingPointError, match=r"first layer whose output is not finite is \d \(Linear\)|loss function"
    ):
        train.fit(model, (X, X[:, :1]), progress=False, seed=0, callbacks=[train.TerminateOnNaN()], **options)
    assert all(np.isfinite(array).all() for array in model.parameters())


def test_input_and_loss_are_named_too() -> None:
    bad = X.copy()
    bad[3, 2] = np.nan
    with pytest.raises(FloatingPointError, match="the input of the model is not finite"):
        train.fit(small(), (bad, Y), progress=False, seed=0, callbacks=[train.TerminateOnNaN()])
    with pytest.raises(FloatingPointError, match="all outputs are finite: it is the loss function"):
        fitted(
            small(),
            loss=lambda y, t: functional.cross_entropy(functional.log(functional.negative(functional.square(y))), t),
            callbacks=[train.TerminateOnNaN()],
        )


# --- Tables and events --------------------------------------------------------------------------------------------


def table(path: Path, separator: str = ",") -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=separator))


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    history = fitted(small(), epochs=3, callbacks=[train.CSVLogger(path)])
    rows = table(path)
    assert [row["epoch"] for row in rows] == ["0", "1", "2"]
    assert [float(row["loss"]) for row in rows] == history.history["loss"]
    fitted(small(), epochs=1, callbacks=[train.CSVLogger(path, append=True)])
    assert [row["epoch"] for row in table(path)] == ["0", "1", "2", "0"]
    fitted(small(), epochs=1, callbacks=[train.CSVLogger(path, separator=";")])
    assert len(table(path, ";")) == 1


def test_a_resumed_table_has_every_epoch_once(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    callbacks = [train.CSVLogger(path), train.ModelCheckpoint(tmp_path / "run.ckpt", every=2)]
    expected = fitted(small(), epochs=6, callbacks=[]).history["loss"]
    fitted(small(), epochs=3, callbacks=callbacks)  # the checkpoint is of epoch 2: its third row is written again
    fitted(small(), epochs=6, callbacks=callbacks, resume=tmp_path / "run.ckpt")
    assert [float(row["loss"]) for row in table(path)] == expected


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboardX")
    from tensorboardX import proto

    images = np.random.default_rng(0).random((20, 1, 8, 8), np.float32)
    model = models.course_cnn(image_size=8, seed=0)
    board = train.TensorBoard(tmp_path, histograms=2, images=1, batches=1)
    history = train.fit(
        model, (images, Y[:20]), (images, Y[:20]), epochs=3, batch_size=10, callbacks=[board], progress=False, seed=0
    )
    (path,) = tmp_path.iterdir()
    data, events, at = path.read_bytes(), [], 0
    while at < len(data):  # length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", data, at)
        events.append(proto.event_pb2.Event.FromString(data[at + 12 : at + 12 + length]))
        at += length + 16
    values = [(value.tag, event.step, value) for event in events for value in event.summary.value]
    scalars = {(tag, step): value.simple_value for tag, step, value in values if value.HasField("simple_value")}
    for epoch in range(3):
        for tag, name in (("train/loss", "loss"), ("validation/accuracy", "val_accuracy")):
            assert scalars[tag, epoch] == pytest.approx(history.history[name][epoch])
        assert scalars["learning_rate", epoch] == pytest.approx(1e-3)
    assert [step for tag, step in scalars if tag == "batch/loss"] == [1, 2, 3, 4, 5, 6]
    histograms = {(tag, step) for tag, step, value in values if value.HasField("histo")}
    assert ("conv1.weight", 0) in histograms and ("fc.bias", 2) in histograms and ("fc.bias", 1) not in histograms
    pictures = {(tag, step) for tag, step, value in values if value.HasField("image")}
    assert any(tag.startswith("inputs") for tag, _ in pictures)
    assert any(tag.startswith("conv1.weight") for tag, _ in pictures)
    (text,) = [value for tag, _, value in values if tag.startswith("model")]
    assert b"Conv2d(1, 16" in text.tensor.string_val[0]


def test_tensorboard_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'cnnkern\[tensorboard\]'"):
        train.TensorBoard(tmp_path)
