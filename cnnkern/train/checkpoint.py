# SPDX-License-Identifier: BSD-3-Clause
"""Checkpoints: files from which a training goes on with the same bits.

A checkpoint is an archive of arrays (.npz) with a description in JSON beside them; a checksum guards each array. It is
written beside its place, brought to the disk and then put there: whatever happens, the old file or the new one is there
as a whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnkern import io
from cnnkern.functional import _check as check
from cnnkern.io import FormatError, npz
from cnnkern.io._archive import Archive
from cnnkern.io._source import Source
from cnnkern.io._write import atomic, discard_leftovers
from cnnkern.train.callback import Callback, Logs, improves, lower_is_better, monitored

Path = str | os.PathLike[str]
_FORMAT = "cnnkern checkpoint 1"
_DESCRIPTION = "checkpoint.json"
_TRAINING = {"epoch": int, "seed": int, "stop": bool, "model": dict, "optimizer": dict, "callbacks": dict}


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state: mappings and lists of arrays, numbers, texts and None, in any depth.

    Raises:
        TypeError: it holds something else.
        OSError: the file cannot be written; an older one of this name is untouched.
    """
    arrays: dict[str, Any] = {}
    description = {"format": _FORMAT, "state": _described(state, "", arrays)}
    text = np.frombuffer(json.dumps(description).encode("utf-8"), np.uint8)
    target = os.fspath(path)
    with atomic(target) as temporary, open(temporary, "wb") as stream:
        npz.save(stream, {_DESCRIPTION: text, **arrays})


def _described(value: Any, path: str, arrays: dict[str, Any]) -> Any:
    """`value` as JSON, its arrays moved into `arrays`."""
    if isinstance(value, np.ndarray):
        name = path
        while name in arrays:
            name += "'"
        arrays[name] = np.ascontiguousarray(value).reshape(value.shape)
        return {"array": name}
    if isinstance(value, Mapping):
        return {
            "map": [[key, _described(each, f"{path}/{key}" if path else key, arrays)] for key, each in value.items()]
        }
    if isinstance(value, list | tuple):
        return {"list": [_described(each, f"{path}/{i}", arrays) for i, each in enumerate(value)]}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"save_checkpoint: {path} must hold arrays, numbers and texts, found {type(value).__name__}")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """What `ModelCheckpoint` saved: "epoch" (the next one), "seed", "stop", "model", "optimizer", "callbacks".

    Raises:
        FormatError: the file is damaged, truncated, or no checkpoint.
        OSError: it is not there or cannot be read.
    """
    with Source(path) as source:
        if source.head(4) != b"PK\3\4":
            raise source.error("no checkpoint of cnnkern")
        arrays = npz.load(source, Archive(source))
        text = arrays.pop(_DESCRIPTION, None)
        if text is None or text.dtype != np.uint8 or text.ndim != 1:
            raise source.error("no checkpoint of cnnkern: only arrays, as of saved weights")
        try:
            description = json.loads(text.tobytes().decode("utf-8"))
            if not isinstance(description, dict) or description.get("format") != _FORMAT:
                raise source.error(f"expected format {_FORMAT!r}")
            state: dict[str, Any] = _restored(description["state"], arrays)
        except FormatError:
            raise
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise source.error(f"a damaged description: {error!r}") from error
        for name, kind in _TRAINING.items():
            if not isinstance(state, dict) or not isinstance(state.get(name), kind):
                raise source.error(f"a checkpoint without {name}")
    return state


def _restored(value: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return arrays[content]
    if kind == "map":
        return {key: _restored(each, arrays) for key, each in content}
    if kind == "list":
        return [_restored(each, arrays) for each in content]
    raise ValueError(f"unknown kind {kind!r}")


class ModelCheckpoint(Callback):
    """Saves the training after epochs, to go on from (`fit(resume=path)`), or the weights alone.

    Args:
        path: of the file; may hold fields such as "{epoch:02d}" (from 1) and "{val_loss:.3f}": a file per epoch.
        monitor: name in the logs, for `save_best_only`.
        save_best_only: save where the monitored figure is the best so far; else every time.
        mode: "min", "max", or "auto": "max" unless the name ends in "loss".
        save_weights_only: a file of weights as `cnnkern.io.save` writes it (.npz, .safetensors, .pth), which the
            builders of models take as `weights=`; else a checkpoint.
        every: epochs from one saving to the next.
    """

    def __init__(
        self,
        path: Path,
        monitor: str = "val_loss",
        save_best_only: bool = False,
        mode: str = "auto",
        save_weights_only: bool = False,
        every: int = 1,
    ) -> None:
        name = "ModelCheckpoint"
        self.path, self.monitor = os.fspath(path), monitor
        self.save_best_only = check.boolean(name, "save_best_only", save_best_only)
        self.save_weights_only = check.boolean(name, "save_weights_only", save_weights_only)
        self.lower_is_better = lower_is_better(name, monitor, mode)
        self.every = check.integer(name, "every", every, 1)
        self._reset()

    def _reset(self) -> None:
        self.best: float | None = None
        self._due = False

    def on_train_begin(self, logs: Logs) -> None:
        self._reset()
        discard_leftovers(self.path)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        self._due = (epoch + 1) % self.every == 0
        if self._due and self.save_best_only:
            value = monitored(self, self.monitor, logs)
            self._due = improves(value, self.best, 0.0, self.lower_is_better)
            self.best = value if self._due else self.best

    def on_checkpoint(self, epoch: int, logs: Logs) -> None:
        if not self._due:
            return
        try:
            path = self.path.format(epoch=epoch + 1, **logs)
        except (KeyError, IndexError, ValueError) as error:
            known = ", ".join(["epoch", *logs])
            raise ValueError(f"ModelCheckpoint: {self.path!r}: no field {error}; there are {known}") from error
        if self.save_weights_only:
            io.save(path, self.model.state_dict())
        else:
            save_checkpoint(path, self.training.state())

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
