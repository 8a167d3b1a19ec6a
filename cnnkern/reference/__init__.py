# SPDX-License-Identifier: BSD-3-Clause
"""The specification: every operation of the graph, forward and backward, in float64 NumPy.

A function here has the name of its operation, takes the operation's inputs as arrays and its attributes as keywords,
and returns an array or a tuple of arrays. Floating-point input is computed in float64; integers are computed in int64
where the operation has an integer result, so that a kernel can be compared exactly. Nothing is validated:
`cnnkern.functional` does that. Padding is ((top, bottom), (left, right)).
"""

from .activation import (
    clamp,
    clamp_grad,
    leaky_relu,
    leaky_relu_grad,
    log_softmax,
    log_softmax_grad,
    relu,
    relu_grad,
    sigmoid,
    sigmoid_grad,
    softmax,
    softmax_grad,
    tanh,
    tanh_grad,
)
from .arithmetic import (
    add,
    divide,
    exp,
    exp_grad,
    expand,
    log,
    log_grad,
    multiply,
    negative,
    scale,
    sqrt,
    sqrt_grad,
    square,
    square_grad,
    subtract,
    sum_to,
)
from .conv import conv2d, conv2d_grad_input, conv2d_grad_weight
from .dense import matmul
from .dropout import dropout, dropout_mask, philox
from .loss import cross_entropy, cross_entropy_grad
from .norm import batch_norm, batch_norm_grad, batch_norm_training
from .optim import adam_step, sgd_step
from .pool import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_grad,
    adaptive_max_pool2d,
    adaptive_max_pool2d_grad,
    avg_pool2d,
    avg_pool2d_grad,
    max_pool2d,
    max_pool2d_grad,
)
from .shape import concat, pad, reshape, slice

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
    "clamp",
    "clamp_grad",
    "concat",
    "conv2d",
    "conv2d_grad_input",
    "conv2d_grad_weight",
    "cross_entropy",
    "cross_entropy_grad",
    "divide",
    "dropout",
    "dropout_mask",
    "exp",
    "exp_grad",
    "expand",
    "leaky_relu",
    "leaky_relu_grad",
    "log",
    "log_grad",
    "log_softmax",
    "log_softmax_grad",
    "matmul",
    "max_pool2d",
    "max_pool2d_grad",
    "multiply",
    "negative",
    "pad",
    "philox",
    "relu",
    "relu_grad",
    "reshape",
    "scale",
    "sgd_step",
    "sigmoid",
    "sigmoid_grad",
    "slice",
    "softmax",
    "softmax_grad",
    "sqrt",
    "sqrt_grad",
    "square",
    "square_grad",
    "subtract",
    "sum_to",
    "tanh",
    "tanh_grad",
]
