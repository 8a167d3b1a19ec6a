# SPDX-License-Identifier: BSD-3-Clause
"""Models by name: `models.resnet18()`, `models.get("resnet18")()`, `models.list_models()`."""

from cnnkern.models._registry import get, list_models
from cnnkern.models.course_cnn import course_cnn
from cnnkern.models.lenet import LeNet5, lenet5
from cnnkern.models.perceptron import Perceptron, mlp, perceptron
from cnnkern.models.resnet import ResNet, resnet18, resnet50

__all__ = [
    "LeNet5",
    "Perceptron",
    "ResNet",
    "course_cnn",
    "get",
    "lenet5",
    "list_models",
    "mlp",
    "perceptron",
    "resnet18",
    "resnet50",
]
