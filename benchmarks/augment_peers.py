# SPDX-License-Identifier: BSD-3-Clause
"""Augmentation against torchvision's transforms, on one thread.

    python benchmarks/augment_peers.py --readme

Photographs of two sizes, decoded before, become normalized float32 arrays of 224 x 224 pixels through several chains.
Every contender runs in a process of its own, which takes turns with the others, several times each. Prints the median
images per second of each, with the quartiles, and the ratio of cnnkern's time per image to that of the fastest way to
write the chain in torchvision; --readme puts the table into benchmarks/README.md. Needs torch and torchvision:
pip install torch==2.13.0 torchvision==0.28.0
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cnnkern.data import resize
from cnnkern.data.preprocess import IMAGENET_MEAN, IMAGENET_STD

CONTENDERS = ("cnnkern", "torchvision, Pillow", "torchvision v2, Pillow", "torchvision v2, uint8 tensors")
CHAINS = {
    "shift": "resized crop, mirror, colour shift, normalization",
    "jitter": "resized crop, mirror, brightness, contrast, saturation, normalization",
    "affine": "resized crop, rotation with shear and zoom, normalization",
    "erasing": "resized crop, mirror, normalization, cutout",
}
SIZES = ((375, 500), (224, 224))
_README = Path(__file__).resolve().parent / "README.md"
_BEGIN, _END = "<!-- augmentation: written by benchmarks/augment_peers.py -->\n", "<!-- end of augmentation -->\n"


def photographs(size: tuple[int, int], count: int = 8) -> list[Any]:
    """Smooth random images (H, W, 3), the same for all contenders."""
    rng = np.random.default_rng(0)
    return [resize(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8), size, "bicubic") for _ in range(count)]


def ours(chain: str) -> Callable[[Any, int], Any]:
    """The chain in cnnkern, a function of an image and a number."""
    from cnnkern.data import transforms as T

    middle: dict[str, list[T.Transform]] = {
        "shift": [T.RandomHorizontalFlip(), T.ColorShift(0.1), T.Normalize()],
        "jitter": [T.RandomHorizontalFlip(), T.ColorJitter(0.2, 0.2, 0.2), T.Normalize()],
        "affine": [T.RandomAffine(15, scale=(0.9, 1.1), shear=10), T.Normalize()],
        "erasing": [T.RandomHorizontalFlip(), T.Normalize(), T.RandomErasing()],
    }
    compose = T.Compose([T.RandomResizedCrop(224), *middle[chain]])
    return lambda image, number: compose(image, index=number)


def theirs(chain: str, contender: str) -> Callable[[Any, int], Any]:
    """The chain in torchvision, on what `prepared` makes of an image."""
    import torch
    from torchvision import transforms as v1
    from torchvision.transforms import v2

    torch.set_num_threads(1)

    def shift(image: Any) -> Any:
        return (image + torch.empty(3, 1, 1).uniform_(-0.1, 0.1)).clamp_(0, 1)

    T: Any = v2 if "v2" in contender else v1
    to_float = [v1.ToTensor()]
    if "v2" in contender:
        to_float = [v2.ToDtype(torch.float32, scale=True)]
        if "Pillow" in contender:
            to_float.insert(0, v2.ToImage())
    bilinear = v2.InterpolationMode.BILINEAR
    affine = T.RandomAffine(15, scale=(0.9, 1.1), shear=10, interpolation=bilinear)
    normalize = T.Normalize(IMAGENET_MEAN, IMAGENET_STD, inplace=True)
    middle = {
        "shift": [T.RandomHorizontalFlip(), *to_float, shift, normalize],
        "jitter": [T.RandomHorizontalFlip(), T.ColorJitter(0.2, 0.2, 0.2), *to_float, normalize],
        "affine": [affine, *to_float, normalize],
        "erasing": [T.RandomHorizontalFlip(), *to_float, normalize, T.RandomErasing(inplace=True)],
    }
    compose = T.Compose([T.RandomResizedCrop(224, antialias=True), *middle[chain]])
    return lambda image, number: compose(image)


def prepared(contender: str, image: Any) -> Any:
    """A photograph as the contender likes it best."""
    if "Pillow" in contender:
        from PIL import Image

        return Image.fromarray(image)
    if "tensors" in contender:
        import torch

        return torch.from_numpy(image).permute(2, 0, 1)  # pixels stay together: twice as fast as planes
    return image


def work(contender: str) -> None:
    """One contender. For every line {"chain": c, "size": s, "seconds": t} the microseconds per image of each round."""
    cases: dict[Any, tuple[Callable[[Any, int], Any], list[Any]]] = {}
    number = 0
    for line in sys.stdin:
        order = json.loads(line)
        case = order["chain"], tuple(order["size"])
        if case not in cases:
            run = ours(order["chain"]) if contender == "cnnkern" else theirs(order["chain"], contender)
            cases[case] = run, [prepared(contender, image) for image in photographs(case[1])]
            assert tuple(run(cases[case][1][0], 0).shape) == (3, 224, 224)
        run, images = cases[case]
        end = time.perf_counter() + order["seconds"]
        times = []
        while not times or time.perf_counter() < end:
            start = time.perf_counter()
            for image in images:
                number += 1
                run(image, number)
            times.append((time.perf_counter() - start) / len(images) * 1e6)
        print(json.dumps(times), flush=True)


class Contender:
    """A process that runs a chain when told to."""

    def __init__(self, name: str) -> None:
        command = [sys.executable, __file__, "--work", name]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take_turn(self, chain: str, size: tuple[int, int], seconds: float) -> list[float]:
        """Microseconds per image, once for each round over all images; empty where the process has failed."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"chain": chain, "size": size, "seconds": seconds}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return []
        answer = self._process.stdout.readline()
        return list(json.loads(answer)) if answer else []


def measure(
    contenders: dict[str, Contender], chain: str, size: tuple[int, int], turns: int, seconds: float
) -> dict[str, list[float]]:
    """Microseconds per image of every contender that works."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(turns + 1):
        for name, contender in contenders.items():
            found = contender.take_turn(chain, size, seconds if turn else 0.0)
            times[name] += found if turn else []  # the first turn warms up
    return {name: values for name, values in times.items() if values}


def row(chain: str, size: tuple[int, int], times: dict[str, list[float]]) -> str:
    """One line of the table."""
    cells = [CHAINS[chain], f"{size[0]} x {size[1]}"]
    medians = {contender: statistics.median(values) for contender, values in times.items()}
    for contender in CONTENDERS:
        if contender not in times:
            cells.append("")
            continue
        low, _, high = statistics.quantiles(times[contender], n=4)
        cells.append(f"{1e6 / medians[contender]:,.0f} ({1e6 / high:,.0f} to {1e6 / low:,.0f})")
    peers = [value for contender, value in medians.items() if contender != "cnnkern"]
    cells.append(f"{medians['cnnkern'] / min(peers):.2f}" if peers else "")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Parse the command line, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", nargs="+", default=list(CHAINS), choices=CHAINS)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of a turn")
    parser.add_argument("--readme", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    contenders = {name: Contender(name) for name in CONTENDERS}
    head = ["chain", "photograph", *[f"{name}, images/s" for name in CONTENDERS], "ratio of times"]
    lines = [f"| {' | '.join(head)} |", f"|---|---|{'--:|' * (len(head) - 2)}"]
    print("\n".join(lines))
    for chain in options.chains:
        for size in SIZES:
            lines.append(row(chain, size, measure(contenders, chain, size, options.turns, options.seconds)))
            print(lines[-1], flush=True)
    if options.readme:
        text = _README.read_text("utf-8")
        before, rest = text.split(_BEGIN)
        after = rest.split(_END)[1]
        _README.write_text(before + _BEGIN + "\n".join(["", *lines, ""]) + "\n" + _END + after, "utf-8")


if __name__ == "__main__":
    main()
