# SPDX-License-Identifier: BSD-3-Clause
"""`cnnkern evaluate` and `cnnkern predict`: what a trained run knows."""

from __future__ import annotations

import argparse
import csv
import sys
from typing import Any

import numpy as np

from cnnkern import train
from cnnkern.cli import runs
from cnnkern.cli.report import reason
from cnnkern.cli.run import top
from cnnkern.cli.train import judge
from cnnkern.data import Preprocess, read_image


def run(options: argparse.Namespace) -> int:
    """Returns 0; 1 if some images cannot be read; 2 if nothing can be done."""
    try:
        description = runs.load(options.run)
        network = description.build(runs.weights(options.run, options.weights)).eval()
        if options.command == "predict":
            return _predict(network, description, options)
        judge(network, description, options.data, options.split)
    except (ValueError, OSError, ImportError) as error:
        print(f"cnnkern {options.command}: {reason(error)}", file=sys.stderr)
        return 2
    return 0


def _predict(network: Any, description: runs.Run, options: argparse.Namespace) -> int:
    pictures = description.pictures
    steps = Preprocess(round(min(pictures.size) * 256 / 224), pictures.size, "bilinear", pictures.mean, pictures.std)
    if description.channels == 1:
        steps = steps.replace(resize_size=min(pictures.size))  # small gray pictures have no margin to cut
    status, rows = 0, []
    for path in options.images:
        try:
            batch = steps(read_image(path, gray=description.channels == 1))
        except (OSError, ValueError) as error:
            print(f"cnnkern predict: {reason(error)}", file=sys.stderr)
            status = 1
            continue
        scores = np.asarray(train.predict(network, batch))[0]
        print(path)
        for index, share in top(scores, options.topk):
            print(f"  {share:>7.2%}  {description.classes[index]}")
        index, share = top(scores, 1)[0]
        rows.append((path, description.classes[index], f"{share:.6f}"))
    if options.csv:
        with open(options.csv, "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("image", "class", "probability"), *rows])
    return status
