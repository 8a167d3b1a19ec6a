# SPDX-License-Identifier: BSD-3-Clause
"""Learning rates over time: functions of the steps (or epochs) that are done.

`SGD(lr=schedule.Cosine(0.1, 10_000))` follows one step by step, `LearningRateScheduler(schedule.Step(0.1, 30))` epoch
by epoch. They keep no state: a resumed training goes on with the same rates.
"""

from __future__ import annotations

import bisect
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

from cnnkern.functional import _check as check
from cnnkern.train.callback import Callback, Logs


class Schedule:
    """Base class: `schedule(done)` is the learning rate after `done` steps or epochs."""

    def __call__(self, done: int) -> float:
        raise NotImplementedError


def _positive(name: str, argument: str, value: Any) -> int:
    return check.integer(name, argument, value, 1)


class Step(Schedule):
    """lr gamma^floor(done / every): PyTorch's StepLR."""

    def __init__(self, lr: float, every: int, gamma: float = 0.1) -> None:
        self.lr, self.every = check.finite("Step", "lr", lr, 0.0), _positive("Step", "every", every)
        self.gamma = check.finite("Step", "gamma", gamma, 0.0)

    def __call__(self, done: int) -> float:
        return self.lr * float(self.gamma ** (done // self.every))


class MultiStep(Schedule):
    """lr times gamma for every milestone that is reached: PyTorch's MultiStepLR."""

    def __init__(self, lr: float, milestones: Sequence[int], gamma: float = 0.1) -> None:
        self.lr = check.finite("MultiStep", "lr", lr, 0.0)
        self.milestones = sorted(check.integer("MultiStep", "milestones", each, 0) for each in milestones)
        self.gamma = check.finite("MultiStep", "gamma", gamma, 0.0)

    def __call__(self, done: int) -> float:
        return self.lr * float(self.gamma ** bisect.bisect_right(self.milestones, done))


class Exponential(Schedule):
    """lr gamma^done: PyTorch's ExponentialLR."""

    def __init__(self, lr: float, gamma: float) -> None:
        self.lr = check.finite("Exponential", "lr", lr, 0.0)
        self.gamma = check.finite("Exponential", "gamma", gamma, 0.0)

    def __call__(self, done: int) -> float:
        return self.lr * float(self.gamma**done)


class Cosine(Schedule):
    """From lr to `lowest` along half a cosine over `total` (Loshchilov and Hutter, 2017), then `lowest`."""

    def __init__(self, lr: float, total: int, lowest: float = 0.0) -> None:
        self.lr, self.total = check.finite("Cosine", "lr", lr, 0.0), _positive("Cosine", "total", total)
        self.lowest = check.finite("Cosine", "lowest", lowest, 0.0)

    def __call__(self, done: int) -> float:
        return _along_cosine(self.lr, self.lowest, min(done / self.total, 1.0))


class WarmUp(Schedule):
    """The first `length` rates rise evenly from `start` lr to lr (Goyal et al., 2017), then follows `after`.

    Args:
        after: a schedule, which counts from the end of the warm-up, or a number: constant.
        length: how long the rise takes.
        start: share of the rate to begin with; by default 1 / length, so that no step has the rate 0.
    """

    def __init__(self, after: float | Callable[[int], float], length: int, start: float | None = None) -> None:
        self.length = _positive("WarmUp", "length", length)
        self.after = after if callable(after) else check.finite("WarmUp", "after", after, 0.0)
        self.start = 1.0 / self.length if start is None else check.finite("WarmUp", "start", start, 0.0, 1.0)

    def __call__(self, done: int) -> float:
        at = max(done - self.length, 0)
        rate = self.after(at) if callable(self.after) else self.after
        return rate * (self.start + (1.0 - self.start) * min(done / self.length, 1.0))


class OneCycle(Schedule):
    """Up to `highest` and down again, both along half a cosine, in `total` steps: PyTorch's OneCycleLR (Smith, 2018).

    Begins with highest / div_factor, is highest after `rise` of the steps, ends with highest / div_factor /
    final_div_factor in step total - 1 and stays there.
    """

    def __init__(
        self,
        highest: float,
        total: int,
        rise: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
    ) -> None:
        name = "OneCycle"
        self.highest, self.total = check.finite(name, "highest", highest, 0.0), _positive(name, "total", total)
        self.rise = check.finite(name, "rise", rise, 0.0, 1.0)
        self.first = self.highest / check.finite(name, "div_factor", div_factor, 1e-12)
        self.last = self.first / check.finite(name, "final_div_factor", final_div_factor, 1e-12)

    def __call__(self, done: int) -> float:
        top, end = self.rise * self.total - 1.0, self.total - 1.0
        if done < top:
            return _along_cosine(self.first, self.highest, done / top)
        return _along_cosine(self.highest, self.last, min((done - top) / (end - top), 1.0) if end > top else 1.0)


def _along_cosine(first: float, last: float, share: float) -> float:
    return last + (first - last) * (1.0 + math.cos(math.pi * share)) / 2.0


class LearningRateScheduler(Callback):
    """Sets the learning rate before every epoch.

    Args:
        schedule: a schedule, or any function epoch -> rate or (epoch, present rate) -> rate; epochs from 0.
    """

    sets_learning_rate = True

    def __init__(self, schedule: Callable[..., float]) -> None:
        if not callable(schedule):
            raise TypeError(f"LearningRateScheduler: schedule must be a function, found {type(schedule).__name__}")
        self.schedule = schedule
        parameters = inspect.signature(schedule).parameters.values()
        positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
        self._takes_rate = len([each for each in positional if each.default is each.empty]) > 1

    def on_train_begin(self, logs: Logs) -> None:
        if self.training.optimizer.schedule is not None:
            raise ValueError("LearningRateScheduler: the optimizer has a schedule of its own")

    def on_epoch_begin(self, epoch: int, logs: Logs) -> None:
        optimizer = self.training.optimizer
        rate = self.schedule(epoch, optimizer.lr) if self._takes_rate else self.schedule(epoch)
        optimizer.lr = check.finite("LearningRateScheduler", "the learning rate", rate, 0.0)
