# SPDX-License-Identifier: BSD-3-Clause
"""One neuron with the perceptron rule, and the multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cnnkern import functional
from cnnkern.models._network import Network
from cnnkern.models._registry import Weights, build, register
from cnnkern.nn import Dropout, Flatten, LeakyReLU, Linear, Module, ReLU, Sequential, Sigmoid, Tanh, init

ACTIVATIONS: dict[str, type[Module]] = {"relu": ReLU, "leaky_relu": LeakyReLU, "sigmoid": Sigmoid, "tanh": Tanh}


def activation_layer(name: str) -> type[Module]:
    """The layer class of an activation named "relu", "leaky_relu", "sigmoid" or "tanh"."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation: expected one of {', '.join(ACTIVATIONS)}, found {name!r}")
    return ACTIVATIONS[name]


class Perceptron(Network):
    """A threshold unit (Rosenblatt, 1958): it fires where weight . x > threshold.

    weight: (1, in_features), threshold: (1,). It starts with zero weights; `update` is its learning rule.
    """

    def __init__(self, in_features: int, threshold: float = 0.0) -> None:
        if in_features < 1:
            raise ValueError(f"Perceptron: in_features must be positive, found {in_features}")
        self.register_parameter("weight", init.zeros((1, in_features)))
        self.register_parameter("threshold", init.constant((1,), threshold))

    def forward(self, input: Any) -> Any:
        """(N, in_features) -> (N, 1), the weighted sum minus the threshold."""
        return functional.linear(input, self.weight) - self.threshold

    def features(self, input: Any) -> Any:
        """(N, in_features) as it is: nothing comes before the neuron."""
        return input

    def predict(self, x: npt.ArrayLike) -> npt.NDArray[np.int32]:
        """(N, in_features) or (in_features,) -> (N,) or (), 1 where the unit fires and 0 elsewhere."""
        rows = np.asarray(x, np.float32)
        fires = np.asarray(self(np.atleast_2d(rows)))[:, 0] > 0
        return fires.astype(np.int32).reshape(rows.shape[:-1])

    def update(self, x: npt.ArrayLike, target: int, lr: float = 1.0, *, learn_threshold: bool = False) -> int:
        """One step of the perceptron rule: w <- w + lr (target - predicted) x.

        Args:
            x: (in_features,) one example.
            target: 0 or 1.
            lr: the learning rate.
            learn_threshold: also move the threshold, by -lr (target - predicted).

        Returns:
            What the unit answered before the step.
        """
        row = np.asarray(x, np.float32)
        if row.shape != (self.weight.shape[1],):
            raise ValueError(f"update: x expects shape ({self.weight.shape[1]},), found {row.shape}")
        predicted = int(self.predict(row))
        error = np.float32(lr * (target - predicted))
        self.weight[0] += error * row
        if learn_threshold:
            self.threshold -= error
        return predicted

    def learn(
        self,
        x: npt.ArrayLike,
        targets: npt.ArrayLike,
        lr: float = 1.0,
        *,
        epochs: int = 100,
        learn_threshold: bool = False,
    ) -> int:
        """Apply `update` to the rows in turn until a whole pass makes no mistake, for at most `epochs` passes.

        Returns:
            The number of mistakes in the last pass: 0 if the rows are separated.
        """
        rows, answers = np.asarray(x, np.float32), np.asarray(targets)
        mistakes = len(rows)
        for _ in range(epochs):
            mistakes = sum(
                self.update(row, int(target), lr, learn_threshold=learn_threshold) != target
                for row, target in zip(rows, answers, strict=True)
            )
            if not mistakes:
                break
        return mistakes


class MLP(Network, Sequential):
    """Fully connected layers one after the other; the last is the head."""

    def __init__(self, *layers: Module) -> None:
        super().__init__(*layers)
        self.heads = (str(len(layers) - 1),)

    def features(self, input: Any) -> Any:
        """(N, ...) -> (N, last hidden width), what the last layer sees."""
        return self[:-1](input)


@register(
    year=1958,
    paper="Rosenblatt, The perceptron: a probabilistic model for information storage in the brain",
    input_shape=(2,),
    resize_size=None,
)
def perceptron(
    in_features: int = 2, threshold: float = 0.0, *, weights: Weights = None, seed: init.Rng = None
) -> Perceptron:
    """A single threshold unit (Rosenblatt, "The perceptron", 1958)."""
    return build(lambda: Perceptron(in_features, threshold), weights, seed)


@register(
    year=1986,
    paper="Rumelhart, Hinton and Williams, Learning representations by back-propagating errors",
    input_shape=(784,),
    resize_size=None,
)
def mlp(
    in_features: int = 784,
    hidden: Sequence[int] = (128,),
    num_classes: int = 10,
    *,
    activation: str = "relu",
    dropout: float = 0.0,
    weights: Weights = None,
    seed: init.Rng = None,
) -> MLP:
    """A multi-layer perceptron: fully connected layers with an activation between them; (N, ...) -> (N, num_classes).

    Rumelhart, Hinton and Williams, "Learning representations by back-propagating errors", Nature, 1986.

    Args:
        in_features: values per example; images are flattened.
        hidden: width of each hidden layer.
        activation: "relu", "leaky_relu", "sigmoid" or "tanh".
        dropout: probability after each hidden layer; 0 for none.
    """
    nonlinearity = activation_layer(activation)

    def factory() -> MLP:
        layers: list[Module] = [Flatten()]
        features = in_features
        for width in hidden:
            layers += [Linear(features, width), nonlinearity()]
            layers += [Dropout(dropout)] if dropout else []
            features = width
        return MLP(*layers, Linear(features, num_classes))

    return build(factory, weights, seed)
