# SPDX-License-Identifier: BSD-3-Clause
"""The graph: what the operations of `cnnkern.functional` record when they are called on symbols.

An operation is one `OpDef`: a shape rule, a gradient rule and the kernel calls that compute it. `apply` computes at
once when it is given arrays and records a `Node` when it is given a `Symbol`. Gradients are more nodes of the same
kinds, written by `gradients` into the same trace, so that one representation serves inference and training.
"""

from cnnkern.graph.backward import gradients
from cnnkern.graph.node import (
    OPERATORS,
    OPS,
    Array,
    Attrs,
    KernelCall,
    Node,
    OpDef,
    Shape,
    Spec,
    Symbol,
    define,
    product,
)
from cnnkern.graph.running import count_multiply_adds, run_numpy
from cnnkern.graph.tracing import (
    Graph,
    Trace,
    apply,
    current_trace,
    evaluate,
    finish,
    flatten,
    install,
    override_gradient,
    trace,
    unflatten,
)

__all__ = [
    "OPERATORS",
    "OPS",
    "Array",
    "Attrs",
    "Graph",
    "KernelCall",
    "Node",
    "OpDef",
    "Shape",
    "Spec",
    "Symbol",
    "Trace",
    "apply",
    "count_multiply_adds",
    "current_trace",
    "define",
    "evaluate",
    "finish",
    "flatten",
    "gradients",
    "install",
    "override_gradient",
    "product",
    "run_numpy",
    "trace",
    "unflatten",
]
