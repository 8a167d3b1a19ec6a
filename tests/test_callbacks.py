# SPDX-License-Identifier: BSD-3-Clause
"""Callbacks of `fit`: the order of events, the history, early stopping, the progress that is shown."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

from cnnkern import models, train

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
        "on_train_begin", "on_epoch_begin", *batch, *batch, *test, "on_epoch_end", "on_train_end"
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
