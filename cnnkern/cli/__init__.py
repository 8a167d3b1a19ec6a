# SPDX-License-Identifier: BSD-3-Clause
"""The command `cnnkern`: demo, info, models, selftest."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

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
    commands.add_parser("selftest", help="check every kernel against its NumPy definition, on this machine")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit status: 0, or 1 if a check failed, or 2 if something is missing."""
    options = _parser().parse_args(arguments)
    if options.command == "info":
        import cnnkern

        cnnkern.show_config()
        return 0
    if options.command == "models":
        return _models()
    if options.command == "selftest":
        from cnnkern import selftest

        return 0 if selftest.run(sys.stdout) else 1
    from cnnkern.cli.demo import run

    try:
        run(options.fold, options.plot)
    except ImportError as error:
        print(f"cnnkern demo: {error}", file=sys.stderr)
        return 2
    return 0


def _models() -> int:
    from cnnkern import models

    names = models.list_models()
    width = max(map(len, names))
    print(f"{'name':<{width}}  year  {'parameters':>11}  {'multiply-adds':>14}  paper")
    for name in names:
        info = models.info(name)
        parameters, multiply_adds = models.count(name)
        print(f"{name:<{width}}  {info.year or '-':<4}  {parameters:>11,}  {multiply_adds:>14,}  {info.paper}")
    return 0
