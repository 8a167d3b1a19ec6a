# SPDX-License-Identifier: BSD-3-Clause
"""A traced graph as a torch.nn.Module that runs node by node with PyTorch's own functions.

Its parameters and buffers have the state-dict names of the model that was traced; the outputs have its
structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch_ops import FORWARD

from cnnkern import graph as G
from cnnkern.nn import Module
from cnnkern.nn.module import kept_statistics

Array = np.ndarray[Any, Any]


def traced(model: Module, specs: Sequence[Any], function: Callable[..., Any] | None = None) -> G.Graph:
    """The graph of model(*inputs), or of function(*inputs) that calls the model; all its state is constants."""

    def record(*symbols: Any) -> Any:
        trace = G.current_trace()
        assert trace is not None
        for name, array in (*model.named_parameters(), *model.named_buffers()):
            trace.constant(array, name)
        return (function or model)(*symbols)

    with kept_statistics():
        return G.trace(record, specs)


def as_module(torch: Any, model: Module, graph: G.Graph, rng: Array | None = None) -> Any:
    """The graph as a torch.nn.Module. rng: seed and step of the dropouts, int32 (1, 2).

    State that the graph does not use is there too. A new module shares no memory with the model.
    """
    parameters = {id(array): name for name, array in model.named_parameters()}
    buffers = {id(array): name for name, array in model.named_buffers()}
    missing = {node.op.name for node in graph.nodes} - set(FORWARD)
    if missing:
        raise NotImplementedError(f"operations without a counterpart in PyTorch: {', '.join(sorted(missing))}")

    class Interpreted(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            for name, array in model.named_parameters():
                tensor = torch.from_numpy(array.copy())
                _home(torch, self, name).register_parameter(name.split(".")[-1], torch.nn.Parameter(tensor))
            for name, array in model.named_buffers():
                _home(torch, self, name).register_buffer(name.split(".")[-1], torch.from_numpy(array.copy()))
            self.places: dict[G.Symbol, str] = {}
            for index, (symbol, array) in enumerate(graph.constants.items()):
                name = parameters.get(id(array)) or buffers.get(id(array))
                if name is None:
                    name = f"constant{index}"
                    self.register_buffer(name, torch.from_numpy(np.array(array, order="C")), persistent=False)
                self.places[symbol] = name

        def forward(self, *inputs: Any) -> Any:
            values: dict[Any, Any] = {None: None, **dict(zip(graph.inputs, inputs, strict=True))}
            for symbol, name in self.places.items():
                value: Any = self
                for part in name.split("."):
                    value = getattr(value, part)
                values[symbol] = value
            for symbol in graph.implicit.values():
                values[symbol] = torch.from_numpy(np.zeros((1, 2), np.int32) if rng is None else rng)
            for node in graph.nodes:
                result = FORWARD[node.op.name](torch, *(values[symbol] for symbol in node.inputs), node.attrs)
                results = result if isinstance(result, tuple) else (result,)
                values.update(zip(node.outputs, results, strict=False))
            return graph.restore([values[symbol] for symbol in graph.outputs])

    return Interpreted()


def _home(torch: Any, root: Any, name: str) -> Any:
    """The module that holds `name`, made where it is not there yet."""
    for part in name.split(".")[:-1]:
        if part not in root._modules:
            root.add_module(part, torch.nn.Module())
        root = root._modules[part]
    return root


def gradients(module: Any, loss: Any) -> Mapping[str, Array]:
    """d loss / d parameter by autograd, by state-dict names; zeros where the loss does not depend on it."""
    module.zero_grad(set_to_none=True)
    loss.backward()
    return {
        name: np.zeros(tuple(value.shape)) if value.grad is None else value.grad.numpy()
        for name, value in module.named_parameters()
    }
