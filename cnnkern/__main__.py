# SPDX-License-Identifier: BSD-3-Clause
"""`python -m cnnkern`, the same as the command `cnnkern`."""

import sys

from cnnkern.cli import main

sys.exit(main())
