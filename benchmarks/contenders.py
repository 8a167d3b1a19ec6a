# SPDX-License-Identifier: BSD-3-Clause
"""One contender in a process of its own: loads one network, answers, and runs when it is told to.

    python benchmarks/contenders.py CONTENDER FOLDER BATCH THREADS

FOLDER holds what `export.py` wrote. Talks in lines of JSON: first {"first_answer": seconds since the process started,
"megabytes": peak memory, "error": against the float64 answer, "version": text}; then for every line {"seconds": s} on
standard input the milliseconds of as many runs as fit, at least one; ends with its input.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Run = Callable[[], Any]


def _cnnkern(folder: Path, x: Any, threads: int) -> tuple[Run, str]:
    import cnnkern
    from cnnkern import models

    name = (folder / "name").read_text("utf-8")
    # Heads that only training has: the files of the others have none either.
    settings = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    model = models.get(name)(weights=folder / "weights.npz", **settings).eval()
    engine = cnnkern.compile(model, x.shape, threads=threads, copy=False)
    return lambda: engine(x), cnnkern.__version__


def _exported(folder: Path, file: str, kind: str) -> Path:
    """The file, or the reason why there is none."""
    reason = folder / f"{kind}.failed"
    if reason.exists():
        raise RuntimeError(reason.read_text("utf-8"))
    return folder / file


def _torch(folder: Path, x: Any, threads: int, kind: str) -> tuple[Run, str]:
    import torch

    torch.set_num_threads(threads)
    module = torch.jit.load(str(folder / str(len(x)) / "model.pt")).eval()
    value = torch.from_numpy(x)
    if kind == "channels_last":
        module, value = module.to(memory_format=torch.channels_last), value.to(memory_format=torch.channels_last)
    if kind == "frozen":
        module = torch.jit.optimize_for_inference(torch.jit.freeze(module))

    def run() -> Any:
        with torch.inference_mode():
            return module(value).numpy()

    return run, torch.__version__


def _onnxruntime(folder: Path, x: Any, threads: int) -> tuple[Run, str]:
    import onnxruntime

    file = _exported(folder / str(len(x)), "model.onnx", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda: session.run(None, {name: x})[0], onnxruntime.__version__


def _openvino(folder: Path, x: Any, threads: int) -> tuple[Run, str]:
    import openvino

    file = _exported(folder / str(len(x)), "model.onnx", "onnx")
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()
    return lambda: request.infer([x])[0], openvino.__version__.split("-")[0]


def _ncnn(folder: Path, x: Any, threads: int) -> tuple[Run, str]:
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(str(_exported(folder, "model.ncnn.param", "ncnn")))
    net.load_model(str(folder / "model.ncnn.bin"))
    source, result = net.input_names()[0], net.output_names()[0]

    def run() -> Any:  # ncnn takes one image at a time
        answers = []
        for image in x:
            extractor = net.create_extractor()
            extractor.input(source, ncnn.Mat(image))
            answers.append(np.array(extractor.extract(result)[1]))
        return np.stack(answers)

    return run, ncnn.__version__


CONTENDERS: dict[str, Callable[[Path, Any, int], tuple[Run, str]]] = {
    "cnnkern": _cnnkern,
    "torch": lambda *arguments: _torch(*arguments, "eager"),
    "torch channels_last": lambda *arguments: _torch(*arguments, "channels_last"),
    "torch frozen": lambda *arguments: _torch(*arguments, "frozen"),
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
    "ncnn": _ncnn,
}


def age() -> float:
    """Seconds since this process was started."""
    ticks = float(Path("/proc/self/stat").read_text("utf-8").rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text("utf-8").split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


def peak_kilobytes() -> int:
    """Largest resident size so far (of this program, not of the process that started it)."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def take_turns(run: Run) -> None:
    """Answer every line {"seconds": s} on standard input with the milliseconds of the runs that fit, at least one."""
    for line in sys.stdin:
        end = time.perf_counter() + json.loads(line)["seconds"]
        times: list[float] = []
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


def main() -> None:
    name, folder, batch, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    x = np.ascontiguousarray(np.load(folder / "input.npy")[:batch])
    run, version = CONTENDERS[name](folder, x, threads)
    answer = np.asarray(run(), np.float64).reshape(batch, -1)
    first = age()
    exact = np.load(folder / "answer.npy")[:batch].reshape(batch, -1)
    error = float(np.linalg.norm(answer - exact) / np.linalg.norm(exact))
    megabytes = peak_kilobytes() / 1024
    say = {"first_answer": first, "megabytes": megabytes, "error": error, "version": version}
    print(json.dumps(say), flush=True)
    take_turns(run)


if __name__ == "__main__":
    main()
