# SPDX-License-Identifier: BSD-3-Clause
"""The command `cnnkern`: demo, info, models, run, selftest."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from cnnkern._version import __version__


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnkern", description="Fast convolutional networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"cnnkern {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    demo = commands.add_parser("demo", help="train a CNN on handwritten digits, compile it, classify unseen images")
    demo.add_argument("--fold", type=int, default=0, choices=range(5), help="which fifth of the images to hold out")
    demo.add_argument(
        "--plot", nargs="?", const="demo.png", metavar="FILE", help="save a picture (demo.png); needs matplotlib"
    )
    commands.add_parser("info", help="version, instruction sets, threads")
    commands.add_parser("models", help="the networks that can be built by name")
    _add_run(commands)
    commands.add_parser("selftest", help="check every kernel against its NumPy definition, on this machine")
    return parser


def _add_run(commands: Any) -> None:
    parser = commands.add_parser(
        "run",
        help="classify photographs by a network with trained weights",
        description="Classify photographs. The network's own preprocessing is applied: size, crop, statistics. "
        "Needs Pillow: pip install 'cnnkern[image]'.",
    )
    parser.add_argument("name", metavar="NAME", help="the network; `cnnkern models` lists them")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="its weights: .npz, .safetensors, or PyTorch's .pth and .pt"
    )
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="photographs, in any format that Pillow reads")
    parser.add_argument(
        "--labels",
        metavar="FILE",
        help="names of the classes, one on each line (default: ImageNet's, for 1,000 classes)",
    )
    parser.add_argument(
        "--transform-input",
        action="store_true",
        help="the weights expect values in -1..1, as those that torchvision publishes for googlenet and inception_v3",
    )
    parser.add_argument("--topk", type=_positive, default=5, metavar="K", help="how many classes to show (default: 5)")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive number, found {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 1 if a check failed, or 2 if something is missing."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        import cnnkern

        cnnkern.show_config()
        return 0
    if options.command == "models":
        return _models()
    if options.command == "run":
        from cnnkern.cli.run import run

        return run(options)
    if options.command == "selftest":
        from cnnkern import selftest

        return 0 if selftest.run(sys.stdout) else 1
    from cnnkern.cli import demo

    try:
        demo.run(options.fold, options.plot)
    except ImportError as error:
        print(f"cnnkern demo: {error}", file=sys.stderr)
        return 2
    return 0


def _models() -> int:
    from cnnkern import models

    names = models.list_models()
    width = max(map(len, names))
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(f"{'name':<{width}}  year  {'parameters':>11}  {'multiply-adds':>14}  paper")
    for name in names:
        info = models.info(name)
        parameters, multiply_adds = models.count(name)
        row = f"{name:<{width}}  {info.year or '-':<4}  {parameters:>11,}  {multiply_adds:>14,}  {info.paper}"
        print(row[:columns])
    return 0
