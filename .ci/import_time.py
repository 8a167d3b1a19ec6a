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
package = milliseconds("import numpy, cnnkern") - numpy
everything = milliseconds("import numpy; from cnnkern import data, engine, functional, models, nn, train") - numpy
print(f"import numpy: {numpy:.0f} ms; beyond it cnnkern {package:.1f} ms, with all of its parts {everything:.1f} ms")
print(f"at most {LIMIT_MS:.0f} ms")
sys.exit(everything > LIMIT_MS)
