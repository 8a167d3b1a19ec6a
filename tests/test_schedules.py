# SPDX-License-Identifier: BSD-3-Clause
"""Learning rates over time against PyTorch's schedulers, and the callbacks that set them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from oracle import torch_or_skip

from cnnkern import models, train
from cnnkern.train import schedule

RNG = np.random.default_rng(11)
X = RNG.standard_normal((50, 6), dtype=np.float32)
Y = (X[:, 0] + X[:, 1] * X[:, 2] > 0).astype(np.int64)

CASES: list[tuple[Any, str, dict[str, Any]]] = [
    (schedule.Step(0.1, 4, 0.5), "StepLR", {"step_size": 4, "gamma": 0.5}),
    (schedule.MultiStep(0.1, [9, 3]), "MultiStepLR", {"milestones": [3, 9]}),
    (schedule.Exponential(0.1, 0.9), "ExponentialLR", {"gamma": 0.9}),
    (schedule.Cosine(0.1, 19, 0.01), "CosineAnnealingLR", {"T_max": 19, "eta_min": 0.01}),
    (schedule.WarmUp(0.1, 5, 0.2), "LinearLR", {"start_factor": 0.2, "total_iters": 5}),
    (schedule.OneCycle(0.1, 20), "OneCycleLR", {"max_lr": 0.1, "total_steps": 20}),
    (schedule.OneCycle(0.1, 20, 0.5, 10, 100), "OneCycleLR",
     {"max_lr": 0.1, "total_steps": 20, "pct_start": 0.5, "div_factor": 10, "final_div_factor": 100}),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "name", "options"), CASES)
@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_rates_are_those_of_pytorch(ours: Any, name: str, options: dict[str, Any]) -> None:
    torch = torch_or_skip()
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
    theirs = getattr(torch.optim.lr_scheduler, name)(optimizer, **options)
    for done in range(20):
        assert ours(done) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-15), done
        optimizer.step()
        if done < 19:
            theirs.step()


def test_the_ends_of_schedules() -> None:
    assert schedule.Cosine(0.1, 10, 0.01)(1000) == 0.01
    assert schedule.OneCycle(0.1, 20)(1000) == pytest.approx(0.1 / 25 / 1e4)
    assert [schedule.WarmUp(0.4, 4)(done) for done in (0, 2, 4, 9)] == pytest.approx([0.1, 0.25, 0.4, 0.4])
    warm = schedule.WarmUp(schedule.Cosine(0.4, 10), 4)
    assert warm(4) == 0.4 and warm(9) == pytest.approx(0.2) and warm(14) == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: schedule.Step(0.1, 0), "Step: every must be .*, found 0"),
        (lambda: schedule.Cosine(-1, 3), "Cosine: lr must be finite, at least 0"),
        (lambda: schedule.WarmUp(0.1, 3, 2.0), "WarmUp: start must be in 0 .. 1, found 2"),
        (lambda: schedule.OneCycle(0.1, 3, 1.5), "OneCycle: rise must be in 0 .. 1"),
        (lambda: train.ReduceLROnPlateau(mode="up"), 'mode must be "auto", "min" or "max"'),
        (lambda: train.ReduceLROnPlateau(factor=2.0), "factor must be in 0 .. 1"),
    ],
)
def test_settings_are_checked(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


class Script(train.Callback):
    """Logs a given sequence as "figure" and keeps the rates."""

    def __init__(self, values: list[float]) -> None:
        self.values, self.rates = values, list[float]()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if batch == 0:
            self.rates.append(self.training.optimizer.lr)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        logs["figure"] = self.values[epoch]


def fitted(epochs: int, callbacks: list[train.Callback], optimizer: Any = None) -> train.History:
    return train.fit(
        models.mlp(6, (16,), 2, seed=0),
        (X, Y),
        epochs=epochs,
        callbacks=callbacks,
        optimizer=optimizer or train.SGD(0.8),
        progress=False,
        seed=0,
    )


@pytest.mark.parametrize(
    ("options", "values"),
    [
        ({"mode": "min", "patience": 1}, [5, 4, 4, 3, 3, 3, 2]),
        ({"mode": "min", "patience": 2, "cooldown": 2}, [5, 5, 5, 5, 5, 5, 5, 5, 5, 5]),
        ({"mode": "max", "patience": 1, "min_lr": 0.3}, [1, 1, 1, 1]),
        ({"mode": "min", "patience": 1, "min_delta": 0.5}, [5, 4.8, 4.7, 4.0, 4.0]),
        ({"mode": "min", "patience": 2}, [float("nan"), 3, float("nan"), float("nan"), float("nan"), 2]),
    ],
)
def test_the_rate_falls_on_a_plateau_as_in_pytorch(options: dict[str, Any], values: list[float]) -> None:
    torch = torch_or_skip()
    script = Script(values)
    history = fitted(len(values), [script, train.ReduceLROnPlateau("figure", factor=0.5, **options)])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.8)
    # PyTorch reduces once more than `patience` epochs are bad, Keras once so many are.
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, threshold_mode="abs", eps=0.0, threshold=options.get("min_delta", 1e-4),
        **{key: value for key, value in options.items() if key not in ("patience", "min_delta")},
        patience=options["patience"] - 1,
    )  # fmt: skip
    expected = []
    for value in values:
        expected.append(optimizer.param_groups[0]["lr"])
        theirs.step(value)
    assert script.rates == pytest.approx(expected)
    assert history.history["lr"] == pytest.approx(expected)


def test_resnets_recipe() -> None:
    """SGD with momentum, learning rate 0.1 divided by 10 when validation stalls."""
    script = Script([9, 8, 8, 8, 7, 7, 7])
    plateau = train.ReduceLROnPlateau("figure", factor=0.1, patience=2, mode="min")
    fitted(7, [script, plateau], train.SGD(0.1, momentum=0.9))
    assert script.rates == pytest.approx([0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_rates_are_set_before_every_epoch() -> None:
    script = Script([0] * 5)
    fitted(5, [train.LearningRateScheduler(schedule.Step(0.4, 2, 0.5)), script])
    assert script.rates == pytest.approx([0.4, 0.4, 0.2, 0.2, 0.1])
    script = Script([0] * 3)
    fitted(3, [train.LearningRateScheduler(lambda epoch, lr: lr / 2 if epoch else lr), script])
    assert script.rates == pytest.approx([0.8, 0.4, 0.2])
    for callback in (train.LearningRateScheduler(schedule.Step(0.4, 2)), train.ReduceLROnPlateau("loss")):
        with pytest.raises(ValueError, match="the optimizer has a schedule of its own"):
            fitted(1, [callback], train.SGD(schedule.Cosine(0.1, 3)))
    with pytest.raises(TypeError, match="schedule must be a function, found float"):
        train.LearningRateScheduler(0.1)  # type: ignore[arg-type]
