# SPDX-License-Identifier: BSD-3-Clause
"""`Network`: what every model has beyond a `Module`: its head, the maps before it, its preprocessing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from cnnkern.data.preprocess import Preprocess
from cnnkern.functional import _check as check
from cnnkern.nn import Conv2d, Linear, Module, init

Shape = tuple[int, ...]


@dataclass(frozen=True)
class ModelInfo:
    """What is known of a model before it is built.

    Attributes:
        name: of the builder.
        year: of the paper; None where there is none.
        paper: who described it, and where.
        input_shape: (C, H, W) of one example, or (features,), or one such shape per input.
        resize_size: length that the shorter side of an image gets before the centre is cropped; None: takes no images.
        interpolation: of that resizing.
        mean, std: of each channel, for values in 0..1.
    """

    name: str
    year: int | None
    paper: str
    input_shape: Shape | tuple[Shape, ...]
    resize_size: int | None
    interpolation: str
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def image_size(self) -> int | tuple[int, int]:
        """(height, width) of the images, or the side of square ones."""
        shape = self.batch()
        sides = shape[0] if isinstance(shape[0], tuple) else shape
        height, width = (side for side in sides[-2:] if isinstance(side, int))
        return height if height == width else (height, width)

    def batch(self, size: int = 1) -> Shape | tuple[Shape, ...]:
        """The input shape with a batch axis, as `summary`, `count_macs` and `compile` take it."""
        if self.input_shape and isinstance(self.input_shape[0], tuple):
            return tuple((size, *shape) for shape in self.input_shape if isinstance(shape, tuple))
        return (size, *(side for side in self.input_shape if isinstance(side, int)))


class Network(Module):
    """Base of all models.

    `heads` names the layers whose outputs are the classes, the main one first, auxiliary ones after it: `replace_head`
    exchanges them. `features` gives the maps before the head: a method, or in the networks that have a submodule of
    that name (state-dict names are torchvision's), that submodule, which is called the same way.
    `info` is the model's entry in the registry; None for a network that no registered builder made.
    """

    heads: tuple[str, ...] = ()
    info: ModelInfo | None = None
    _preprocess: Preprocess | None = None

    @property
    def head(self) -> Module:
        """The last layer.

        Raises:
            ValueError: the model has none (a single perceptron).
        """
        if not self.heads:
            raise ValueError(f"{type(self).__name__}: there is no head")
        return self._at(self.heads[0])

    @property
    def num_classes(self) -> int:
        """The number of outputs of the head."""
        return _outputs(self.head)

    def replace_head(self, num_classes: int, *, seed: init.Rng = None) -> Self:
        """Put new layers of `num_classes` outputs, with initial values from `seed`, in the place of the heads.

        All other weights stay. Returns the model.

        Raises:
            ValueError: num_classes is not positive, or the model has no head.
        """
        count = check.integer("replace_head", "num_classes", num_classes, 1)
        if not self.heads:
            raise ValueError(f"replace_head: {type(self).__name__} has no head")
        with init.seeded(seed):
            for name in self.heads:
                parent, _, last = name.rpartition(".")
                old = self._at(name)
                layer = _like(old, count)
                self.initial_values(name, layer)
                layer.train(old.training)
                self._at(parent).register_module(last, layer)
        return self

    def initial_values(self, name: str, layer: Module) -> None:
        """Give the layer of that name the values that training starts from; here: keep what its class has drawn."""

    def initialize(self) -> None:
        """`initial_values` of every layer; nothing where weights are loaded afterwards."""
        if not init.skipping():
            for name, module in self.named_modules():
                self.initial_values(name, module)

    @property
    def preprocess(self) -> Preprocess:
        """`model.preprocess(images)`: a `Preprocess` with the sizes and statistics that the model was published with.

        Assign another `Preprocess` to change it. A model of other channels than three gets their mean for each.

        Raises:
            ValueError: the model takes no images.
        """
        if self._preprocess is None:
            self._preprocess = self._published()
        return self._preprocess

    @preprocess.setter
    def preprocess(self, value: Preprocess) -> None:
        self._preprocess = value

    def _published(self) -> Preprocess:
        info = self.info
        if info is None:
            return Preprocess()
        if info.resize_size is None:
            raise ValueError(f"preprocess: {info.name} takes vectors, not images")
        first = next((module for module in self.modules() if isinstance(module, Conv2d)), None)
        channels = len(info.mean) if first is None else first.in_channels
        return Preprocess(
            info.resize_size,
            info.image_size,
            info.interpolation,
            _for_channels(info.mean, channels),
            _for_channels(info.std, channels),
        )

    def _at(self, name: str) -> Module:
        module: Module = self
        for part in name.split(".") if name else ():
            module = getattr(module, part)
        return module


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    return values if len(values) == channels else (sum(values) / len(values),) * channels


def _outputs(layer: Module) -> int:
    assert isinstance(layer, Linear | Conv2d)
    return layer.out_features if isinstance(layer, Linear) else layer.out_channels


def _like(layer: Module, outputs: int) -> Module:
    """A new layer of the same kind and inputs."""
    bias = layer.bias is not None
    if isinstance(layer, Linear):
        return Linear(layer.in_features, outputs, bias)
    assert isinstance(layer, Conv2d)
    return Conv2d(layer.in_channels, outputs, layer.kernel_size, bias=bias)
