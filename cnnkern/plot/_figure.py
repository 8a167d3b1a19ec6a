# SPDX-License-Identifier: BSD-3-Clause
"""The only place that imports matplotlib, and only when a picture is made."""

from __future__ import annotations

from typing import Any


def require_matplotlib() -> None:
    """Raises ImportError with the remedy where matplotlib is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ImportError("pictures need matplotlib: pip install 'cnnkern[plot]'") from error


def new_figure(width: float, height: float) -> Any:
    """An empty matplotlib Figure, in inches."""
    require_matplotlib()
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")
