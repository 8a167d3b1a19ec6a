# SPDX-License-Identifier: BSD-3-Clause
"""Fail on a weak symbol in a kernel object whose outermost namespace is not that of its instruction set.

A function shared by objects of different flags lets the linker keep the AVX-512 copy for every CPU.
Usage: check_symbols.py ISA OBJECT...
"""

import subprocess
import sys


def main() -> int:
    isa, objects = sys.argv[1], sys.argv[2:]
    bad = 0
    for path in objects:
        listing = subprocess.run(["nm", "--demangle", path], check=True, capture_output=True, text=True).stdout
        for line in listing.splitlines():
            kind, _, name = line[17:].partition(" ")
            if kind in ("W", "V", "u", "w") and not name.startswith(f"cnnkern::{isa}::"):
                print(f"{path}: weak symbol {name}", file=sys.stderr)
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
