# SPDX-License-Identifier: BSD-3-Clause
"""Writes one network in the formats of the contenders of peers.py.

    python benchmarks/export.py NAME FOLDER HEIGHT WIDTH BATCH,BATCH... FORMAT...

PyTorch gets it as the tests' oracle makes it of the traced graph, the others through torch.onnx.export and pnnx
(formats "onnx" and "ncnn"). FOLDER holds what serves every batch (weights, images, their float64 answers, ncnn's files:
it takes one image at a time) and a folder for each batch. What cannot be exported leaves a `FORMAT.failed`: why not.
"""

import contextlib
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from cnnkern import io, models

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from torch_graph import as_module, traced
from torch_ops import FORWARD


def export(name: str, folder: Path, size: tuple[int, int], batches: list[int], formats: list[str]) -> None:
    """Write the network with drawn weights in every format, images and their float64 answers."""
    model = models.get(name)(seed=0).eval()
    shape = (max(batches), models.info(name).input_shape[0], *size)
    (folder / "name").write_text(name, "utf-8")
    io.save(folder / "weights.npz", model.state_dict())
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    np.save(folder / "input.npy", x)
    value = torch.from_numpy(x)

    def module(batch: int) -> Any:
        return as_module(torch, model, traced(model, [(batch, *shape[1:])])).eval()

    with torch.no_grad(), patch.dict(FORWARD, _NATIVE):
        np.save(folder / "answer.npy", module(shape[0]).double()(value.double()).numpy())
        for batch in batches:
            (folder / str(batch)).mkdir(exist_ok=True)
            _write(folder / str(batch), module(batch), value[:batch], "onnx" in formats)
        if "ncnn" in formats:
            _attempt(folder, "ncnn", lambda: _write_ncnn(folder, module(1), value[:1]))


def _write(folder: Path, module: Any, value: Any, onnx: bool) -> None:
    torch.jit.trace(module, value, check_trace=False).save(str(folder / "model.pt"))
    if onnx:
        target = str(folder / "model.onnx")
        with patch.object(torch.nn.functional, "adaptive_avg_pool2d", _average):
            _attempt(
                folder, "onnx", lambda: torch.onnx.export(module, (value,), target, dynamo=False, opset_version=17)
            )


def _average(x: Any, output_size: Any, own: Any = torch.nn.functional.adaptive_avg_pool2d) -> Any:
    """adaptive_avg_pool2d as two products where the sizes do not divide, which the exporter cannot say."""
    sizes = [(int(size), int(parts)) for size, parts in zip(x.shape[-2:], output_size, strict=True)]
    if all(size % parts == 0 for size, parts in sizes):
        return own(x, output_size)
    rows, columns = (_means(size, parts) for size, parts in sizes)
    return torch.matmul(torch.matmul(rows, x), columns.T)


def _means(size: int, parts: int) -> Any:
    """(parts, size): which entries each part averages."""
    matrix = torch.zeros(parts, size)
    for i in range(parts):
        first, last = i * size // parts, -(-(i + 1) * size // parts)
        matrix[i, first:last] = 1 / (last - first)
    return matrix


def _shuffled(t: Any, x: Any, start: Any, index: Any, weight: Any, *rest: Any, own: Any = FORWARD["resample"]) -> Any:
    """A channel shuffle as every exporter knows it, instead of the oracle's product with a matrix."""
    order, channels = index.tolist(), int(x.shape[1])
    size = order[1] if len(order) > 1 else 0  # channels of a group
    shuffled = size and channels % size == 0 and np.arange(channels).reshape(-1, size).T.ravel().tolist() == order
    if rest[-1]["axis"] != 1 or not shuffled or not bool((weight == 1).all()) or len(start) != channels + 1:
        return own(t, x, start, index, weight, *rest)
    shape = [int(size) for size in x.shape]
    return x.reshape(shape[0], channels // size, size, *shape[2:]).transpose(1, 2).reshape(shape)


def _clamp(t: Any, x: Any, a: Any) -> Any:
    return t.nn.functional.relu6(x) if (a["low"], a["high"]) == (0, 6) else t.clamp(x, a["low"], a["high"])


# Operations that the oracle composes, as the other libraries have them.
_NATIVE = {
    "resample": _shuffled,
    "clamp": _clamp,
    "hardsigmoid": lambda t, x, a: t.nn.functional.hardsigmoid(x),
    "slice": lambda t, x, a: x[(slice(None),) * a["axis"] + (slice(a["start"], a["stop"]),)],
}


def _write_ncnn(folder: Path, module: Any, value: Any) -> None:
    import pnnx

    files = {"ncnnparam": str(folder / "model.ncnn.param"), "ncnnbin": str(folder / "model.ncnn.bin")}
    with tempfile.TemporaryDirectory(dir=folder) as scratch:  # pnnx leaves files beside its source
        script = str(Path(scratch) / "model.pt")
        torch.jit.trace(module, value, check_trace=False).save(script)
        with contextlib.suppress(SyntaxError):  # of the Python file that it writes too, and then loads
            pnnx.convert(script, inputs=value, fp16=False, **files)
    if not (folder / "model.ncnn.bin").exists():
        raise RuntimeError("pnnx wrote nothing")


def _attempt(folder: Path, kind: str, action: Callable[[], Any]) -> None:
    try:
        action()
    except Exception as error:  # exporters raise anything; the others go on without this format
        (folder / f"{kind}.failed").write_text(f"cannot be exported: {str(error).strip().splitlines()[0]}", "utf-8")


if __name__ == "__main__":
    _name, _folder, _height, _width, _batches, *_formats = sys.argv[1:]
    _sizes = [int(batch) for batch in _batches.split(",")]
    export(_name, Path(_folder), (int(_height), int(_width)), _sizes, _formats)
