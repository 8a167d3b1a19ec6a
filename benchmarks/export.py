# SPDX-License-Identifier: BSD-3-Clause
"""Writes one network in the formats of the contenders of peers.py.

    python benchmarks/export.py NAME FOLDER BATCH HEIGHT WIDTH CONTENDER...

PyTorch gets it as the tests' oracle makes it of the traced graph, the others through torch.onnx.export and pnnx.
"""

import sys
from pathlib import Path

import numpy as np
import torch

from cnnkern import io, models

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from torch_graph import as_module, traced


def export(name: str, folder: Path, batch: int, size: tuple[int, int], contenders: list[str]) -> None:
    """Write the network with drawn weights in every contender's format, an input and its float64 answer."""
    model = models.get(name)(seed=0).eval()
    channels = model.info.input_shape[0]
    shape = (batch, channels, *size)
    (folder / "name").write_text(name, "utf-8")
    io.save(folder / "weights.npz", model.state_dict())
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    np.save(folder / "input.npy", x)
    module = as_module(torch, model, traced(model, [shape])).eval()
    value = torch.from_numpy(x)
    with torch.no_grad():
        torch.jit.trace(module, value, check_trace=False).save(str(folder / "model.pt"))
        if {"onnxruntime", "openvino"} & set(contenders):
            torch.onnx.export(module, (value,), str(folder / "model.onnx"), dynamo=False, opset_version=17)
        np.save(folder / "answer.npy", module.double()(value.double()).numpy())
    if "ncnn" in contenders:
        import pnnx

        single = as_module(torch, model, traced(model, [(1, *shape[1:])])).eval()
        script = str(folder / "model_for_ncnn.pt")
        torch.jit.trace(single, value[:1], check_trace=False).save(script)
        pnnx.convert(
            script,
            inputs=value[:1],
            ncnnparam=str(folder / "model.ncnn.param"),
            ncnnbin=str(folder / "model.ncnn.bin"),
            fp16=False,
        )


if __name__ == "__main__":
    _name, _folder, _batch, _height, _width, *_contenders = sys.argv[1:]
    export(_name, Path(_folder), int(_batch), (int(_height), int(_width)), _contenders)
