# SPDX-License-Identifier: BSD-3-Clause
"""The command `cnnkern`: bench, demo, evaluate, info, models, predict, run, selftest, train."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from cnnkern._version import __version__
from cnnkern.cli.options import add_judge, add_train


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cnnkern", description="Fast convolutional networks on the CPU.")
    parser.add_argument("--version", action="version", version=f"cnnkern {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    _add_bench(commands)
    demo = commands.add_parser("demo", help="train a CNN on handwritten digits, compile it, classify unseen images")
    demo.add_argument("--fold", type=int, default=0, choices=range(5), help="which fifth of the images to hold out")
    demo.add_argument(
        "--plot", nargs="?", const="demo.png", metavar="FILE", help="save a picture (demo.png); needs matplotlib"
    )
    _add_training(commands)
    commands.add_parser("info", help="version, instruction sets, threads")
    commands.add_parser("models", help="the networks that can be built by name")
    _add_run(commands)
    commands.add_parser("selftest", help="check every kernel against its NumPy definition, on this machine")
    return parser


def _add_training(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a network on digits, MNIST, Fashion-MNIST, CIFAR or a folder of images",
        description="Train a network, with a checkpoint after every epoch, and report its accuracy on the test split.",
    )
    add_train(parser, _positive)
    evaluate = commands.add_parser("evaluate", help="how good a trained network is on a split of its data")
    predict = commands.add_parser("predict", help="classify images by a network that `train` has trained")
    add_judge(evaluate, predict, _positive)


def _add_bench(commands: Any) -> None:
    parser = commands.add_parser(
        "bench",
        help="how fast a network, or a convolution by each of its algorithms, is on this machine",
        description="Time a compiled network, or with the name conv2d one convolution by each algorithm.",
    )
    parser.add_argument("name", metavar="NAME", help="a network (`cnnkern models` lists them), or conv2d")
    parser.add_argument("-t", "--threads", type=_positive, metavar="N", help="default: as `cnnkern info` says")
    parser.add_argument("--isa", metavar="ISA", help="instruction set (conv2d: or all); default: the widest")
    network = parser.add_argument_group("networks")
    network.add_argument("-b", "--batch", type=_positive, default=1, metavar="N", help="images at once (default: 1)")
    network.add_argument("-niter", type=_positive, metavar="N", help="runs (default: as many as take two seconds)")
    network.add_argument("--size", type=_sizes, metavar="H,W", help="of the images (default: the network's own)")
    network.add_argument("--tune", action="store_true", help="choose algorithms by measurement first")
    network.add_argument("--layers", action="store_true", help="print a table of all layers too")
    network.add_argument("--json", metavar="FILE", help="write every figure to a file")
    conv = parser.add_argument_group("conv2d")
    conv.add_argument("--input", type=_sizes, metavar="N,C,H,W")
    conv.add_argument("--weight", type=_sizes, metavar="O,C,R,S", help="C: input channels of a group")
    for name, default in (("stride", "1,1"), ("padding", None), ("dilation", "1,1")):
        conv.add_argument(
            f"--{name}", type=_sizes, default=default, metavar="H,W", help=f"default: {default or 'R/2,S/2'}"
        )
    conv.add_argument("--groups", type=_positive, default=1, metavar="G")
    conv.add_argument("--algorithm", default="all", metavar="NAME", help="one of them (default: all)")
    conv.add_argument("--csv", metavar="FILE", help="write the table to a file")


def _sizes(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"expected whole numbers with commas between, found {text!r}")
    return tuple(map(int, parts))


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
    if options.command == "bench":
        from cnnkern.cli.bench import bench

        return bench(options)
    if options.command == "run":
        from cnnkern.cli.run import run

        return run(options)
    if options.command == "train":
        from cnnkern.cli.train import run as train

        return train(options)
    if options.command in ("evaluate", "predict"):
        from cnnkern.cli.judge import run as judge

        return judge(options)
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
