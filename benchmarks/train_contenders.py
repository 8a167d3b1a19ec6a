# SPDX-License-Identifier: BSD-3-Clause
"""One contender of train_peers.py in a process of its own: trains one network on one batch when it is told to.

    python benchmarks/train_contenders.py CONTENDER NETWORK BATCH SIZE THREADS

A step is forward, cross-entropy, backward and SGD with momentum, on the same drawn weights, images and labels for all.
Talks in lines of JSON as contenders.py does: first {"first_answer": seconds since the process started, "megabytes":
peak memory, "losses": of the first steps, "version": text}; then milliseconds of steps.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from contenders import age, peak_kilobytes, take_turns

from cnnkern import models

Step = Callable[[], float]
_RATE, _MOMENTUM = 0.01, 0.9
_STEPS = 3  # compared before anything is timed


def _batch(model: Any, batch: int, size: int, classes: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, model.info.input_shape[0], size, size), dtype=np.float32)
    return x, rng.integers(0, classes, batch)


def _cnnkern(model: Any, x: Any, y: Any, threads: int) -> tuple[Step, str]:
    import cnnkern
    from cnnkern import train

    cnnkern.set_num_threads(threads)
    trainer = train.Trainer(model, optimizer=train.SGD(_RATE, _MOMENTUM))
    return lambda: trainer.step(x, y), cnnkern.__version__


def _torch(model: Any, x: Any, y: Any, threads: int, kind: str) -> tuple[Step, str]:
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from torch_graph import as_module, traced
    from torch_ops import FORWARD

    # Its own dropout: the oracle's draws cnnkern's numbers in NumPy, which takes time and cannot be compiled.
    FORWARD["dropout"] = lambda t, x, rng, attrs: t.nn.functional.dropout(x, attrs["p"])
    torch.set_num_threads(threads)
    module = as_module(torch, model, traced(model, [x.shape]))
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    if kind == "channels_last":
        module, images = (value.to(memory_format=torch.channels_last) for value in (module, images))
    optimizer = torch.optim.SGD(module.parameters(), lr=_RATE, momentum=_MOMENTUM)
    forward = torch.compile(module) if kind == "compile" else module

    def step() -> float:
        optimizer.zero_grad(set_to_none=True)
        loss = torch.nn.functional.cross_entropy(forward(images), labels)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step, torch.__version__


CONTENDERS: dict[str, Callable[[Any, Any, Any, int], tuple[Step, str]]] = {
    "cnnkern": _cnnkern,
    "torch": lambda *arguments: _torch(*arguments, "eager"),
    "torch channels_last": lambda *arguments: _torch(*arguments, "channels_last"),
    "torch.compile": lambda *arguments: _torch(*arguments, "compile"),
}


def main() -> None:
    name, network = sys.argv[1:3]
    batch, size, classes, threads = map(int, sys.argv[3:])
    model = models.get(network)(num_classes=classes, seed=0).train()
    step, version = CONTENDERS[name](model, *_batch(model, batch, size, classes), threads)
    losses = [step()]
    first = age()
    losses += [step() for _ in range(_STEPS - 1)]
    say = {"first_answer": first, "megabytes": peak_kilobytes() / 1024, "losses": losses, "version": version}
    print(json.dumps(say), flush=True)
    take_turns(step)


if __name__ == "__main__":
    main()
