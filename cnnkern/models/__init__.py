# SPDX-License-Identifier: BSD-3-Clause
"""Models: `models.resnet18()`, `models.get("resnet18")()`, `models.info("resnet18")`, `models.list_models()`."""

from cnnkern.models._network import ModelInfo, Network
from cnnkern.models._registry import count, get, info, list_models
from cnnkern.models.alexnet import AlexNet, AlexNet2012, alexnet, alexnet2012
from cnnkern.models.averaging import Ensemble, MultiCrop, ensemble, multi_crop
from cnnkern.models.course_cnn import CourseCNN, course_cnn
from cnnkern.models.densenet import DenseNet, densenet121, densenet161, densenet169, densenet201
from cnnkern.models.efficientnet import (
    EfficientNet,
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from cnnkern.models.googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from cnnkern.models.imagenet import imagenet_classes
from cnnkern.models.inception import InceptionOutputs, InceptionV3, inception_v3
from cnnkern.models.lenet import LeNet5, lenet5
from cnnkern.models.localization import BoxNetwork, localization_loss, with_box_head
from cnnkern.models.mobilenet_v1 import MobileNetV1, mobilenet_v1
from cnnkern.models.mobilenet_v2 import MobileNetV2, mobilenet_v2
from cnnkern.models.mobilenet_v3 import MobileNetV3, mobilenet_v3_large, mobilenet_v3_small
from cnnkern.models.nin import NiN, nin
from cnnkern.models.perceptron import MLP, Perceptron, mlp, perceptron
from cnnkern.models.resnet import (
    ResNet,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from cnnkern.models.resnet_cifar import CIFARResNet, resnet20, resnet56
from cnnkern.models.shufflenet import ShuffleNetV2, shufflenet_v2_x1_0
from cnnkern.models.siamese import Siamese, siamese
from cnnkern.models.squeezenet import SqueezeNet, squeezenet1_1
from cnnkern.models.unet import UNet, unet
from cnnkern.models.vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "MLP",
    "VGG",
    "AlexNet",
    "AlexNet2012",
    "BoxNetwork",
    "CIFARResNet",
    "CourseCNN",
    "DenseNet",
    "EfficientNet",
    "Ensemble",
    "GoogLeNet",
    "GoogLeNetOutputs",
    "InceptionOutputs",
    "InceptionV3",
    "LeNet5",
    "MobileNetV1",
    "MobileNetV2",
    "MobileNetV3",
    "ModelInfo",
    "MultiCrop",
    "Network",
    "NiN",
    "Perceptron",
    "ResNet",
    "ShuffleNetV2",
    "Siamese",
    "SqueezeNet",
    "UNet",
    "alexnet",
    "alexnet2012",
    "count",
    "course_cnn",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "ensemble",
    "get",
    "googlenet",
    "imagenet_classes",
    "inception_v3",
    "info",
    "lenet5",
    "list_models",
    "localization_loss",
    "mlp",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "multi_crop",
    "nin",
    "perceptron",
    "resnet18",
    "resnet20",
    "resnet34",
    "resnet50",
    "resnet56",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "shufflenet_v2_x1_0",
    "siamese",
    "squeezenet1_1",
    "unet",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "with_box_head",
]
