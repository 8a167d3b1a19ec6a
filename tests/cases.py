# SPDX-License-Identifier: BSD-3-Clause
"""The one table of cases: it feeds the tests of kernels and gradients, and the benchmarks.

ROWS are written by hand, one for each edge that an algorithm or an operation has; `generators` adds thousands of seeded
ones. A new algorithm adds a row here for each of its edge shapes.
"""

from collections.abc import Iterator

from case import Case, conv_direction, parse
from elementwise_rows import ELEMENTWISE
from generators import GENERATORS, generated
from moving_rows import MOVING
from window_rows import (
    ADAPTIVE_POOL,
    ADAPTIVE_POOL3D,
    AVG_POOL,
    CONV,
    CONV1D,
    CONV3D,
    CONV_EPILOGUE,
    CONV_GRADIENT_EPILOGUE,
    CONV_SCALED,
    LANES,
    LANES_EPILOGUE,
    LANES_GRADIENT_EPILOGUE,
    MAX_POOL,
    P1,
    P3,
    POOL,
    POOL1D,
    POOL3D,
    WINOGRAD,
    WINOGRAD_GRADIENTS,
)

_OTHERS = """
  # tiles of the matrix product: rows and columns around the registers, long sums, nothing at all
  matmul:1x1,1x1
  matmul:1x300,300x1000,1000
  matmul:14x16,16x32
  matmul:15x17,17x33,33:activation=relu
  matmul:13x31,31x31:transpose_a=False:transpose_b=False
  matmul:31x13,31x33:transpose_a=True
  matmul:31x13,7x13:transpose_b=True
  matmul:33x65,129x33:transpose_a=True:transpose_b=True
  matmul:7x1030,1030x20
  matmul:40x520,50x520,50:transpose_b=True:activation=leaky_relu
  matmul:200x30,30x200
  matmul:3x128,10x128,10:transpose_b=True
  matmul:0x5,5x3,3
  matmul:4x0,0x3,3
  matmul:4x5,5x0
  matmul:17x9,9x48,48:activation=clamp
  # maxima back in their places
  max_unpool:2x17x3x4,2x17x3x4:output_size=(6,9)
  max_unpool:1x5x7,1x5x7:output_size=(15,)
  max_unpool:1x16x2x2x3,1x16x2x2x3:output_size=(4,5,6)
  max_unpool_grad:2x17x6x9,2x17x3x4
  # statistics: one value per channel, means far from 0, vectors, images
  batch_norm:2x17x5x5,17,17,17,17:activation=relu
  batch_norm:3x16x1x1,16,16,-,-
  batch_norm:5x33,33,33,33,-
  batch_norm:2x8x9,8,8,-,8:activation=leaky_relu
  batch_norm_training:2x17x5x5,17,17,17,17
  batch_norm_training:1x16x3x3,16,-,-,-
  batch_norm_training:32x3x5x6,3,3,3,3,32x3x5x6:activation=relu
  batch_norm_training:16x5x1x1,5,5,5,5
  batch_norm_grad:32x3x5x6,32x3x5x6,3,3,3,3,32x3x5x6:activation=relu
  batch_norm:32x3x5x6,3,3,3,3:activation=relu
  batch_norm_training:7x33,33,33,33,33
  batch_norm_training:64x5x2x2,5,5,5,5:momentum=0.25
  batch_norm_training:4x16x28x28,16,16,16,16:activation=relu
  batch_norm_training:2x3x31x33,-,3,-,-
  batch_norm_training:1x3x1x2,3,3,3,3
  batch_norm_training:2x40x9x7,40,40,40,40,2x40x9x7:activation=relu
  batch_norm_training:3x5x7x5,5,5,-,-,3x5x7x5:activation=sigmoid
  batch_norm_grad:2x40x9x7,2x40x9x7,40,40,40,40,2x40x9x7:activation=relu
  batch_norm_grad:7x33,7x33,33,33,-,-,7x33
  batch_norm_grad:2x17x5x5,2x17x5x5,17,17,17
  batch_norm_grad:2x17x5x5,2x17x5x5,17,17,17:training=False
  batch_norm_grad:64x5,64x5,5,5,-
  batch_norm_grad:4x16x28x28,4x16x28x28,16,16,16
  batch_norm_grad:2x17x5x5,2x17x5x5,17,17,17,17:activation=relu
  batch_norm_grad:4x16x28x28,4x16x28x28,16,16,16,16:activation=clamp
  batch_norm_grad:2x3x9x7,2x3x9x7,3,3,-,3:activation=leaky_relu
  batch_norm_grad:8x33,8x33,33,33,33,-:activation=silu
  batch_norm_grad:2x24x6x5,2x24x6x5,24,24,24,24:activation=hardswish:training=False
  batch_norm_training:2x24x6x5,24,24,24,24:activation=silu
  batch_norm_training:3x5x7x5,5,5,-,-:activation=sigmoid
  # broadcasting along every axis, from a scalar, from a vector of channels
  add:2x16x7x7,2x16x7x7
  add:2x17x5x5,17x1x1
  add:32x3x5x6,32x3x5x6
  multiply:16x3x5x6,3x1x1
  multiply:2x17x5x5,2x17x1x1
  multiply:4x1,1x33
  subtract:(),3x5
  divide:2x3x4x5,3x1x5
  add:1x1x1x1,2x3x4x5
  add:2x1x3x1x2,2x4x3x5x2
  sum_to:2x17x5x5:shape=(1,17,1,1)
  sum_to:32x5x6x7:shape=(1,5,1,1)
  sum_to:48x6x28x27:shape=(1,6,1,1)
  sum_to:16x3x4x5:shape=(1,1,1,1)
  sum_to:64x33:shape=(1,33)
  sum_to:7x31x33:shape=(1,1,1)
  sum_to:3x17x9:shape=(3,1,9)
  sum_to:2x3x4x5:shape=(2,3,4,5)
  sum_to:50x1000:shape=(1,1000):scale=0.5
  sum_to:2x16x28x28:shape=(1,1,1,1)
  # pieces at and between multiples of 16 channels
  concat:1x16x5x5,1x32x5x5:axis=1
  concat:2x17x3x4,2x1x3x4,2x30x3x4:axis=1
  concat:2x3x4x5,5x3x4x5:axis=0
  concat:2x3x4x5,2x3x4x1:axis=3
  concat:7:axis=0
  slice:2x40x3x3:axis=1:start=16:stop=32
  slice:2x40x3x3:axis=1:start=3:stop=20
  slice:5x6:axis=0:start=2:stop=2
  slice:3x4x17:axis=2:start=0:stop=17
  pad:2x3x4x5:padding=((0,0),(0,0),(1,2),(3,0))
  pad:1x17x3x3:padding=((0,1),(2,16),(0,0),(1,1)):value=2.0
  pad:2x20x5x5:padding=((0,0),(-3,1),(-1,-1),(2,-2))
  pad:7:padding=((3,4),):value=-1.0
  # the reduced axis in front, in the middle, at the end; one element; classes as in ImageNet
  softmax:3x10:axis=1
  softmax:4x1:axis=1
  softmax:2x1000:axis=1
  softmax:5x3x7:axis=0
  softmax:2x19x4x5:axis=1
  log_softmax:2x1000:axis=1
  log_softmax:2x19x4x5:axis=1
  log_softmax:17:axis=0
  softmax_grad:2x19x4x5,2x19x4x5:axis=1
  softmax_grad:3x1000,3x1000:axis=1
  log_softmax_grad:2x19x4x5,2x19x4x5:axis=1
  log_softmax_grad:3x1000,3x1000:axis=1
  cross_entropy:32x10,32,-
  cross_entropy:2x1000,2,1000:label_smoothing=0.1
  cross_entropy:2x5x3x4,2x3x4,5:reduction=none:ignore_index=0
  cross_entropy:4x1,4,-:reduction=sum
  cross_entropy:33x17,33,17:log_probabilities=True
  cross_entropy:2x5x3x4,2x3x4,-:reduction=none:log_probabilities=True
  cross_entropy_grad:(),32x10,32,-
  cross_entropy_grad:(),2x1000,2,1000:label_smoothing=0.1
  cross_entropy_grad:(),33x17,33,17:log_probabilities=True
  cross_entropy_grad:2x3x4,2x5x3x4,2x3x4,-:reduction=none:log_probabilities=True
  cross_entropy_grad:2x3x4,2x5x3x4,2x3x4,5:reduction=none:ignore_index=0
  dropout:4x16x7x7,1x2:p=0.5:node=3
  dropout:5,1x2:p=0.3:node=0
  dropout:1001,1x2:p=0.0:node=1
  dropout:1001,1x2:p=1.0:node=1
  sgd_step:1000,1000,-,8
  sgd_step:17x3x3x3,17x3x3x3,17x3x3x3,8:momentum=0.9:nesterov=True:weight_decay=0.01
  adam_step:1001,1001,1001,1001,8
  adam_step:17x3,17x3,17x3,17x3,8:weight_decay=0.01:decoupled=True
  adaptive_step:1001,1001,1001,-,8
  adaptive_step:17x3,17x3,17x3,17x3,8:weight_decay=0.01:momentum=0.9:eps=1e-3
  uniform:1x2:shape=(4,17,7,7):dtype=float32:node=3
  uniform:1x2:shape=():dtype=float32:node=0
  uniform:1x2:shape=(1001,):dtype=float32:node=1
"""

# Layers of real networks: more than one block of every cache. Too slow for the tests that need only edges.
_CONV_LARGE = f"""
  1x64x56x56,64x64x3x3,64:{P1}
  1x256x28x28,512x256x1x1,512
  1x512x7x7,256x512x3x3:{P1}
  2x3x112x112,64x3x7x7,64:{P3}:stride=(2,2)
  2x96x57x57,96x1x3x3,96:{P1}:groups=96:stride=(2,2)
  1x128x29x29,128x4x3x3:{P1}:groups=32
"""
_SCALED_LARGE = """
  1x256x30x30,128x256x1x1,128,-,256,256,256:input_activation=relu
  2x600x7x7,320x600x1x1,-,2x320x7x7,2x600x1x1
"""
_POOL_LARGE = f"""
  1x64x112x112:kernel=(3,3):stride=(2,2):{P1}:output_size=(56,56)
"""
_OTHERS_LARGE = """
  matmul:200x1500,1500x300,300
  matmul:1x4096,1000x4096,1000:transpose_b=True
  matmul:1000x64,1000x700:transpose_a=True
  batch_norm:4x64x56x56,64,64,64,64:activation=relu
  batch_norm_training:8x64x28x28,64,64,64,64
  batch_norm_grad:8x64x28x28,8x64x28x28,64,64,64
  sum_to:16x64x28x28:shape=(1,64,1,1)
  relu:4x64x56x56
  sigmoid:4x64x56x56
  silu:4x64x56x56
  add:4x64x56x56,4x64x56x56
  concat:2x64x28x28,2x96x28x28,2x24x28x28:axis=1
  permute:2x64x100x70:axes=(0,2,3,1)
  resample:2x64x28x28,57,112,112,29,112,112:axis=2
  resample:2x64x28x28,57,112,112,29,112,112:axis=3
  local_response_norm:2x96x55x55:size=5:k=2.0
  local_response_norm_grad:2x96x27x27,2x96x27x27:size=5:k=2.0
  softmax:600x1000:axis=1
  cross_entropy:600x1000,600,-
  dropout:8x4096,1x2:p=0.5:node=1
  sgd_step:300000,300000,300000,8:momentum=0.9
  adam_step:300000,300000,300000,300000,8
  adaptive_step:300000,300000,300000,-,8
"""

CONV_DIRECTIONS = ("conv2d", "conv2d_grad_input", "conv2d_grad_weight")


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#"))


def _conv_rows(text: str, forward: str = "conv2d") -> Iterator[Case]:
    for line in _lines(text):
        case = parse(f"{forward}:{line}")
        yield from (conv_direction(case, op.replace("conv2d", forward)) for op in CONV_DIRECTIONS)


def _pool_rows(text: str, *ops: str) -> Iterator[Case]:
    for line in _lines(text):
        for op in ops:
            forward = parse(f"{op}:{line}")
            yield forward
            yield pool_backward(forward)


def pool_backward(forward: Case) -> Case:
    """The gradient's case of a case of pooling."""
    attrs = dict(forward.attrs)
    x, output = forward.shapes[0], attrs["output_size"]
    assert x is not None
    if not forward.op.startswith("avg"):
        del attrs["output_size"]
    y = (*x[:2], *output)
    shapes = (y, y) if "max" in forward.op else (y,)
    return Case(f"{forward.op}_grad", shapes, {"input_shape": x, **attrs})


ROWS: list[Case] = [
    *_conv_rows(CONV + LANES),
    *_conv_rows(CONV1D, "conv1d"),
    *_conv_rows(CONV3D, "conv3d"),
    *(parse(f"conv2d:{line}") for line in _lines(CONV_EPILOGUE + LANES_EPILOGUE + WINOGRAD)),
    *_conv_rows(WINOGRAD_GRADIENTS),
    *(parse(f"conv2d_grad_input:{line}") for line in _lines(CONV_GRADIENT_EPILOGUE + LANES_GRADIENT_EPILOGUE)),
    *(parse(f"conv2d_scaled:{line}") for line in _lines(CONV_SCALED)),
    *_pool_rows(POOL, "max_pool2d", "avg_pool2d"),
    *_pool_rows(MAX_POOL, "max_pool2d"),
    *_pool_rows(AVG_POOL, "avg_pool2d"),
    *_pool_rows(ADAPTIVE_POOL, "adaptive_max_pool2d", "adaptive_avg_pool2d"),
    *map(parse, _lines(_OTHERS + ELEMENTWISE + MOVING)),
    *_pool_rows(POOL1D, "max_pool1d", "avg_pool1d"),
    *_pool_rows(POOL3D, "max_pool3d", "avg_pool3d"),
    *_pool_rows("2x17x9:output_size=(4,)", "adaptive_max_pool1d", "adaptive_avg_pool1d"),
    *_pool_rows(ADAPTIVE_POOL3D, "adaptive_max_pool3d", "adaptive_avg_pool3d"),
]
LARGE: list[Case] = [
    *_conv_rows(_CONV_LARGE),
    *(parse(f"conv2d_scaled:{line}") for line in _lines(_SCALED_LARGE)),
    *_pool_rows(_POOL_LARGE, "max_pool2d", "avg_pool2d"),
    *map(parse, _lines(_OTHERS_LARGE)),
]
OPS: tuple[str, ...] = tuple(GENERATORS)


def rows(op: str) -> list[Case]:
    """The hand-written cases of an operation."""
    return [case for case in ROWS if case.op == op]


def cases(op: str, seed: int, full: bool) -> list[Case]:
    """All cases of an operation: the rows, large ones too, and of the generated ones all or a seeded twentieth."""
    large = [case for case in LARGE if case.op == op]
    return [*rows(op), *large, *generated(op, seed, 1 if full else 20)]


def resnet50(batch: int, size: int) -> list[Case]:
    """The convolutions of ResNet-50 on maps of 56 x 56 or 28 x 28 with stride 1: pointwise, 3 x 3, pointwise."""
    wide, narrow = {56: (256, 64), 28: (512, 128)}[size]
    maps = f"x{size}x{size}"
    return [
        parse(f"conv2d:{batch}x{wide}{maps},{narrow}x{wide}x1x1,{narrow}"),
        parse(f"conv2d:{batch}x{narrow}{maps},{narrow}x{narrow}x3x3,{narrow}:{P1}"),
        parse(f"conv2d:{batch}x{narrow}{maps},{wide}x{narrow}x1x1,{wide}"),
    ]


FORWARD: list[Case] = [*resnet50(8, 56), *resnet50(8, 28)]
# What benchmarks time beside them: gradients of the same layers, other convolutions, and the rest of a network.
OTHER_BENCHMARKS: list[Case] = [
    *(conv_direction(case, op) for op in CONV_DIRECTIONS[1:] for case in FORWARD),
    *map(
        parse,
        (
            f"conv2d:8x3x224x224,64x3x7x7,64:{P3}:stride=(2,2)",
            f"conv2d:8x128x56x56,128x128x3x3,128:{P1}:stride=(2,2)",
            f"conv2d:8x144x56x56,144x1x3x3,144:{P1}:groups=144",
            f"conv2d:8x144x56x56,144x1x3x3,144:{P1}:groups=144:stride=(2,2)",
            f"conv2d_grad_input:8x144x56x56,144x1x3x3:{P1}:groups=144:input_shape=(8,144,56,56)",
            f"conv2d_grad_weight:8x144x56x56,8x144x56x56:{P1}:groups=144:weight_shape=(144,1,3,3)",
            "matmul:8x2048,1000x2048,1000:transpose_b=True",
            "matmul:512x512,512x512",
            f"max_pool2d:8x64x112x112:kernel=(3,3):stride=(2,2):{P1}:output_size=(56,56)",
            f"max_pool2d_grad:8x64x56x56,8x64x56x56:kernel=(3,3):stride=(2,2):{P1}:input_shape=(8,64,112,112)",
            "avg_pool2d:8x128x56x56:kernel=(2,2):stride=(2,2):output_size=(28,28)",
            "adaptive_avg_pool2d:8x2048x7x7:output_size=(1,1)",
            "batch_norm:8x256x56x56,256,256,256,256:activation=relu",
            "batch_norm_training:8x256x56x56,256,256,256,256",
            "batch_norm_grad:8x256x56x56,8x256x56x56,256,256,256",
            "relu:8x256x56x56",
            "sigmoid:8x256x56x56",
            "add:8x256x56x56,8x256x56x56",
            "sum_to:8x256x56x56:shape=(1,256,1,1)",
            "local_response_norm:8x96x55x55:size=5:k=2.0",
            "local_response_norm_grad:8x96x55x55,8x96x55x55:size=5:k=2.0",
            "group_norm:8x64x56x56,64,64:groups=8",
            "group_norm_grad:8x64x56x56,8x64x56x56,8x8,8x8,64:groups=8",
            "group_norm:25088x64,64,64:groups=1",
            "permute:8x64x56x56:axes=(0,2,3,1)",
            "permute:8x56x56x64:axes=(0,3,1,2)",
            "resample:8x64x56x56,113,224,224,57,224,224:axis=2",
            "resample:8x64x56x56,113,224,224,57,224,224:axis=3",
            "resample:8x116x28x28,117,116,116,117,116,116:axis=1",
            "softmax:256x1000:axis=1",
            "cross_entropy:256x1000,256,-",
            "dropout:8x4096,1x2:p=0.5:node=0",
            "sgd_step:1000000,1000000,1000000,8:momentum=0.9",
            "adam_step:1000000,1000000,1000000,1000000,8",
            "adaptive_step:1000000,1000000,1000000,-,8",
        ),
    ),
]
