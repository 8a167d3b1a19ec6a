# SPDX-License-Identifier: BSD-3-Clause
"""Smooth activations, softmax and gates as layers. inplace=True is refused: inputs never change."""

from __future__ import annotations

from typing import Any

from cnnkern import functional
from cnnkern.functional import _check as check
from cnnkern.nn.module import Module


class Sigmoid(Module):
    """1 / (1 + exp(-x))."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.sigmoid(input)


class Tanh(Module):
    """The hyperbolic tangent."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.tanh(input)


class SiLU(Module):
    """x sigmoid(x), also called swish (Hendrycks and Gimpel, 2016)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("SiLU", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.silu(input)


class GELU(Module):
    """x times the normal distribution function, or its "tanh" approximation (Hendrycks and Gimpel, 2016)."""

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = check.choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Mish(Module):
    """x tanh(softplus(x)) (Misra, 2019)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("Mish", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.mish(input)


class ELU(Module):
    """x for x > 0, else alpha (exp(x) - 1) (Clevert et al., 2015)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = check.finite("ELU", "alpha", alpha)
        check.not_in_place("ELU", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.elu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


class SELU(Module):
    """The scaled ELU that keeps mean 0 and variance 1 (Klambauer et al., 2017)."""

    def __init__(self, inplace: bool = False) -> None:
        check.not_in_place("SELU", inplace)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.selu(input)


class CELU(Module):
    """x for x > 0, else alpha (exp(x / alpha) - 1), alpha not 0 (Barron, 2017)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.alpha = check.finite("CELU", "alpha", alpha)
        check.not_in_place("CELU", inplace)
        if self.alpha == 0.0:
            raise ValueError("CELU: alpha must not be 0")

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.celu(input, self.alpha)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha:g}"


class Softplus(Module):
    """log(1 + exp(beta x)) / beta; x itself where beta x > threshold (Dugas et al., 2001)."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.beta = check.number("Softplus", "beta", beta)
        self.threshold = check.number("Softplus", "threshold", threshold)

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta:g}, threshold={self.threshold:g}"


class LogSigmoid(Module):
    """log(sigmoid(x))."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|) (Bergstra et al., 2009)."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)."""

    def forward(self, input: Any) -> Any:
        """Any shape, kept."""
        return functional.tanhshrink(input)


class GLU(Module):
    """a sigmoid(b), a and b the halves of axis `dim` (Dauphin et al., 2017)."""

    def __init__(self, dim: int = -1) -> None:
        self.dim = check.integer("GLU", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape with an axis `dim` of even size, which is halved."""
        return functional.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax(Module):
    """exp(x) / sum exp(x) along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = check.integer("Softmax", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape that has axis `dim`, kept."""
        return functional.softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(Module):
    """softmax(-x) along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = check.integer("Softmin", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape that has axis `dim`, kept."""
        return functional.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """x - log sum exp(x) along `dim`."""

    def __init__(self, dim: int = 1) -> None:
        self.dim = check.integer("LogSoftmax", "dim", dim)

    def forward(self, input: Any) -> Any:
        """Any shape that has axis `dim`, kept."""
        return functional.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"
