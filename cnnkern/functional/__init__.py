# SPDX-License-Identifier: BSD-3-Clause
"""Operations on NumPy arrays, with the names, argument order, defaults and results of torch.nn.functional.

float32 arrays are computed by the kernels, float64 arrays by the reference (slow and exact, for checks). Any memory
layout is accepted; inputs are never changed, but for the running statistics of `batch_norm` in training and the state
of optimizer steps. Called on a `cnnkern.Symbol` while a model is traced, a function records instead of computing.

Every function raises TypeError for an argument of the wrong type or dtype (other than float32 or float64, or a mixture
of them) and ValueError for shapes and values that do not fit, and says what it expected and what it found.
"""

from cnnkern.functional._eager import evaluate as _evaluate
from cnnkern.functional.activation import (
    hardtanh,
    hardtanh_grad,
    leaky_relu,
    leaky_relu_grad,
    log_softmax,
    log_softmax_grad,
    relu,
    relu6,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_grad,
    tanh,
    tanh_grad,
)
from cnnkern.functional.conv import (
    conv1d,
    conv1d_grad_bias,
    conv1d_grad_input,
    conv1d_grad_weight,
    conv2d,
    conv2d_grad_bias,
    conv2d_grad_input,
    conv2d_grad_weight,
    conv3d,
    conv3d_grad_bias,
    conv3d_grad_input,
    conv3d_grad_weight,
)
from cnnkern.functional.conv_transpose import conv_transpose1d, conv_transpose2d, conv_transpose3d
from cnnkern.functional.dense import linear, linear_grad_bias, linear_grad_input, linear_grad_weight, matmul
from cnnkern.functional.dropout import dropout
from cnnkern.functional.elementwise import (
    OPERATORS as _OPERATORS,
)
from cnnkern.functional.elementwise import (
    add,
    divide,
    exp,
    log,
    multiply,
    negative,
    sqrt,
    square,
    subtract,
)
from cnnkern.functional.interpolate import interpolate, upsample, upsample_bilinear, upsample_nearest
from cnnkern.functional.loss import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    cross_entropy_grad,
    hinge_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    pseudo_huber_loss,
    smooth_l1_loss,
)
from cnnkern.functional.norm import batch_norm, batch_norm_grad, batch_norm_training
from cnnkern.functional.optim import adam_step, sgd_step
from cnnkern.functional.permute import permute, pixel_shuffle, pixel_unshuffle, transpose
from cnnkern.functional.pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    adaptive_max_pool2d,
    adaptive_max_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from cnnkern.functional.resample import channel_shuffle, flip
from cnnkern.functional.response import local_response_norm, local_response_norm_grad
from cnnkern.functional.shape import concat, flatten, pad, reshape
from cnnkern.graph import OPERATORS as _SYMBOL_OPERATORS
from cnnkern.graph import install as _install

_install(_evaluate)
_SYMBOL_OPERATORS.update(_OPERATORS)

__all__ = [
    "adam_step",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_grad",
    "adaptive_max_pool2d",
    "adaptive_max_pool2d_grad",
    "add",
    "avg_pool2d",
    "avg_pool2d_grad",
    "batch_norm",
    "batch_norm_grad",
    "batch_norm_training",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "channel_shuffle",
    "concat",
    "conv1d",
    "conv1d_grad_bias",
    "conv1d_grad_input",
    "conv1d_grad_weight",
    "conv2d",
    "conv2d_grad_bias",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "conv3d",
    "conv3d_grad_bias",
    "conv3d_grad_input",
    "conv3d_grad_weight",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "cross_entropy_grad",
    "divide",
    "dropout",
    "exp",
    "flatten",
    "flip",
    "hardtanh",
    "hardtanh_grad",
    "hinge_loss",
    "huber_loss",
    "interpolate",
    "l1_loss",
    "leaky_relu",
    "leaky_relu_grad",
    "linear",
    "linear_grad_bias",
    "linear_grad_input",
    "linear_grad_weight",
    "local_response_norm",
    "local_response_norm_grad",
    "log",
    "log_softmax",
    "log_softmax_grad",
    "matmul",
    "max_pool2d",
    "max_pool2d_grad",
    "mse_loss",
    "multiply",
    "negative",
    "nll_loss",
    "pad",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pseudo_huber_loss",
    "relu",
    "relu6",
    "relu_grad",
    "reshape",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "smooth_l1_loss",
    "softmax",
    "softmax_grad",
    "sqrt",
    "square",
    "subtract",
    "tanh",
    "tanh_grad",
    "transpose",
    "upsample",
    "upsample_bilinear",
    "upsample_nearest",
]
