# SPDX-License-Identifier: BSD-3-Clause
"""Rows of convolutions and pools for the table of cases: shapes of the inputs, and attributes that are not usual."""

P1 = "padding=((1,1),(1,1))"
P2 = "padding=((2,2),(2,2))"
P3 = "padding=((3,3),(3,3))"

# Every row of a convolution runs in all three directions.
CONV = f"""
  # smallest
  1x1x1x1,1x1x1x1
  1x1x1x1,1x1x3x3:{P1}
  1x3x1x17,4x3x1x3,4
  1x3x17x1,4x3x3x1,4
  # batch of none
  0x3x8x8,16x3x3x3,16:{P1}
  # direct: channels around a block of 16 and two of them; widths around the tile of 14 pixels
  1x15x5x13,17x15x3x3,17:{P1}
  1x16x5x14,16x16x3x3,16:{P1}
  2x17x4x15,33x17x3x3,33:{P1}
  1x32x3x28,32x32x3x3:{P1}
  1x33x2x29,31x33x3x3:{P1}
  1x16x2x56,48x16x3x3:{P1}
  2x32x7x7,80x32x3x3:{P1}
  1x24x6x6,10x24x3x3:{P1}
  3x16x1x14,16x16x3x3:{P1}
  1x16x28x14,32x16x3x3:{P1}:stride=(2,2)
  1x20x14x14,20x20x5x5:{P2}
  # first layers: few channels, large kernels, strides
  1x3x32x32,16x3x7x7,16:{P3}:stride=(2,2)
  1x3x23x23,24x3x11x11,24:{P2}:stride=(4,4)
  2x1x28x28,16x1x5x5,16:{P2}
  1x4x17x17,32x4x3x3:stride=(2,2)
  # pointwise: pixels around the tile, many channels, strides
  1x64x1x1,64x64x1x1,64
  1x31x7x7,65x31x1x1
  2x17x5x3,16x17x1x1,16
  1x128x4x14,96x128x1x1
  1x300x3x5,20x300x1x1
  1x33x9x9,18x33x1x1:stride=(2,2)
  1x16x8x8,16x16x1x1:stride=(3,2)
  1x16x4x4,8x16x1x1:{P1}
  2x24x6x6,30x8x1x1:groups=3
  # depthwise: kernels 3, 5, 7, both strides, odd maps, a multiplier
  1x16x7x7,16x1x3x3,16:{P1}:groups=16
  2x17x13x15,17x1x3x3:{P1}:groups=17
  1x33x14x14,33x1x3x3:{P1}:groups=33:stride=(2,2)
  1x15x6x29,15x1x5x5:{P2}:groups=15
  1x32x9x9,32x1x5x5:{P2}:groups=32:stride=(2,2)
  1x18x10x10,18x1x7x7:{P3}:groups=18
  1x16x1x1,16x1x3x3:{P1}:groups=16
  1x16x9x11,16x1x3x5:padding=((1,1),(2,2)):groups=16:dilation=(2,2)
  1x5x8x8,10x1x3x3,10:{P1}:groups=5
  1x1x9x9,3x1x3x3:{P1}
  # groups
  1x8x7x7,8x4x3x3,8:{P1}:groups=2
  2x48x5x5,33x16x3x3:{P1}:groups=3
  1x64x4x4,64x2x3x3:{P1}:groups=32
  1x6x7x7,9x2x3x3:groups=3:stride=(2,1)
  1x32x9x9,32x4x3x3,32:{P1}:groups=8
  2x36x5x17,36x4x3x3:{P1}:groups=9:stride=(2,2)
  1x40x8x15,40x8x3x3,40:{P1}:groups=5:stride=(2,2)
  1x24x7x7,24x8x3x3:{P1}:groups=3
  # stride beyond the kernel, kernel beyond the map, dilation, one-sided padding
  1x5x17x17,6x5x2x2:stride=(4,3)
  1x16x9x9,16x16x1x1:stride=(4,4)
  1x16x2x2,16x16x5x5:{P2}
  1x7x3x3,5x7x7x7:{P3}
  1x9x15x16,7x9x3x3:{P2}:dilation=(2,2)
  1x16x12x12,16x16x3x3:padding=((3,3),(2,2)):dilation=(3,2)
  2x6x7x6,5x6x4x4:padding=((1,2),(1,2))
  1x16x8x8,16x16x3x3:padding=((0,1),(0,1)):stride=(2,2)
  1x16x5x5,16x16x3x3:padding=((0,3),(3,0))
  1x16x6x6,16x16x2x3:padding=((2,2),(3,3))
  1x3x4x4,4x3x3x3:padding=((3,3),(3,3))
  # long sums: several chunks of input channels
  1x256x7x7,40x256x3x3:{P1}
  1x520x4x4,34x520x3x3:{P1}
  1x1100x2x3,20x1100x1x1
  8x16x14x14,16x16x3x3:{P1}
"""

# Images in lanes: outputs and pixels around the tiles, in 16 images and more; kernels that reach far beyond the map;
# strides, dilation; several parts of the gradient by the weights.
LANES = f"""
  16x1x1x1,1x1x1x1,1
  16x1x9x9,6x1x5x5,6
  32x6x7x7,16x6x5x5,16
  48x3x6x5,7x3x3x3,7:{P1}
  16x2x5x4,5x2x3x3:padding=((2,2),(2,2))
  16x3x2x3,4x3x5x5,4:{P2}
  16x2x2x2,3x2x1x1,3:{P3}
  32x5x9x8,4x5x3x3,4:{P1}:stride=(2,2)
  16x3x11x9,13x3x2x3,13:stride=(1,3):dilation=(2,2)
  16x4x6x7,6x4x3x2:padding=((0,2),(1,0)):dilation=(2,1)
  64x1x33x31,2x1x3x3,2
  16x12x3x3,11x12x1x1,11
"""
LANES_EPILOGUE = f"""
  16x3x6x7,7x3x3x3,7,16x7x6x7:{P1}:activation=relu
  32x1x5x5,6x1x3x3,6,-:activation=sigmoid
  16x2x4x9,5x2x3x3,-,16x5x4x9:{P1}:activation=silu
  16x2x4x9,5x2x1x1,5,-:activation=leaky_relu
  16x2x4x9,5x2x1x1,5,16x5x4x9:activation=clamp
"""
LANES_GRADIENT_EPILOGUE = f"""
  16x7x6x5,7x3x3x3,16x3x6x5,16x3x6x5:{P1}:input_shape=(16,3,6,5)
  32x5x3x4,5x9x2x2,-,32x9x4x5:input_shape=(32,9,4,5)
  16x5x3x4,5x2x2x2,16x2x4x5,-:input_shape=(16,2,4,5)
"""

CONV1D = """
  1x1x1,1x1x1
  2x16x17,16x16x3,16:padding=((1,1),)
  1x17x33,33x17x3,33:padding=((0,2),):stride=(2,)
  1x5x9,7x5x4:dilation=(2,)
  2x18x29,18x1x5,18:padding=((2,2),):groups=18
  1x6x14,9x2x3:groups=3:stride=(3,)
  0x3x8,16x3x3,16
  32x3x19,7x3x5,7:padding=((2,2),)
  1x1x100,16x1x25,16:padding=((12,12),):stride=(4,)
"""
CONV3D = """
  1x1x1x1x1,1x1x1x1x1
  2x16x3x5x6,16x16x3x3x3,16:padding=((1,1),(1,1),(1,1))
  1x17x4x5x5,33x17x3x3x3,33:padding=((0,1),(1,1),(2,0)):stride=(2,1,2)
  1x5x5x6x7,7x5x2x3x4:dilation=(2,1,1)
  1x3x4x9x9,16x3x3x7x7,16:padding=((1,1),(3,3),(3,3)):stride=(1,2,2)
  2x16x4x4x4,18x16x1x1x1,18:stride=(2,2,2)
  2x20x2x3x5,8x20x1x1x1
  0x3x4x4x4,16x3x3x3x3,16
  1x16x1x7x7,16x16x3x3x3:padding=((1,1),(1,1),(1,1))
  1x4x7x1x1,5x4x3x1x1
"""

# Winograd: filters in several slices, the last of them short; one panel and several; several groups of tiles, the last
# smaller; few tiles; tiles that leave the map; 5x5; stride 2.
WINOGRAD = f"""
  1x200x7x9,40x200x3x3,40:{P1}
  2x96x13x15,49x96x3x3,-,2x49x13x15:{P1}:activation=relu
  1x24x61x58,80x24x3x3,80:{P1}
  3x70x7x7,20x70x3x3,20,3x20x7x7:{P1}:activation=silu
  1x33x4x3,16x33x3x3,16:{P1}:activation=clamp
  1x40x27x25,24x40x5x5,24:{P2}
  3x130x9x11,33x130x5x5,33,3x33x9x11:{P2}:activation=hardswish
  1x20x40x37,50x20x5x5,-,1x50x40x37:{P2}:activation=leaky_relu
  3x40x15x13,24x40x3x3,24:{P1}:stride=(2,2)
  1x330x14x9,49x330x3x3,-,1x49x7x5:{P1}:stride=(2,2):activation=relu
  1x20x57x60,36x20x3x3,36:stride=(2,2):activation=silu
"""

# Its gradients: parts of the transforms, a chunk of tiles and one more, channels of no whole block, wide padding.
WINOGRAD_GRADIENTS = f"""
  2x33x37x35,70x33x3x3:{P1}
  5x40x45x43,20x40x3x3
  1x16x9x10,16x16x3x3:padding=((2,2),(0,1))
  3x20x30x27,33x20x5x5:{P2}
  1x7x10x10,5x7x5x5:padding=((4,4),(3,4))
"""

# What the gradient by the input adds and where it is gated: tiles of all sizes, phases of a stride, Winograd.
CONV_GRADIENT_EPILOGUE = f"""
  2x40x9x13,40x70x1x1,2x70x9x13,2x70x9x13:input_shape=(2,70,9,13)
  1x33x7x7,33x18x1x1,-,1x18x7x7:input_shape=(1,18,7,7)
  2x33x7x7,33x20x1x1,2x20x14x13,2x20x14x13:stride=(2,2):input_shape=(2,20,14,13)
  2x20x8x7,20x33x3x3,2x33x15x14,-:{P1}:stride=(2,2):input_shape=(2,33,15,14)
  2x20x9x8,20x33x2x3,2x33x10x10,2x33x10x10:input_shape=(2,33,10,10)
  1x33x37x35,33x70x3x3,1x70x37x35,1x70x37x35:{P1}:input_shape=(1,70,37,35)
  2x20x26x23,20x33x5x5,-,2x33x26x23:{P2}:input_shape=(2,33,26,23)
  1x8x6x9,8x3x3x3,1x6x6x9,1x6x6x9:{P1}:groups=2:input_shape=(1,6,6,9)
"""

# The epilogue of the forward direction: bias, residual, activation; channels that do not fill a block.
CONV_EPILOGUE = f"""
  2x16x6x7,18x16x3x3,18,2x18x6x7:{P1}:activation=relu
  1x16x6x6,16x16x3x3,-,1x16x6x6:{P1}:activation=leaky_relu
  1x3x9x9,20x3x3x3,20,-:{P1}:activation=clamp:low=0.0:high=6.0
  1x40x5x6,33x40x1x1,33,1x33x5x6:activation=relu
  1x40x5x6,33x40x1x1,33,-:activation=leaky_relu
  2x19x8x8,19x1x3x3,19,2x19x8x8:{P1}:groups=19:activation=relu
  1x19x8x8,19x1x3x3,19,-:{P1}:groups=19:activation=clamp
  2x8x7x7,12x4x3x3,12,2x12x7x7:{P1}:groups=2:activation=relu
  1x64x7x7,64x64x3x3,64,1x64x7x7:{P1}:activation=leaky_relu
  1x40x15x9,33x40x3x3,33,1x33x15x9:{P1}:activation=silu
  2x19x8x9,19x1x3x3,19,-:{P1}:groups=19:activation=hardswish
  1x24x7x8,24x8x3x3,24,-:{P1}:groups=3:activation=silu
  1x19x6x29,19x1x7x7,19,-:{P3}:groups=19:activation=sigmoid
  1x3x15x16,20x3x3x3,20,-:{P1}:stride=(2,2):activation=hardswish
  2x40x1x1,33x40x1x1,33,-:activation=hardsigmoid
  1x40x5x6,33x40x1x1,33,-:activation=sigmoid
"""

# x, weight, bias, residual, scale, shift, centre
CONV_SCALED = """
  1x16x4x4,16x16x1x1,-,-,16
  2x40x5x6,33x40x1x1,33,-,40,40,40:input_activation=relu
  2x40x5x6,33x40x1x1,33,2x33x5x6,2x40x1x1:activation=relu
  3x24x7x7,80x24x1x1,-,-,3x24,24:activation=silu
  1x1x1x1,1x1x1x1,1,-,1,1,1:input_activation=relu
  1x64x15x14,70x64x1x1,70,-,64,-,64:stride=(2,2)
  2x32x9x11,32x16x1x1,32,-,2x32,32,32:groups=2:input_activation=relu
  1x560x3x5,48x560x1x1,-,-,560,560,560:input_activation=relu
"""
POOL = """
  32x3x9x8:kernel=(2,2):stride=(2,2):output_size=(4,4)
  16x5x7x6:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):output_size=(4,3)
  2x16x8x8:kernel=(2,2):stride=(2,2):output_size=(4,4)
  1x17x7x7:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):output_size=(4,4)
  1x1x1x1:kernel=(1,1):output_size=(1,1)
  1x33x1x29:kernel=(1,3):stride=(1,2):padding=((0,0),(1,1)):output_size=(1,15)
  2x3x29x1:kernel=(3,1):stride=(2,1):output_size=(14,1)
  1x64x14x14:kernel=(3,3):padding=((1,1),(1,1)):output_size=(14,14)
  1x31x9x9:kernel=(2,2):stride=(4,4):output_size=(2,2)
  1x16x6x6:kernel=(5,5):padding=((2,2),(2,2)):output_size=(6,6)
  1x16x7x7:kernel=(2,2):stride=(2,2):output_size=(4,4)
  2x5x10x11:kernel=(3,2):stride=(3,2):output_size=(4,6)
  1x15x28x28:kernel=(7,7):stride=(7,7):output_size=(4,4)
  1x20x7x7:kernel=(7,7):output_size=(1,1)
  0x4x6x6:kernel=(2,2):stride=(2,2):output_size=(3,3)
"""
MAX_POOL = """
  1x16x9x9:kernel=(3,3):dilation=(2,2):output_size=(5,5)
  1x6x12x13:kernel=(2,3):stride=(2,1):padding=((1,1),(1,1)):dilation=(3,2):output_size=(6,11)
  1x3x8x8:kernel=(3,3):stride=(2,2):padding=((0,1),(0,1)):output_size=(4,4)
"""
AVG_POOL = """
  1x16x7x7:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):count_include_pad=False:output_size=(4,4)
  1x16x7x7:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):divisor=5:output_size=(4,4)
  1x16x8x8:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):output_size=(5,5)
  1x16x8x8:kernel=(3,3):stride=(2,2):padding=((1,1),(1,1)):count_include_pad=False:output_size=(5,5)
"""
POOL1D = """
  2x17x33:kernel=(3,):stride=(2,):padding=((1,1),):output_size=(17,)
  1x5x8:kernel=(2,):stride=(3,):output_size=(3,)
"""
POOL3D = """
  2x17x4x5x6:kernel=(2,2,2):stride=(2,2,2):output_size=(2,2,3)
  1x16x5x7x8:kernel=(3,3,3):stride=(2,2,2):padding=((1,1),(1,1),(1,1)):output_size=(3,4,4)
  1x3x6x2x9:kernel=(4,1,3):stride=(1,2,3):padding=((2,2),(0,0),(1,1)):output_size=(7,1,3)
  1x33x7x3x3:kernel=(7,3,3):output_size=(1,1,1)
  0x4x2x6x6:kernel=(1,2,2):stride=(1,2,2):output_size=(2,3,3)
"""
ADAPTIVE_POOL3D = """
  2x17x4x5x6:output_size=(1,1,1)
  1x16x7x3x5:output_size=(3,5,2)
"""
ADAPTIVE_POOL = """
  16x3x7x6:output_size=(3,2)
  2x16x7x7:output_size=(1,1)
  1x17x7x7:output_size=(7,7)
  1x33x13x14:output_size=(6,6)
  1x3x5x4:output_size=(7,9)
  1x16x1x1:output_size=(1,1)
  2x5x10x7:output_size=(3,2)
  1x64x8x8:output_size=(4,4)
  0x4x6x6:output_size=(2,2)
"""
