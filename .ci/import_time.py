# SPDX-License-Identifier: BSD-3-Clause
"""Fails if importing cnnkern costs more than 100 ms beyond importing NumPy (the best of several fresh processes)."""

import subprocess
import sys

LIMIT_MS = 100.0
REPEATS = 9


def milliseconds(statement: str) -> float:
    code = f"import time; start = time.perf_counter(); {statement}; print(1e3 * (time.perf_counter() - start))"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(REPEATS))


numpy = milliseconds("import numpy")
both = milliseconds("import numpy, cnnkern")
print(f"import numpy: {numpy:.0f} ms; cnnkern beyond it: {both - numpy:.1f} ms (at most {LIMIT_MS:.0f})")
sys.exit(both - numpy > LIMIT_MS)
