# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern run`: what a network with given weights sees on photographs."""

from __future__ import annotations

import argparse
import inspect
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import cnnkern
from cnnkern import io, models
from cnnkern.cli.report import reason
from cnnkern.data import read_image
from cnnkern.nn import init


class _Stop(Exception):
    """Nothing can be classified; the message says why."""


def run(options: argparse.Namespace) -> int:
    """Print the best classes of each image. Returns 0; 1 if some images cannot be read; 2 if nothing can be done."""
    try:
        network, classes = _network(options)
    except _Stop as stop:
        print(f"cnnkern run: {stop}", file=sys.stderr)
        return 2
    status = 0
    for path in options.images:
        try:
            image = read_image(path, gray=network.gray)
            batch = network.preprocess(image)
        except ImportError as error:
            print(f"cnnkern run: {error}", file=sys.stderr)
            return 2
        except (OSError, ValueError) as error:
            print(f"cnnkern run: {reason(error)}", file=sys.stderr)
            status = 1
            continue
        start = time.perf_counter()
        scores = network.engine(batch)[0]
        milliseconds = (time.perf_counter() - start) * 1e3
        print(f"{path}  ({image.shape[1]} x {image.shape[0]} pixels, {milliseconds:.1f} ms)")
        for index, share in top(scores, options.topk):
            print(f"  {share:>7.2%}  {classes[index]}")
    return status


class _Network:
    """A compiled network and its preprocessing."""

    def __init__(self, name: str, state: Mapping[str, Any], transform_input: bool) -> None:
        builder, info = models.get(name), models.info(name)
        shape = info.batch()
        if info.resize_size is None or isinstance(shape[0], tuple):
            raise _Stop(f"{name} does not take one image: its input is {_shown(info.input_shape)}")
        options: dict[str, Any] = {}
        if transform_input:
            if "transform_input" not in inspect.signature(builder).parameters:
                raise _Stop(f"--transform-input is for googlenet and inception_v3, not for {name}")
            options["transform_input"] = True
        with init.skipped():
            heads = builder().heads
        # Weights that were trained for other classes than the default ones say so themselves.
        for key in (f"{heads[0]}.weight",) if heads else ():
            if key in state and state[key].ndim > 1:
                options["num_classes"] = state[key].shape[0]
        model = builder(weights=state, **options).eval()
        self.preprocess = model.preprocess
        channels = len(self.preprocess.mean)
        self.gray = channels == 1
        self.engine = cnnkern.compile(model, (1, channels, *shape[2:]))
        found = self.engine(np.zeros((1, channels, *shape[2:]), np.float32))
        if not isinstance(found, np.ndarray) or found.ndim != 2:
            kind = getattr(found, "shape", f"a {type(found).__name__}")
            raise _Stop(f"{name} does not classify: its output is {kind}")
        self.classes = found.shape[1]


def _network(arguments: argparse.Namespace) -> tuple[_Network, Sequence[str]]:
    name, weights = arguments.name, arguments.weights
    try:
        models.get(name)
        network = _Network(name, io.load(weights), arguments.transform_input)
    except (OSError, ValueError, ImportError) as error:
        head, _, rest = reason(error).partition("\n")
        raise _Stop(f"{weights} does not fit {name}:\n{rest}" if rest else head) from error
    return network, _classes(arguments.labels, network.classes)


def _classes(path: str | None, count: int) -> Sequence[str]:
    """The names of the classes."""
    if path is None:
        return models.imagenet_classes() if count == 1000 else [f"class {index}" for index in range(count)]
    try:
        names = Path(path).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise _Stop(f"labels: {reason(error)}") from error
    while names and not names[-1].strip():
        names.pop()
    if len(names) != count:
        raise _Stop(f"labels: {path!r} has {len(names)} lines, the network {count} classes")
    return [each.strip() for each in names]


def top(scores: npt.NDArray[Any], count: int) -> list[tuple[int, float]]:
    """The best classes of scores (classes,) with their softmax probabilities, best first."""
    exact = scores.astype(np.float64)
    shares = np.exp(exact - exact.max())
    shares /= shares.sum()
    best = np.argsort(-exact, kind="stable")[:count]
    return [(int(index), float(shares[index])) for index in best]


def _shown(shape: Any) -> str:
    return " and ".join(map(_shown, shape)) if shape and isinstance(shape[0], tuple) else str(shape)
