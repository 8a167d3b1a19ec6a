# SPDX-License-Identifier: BSD-3-Clause
"""Rows of cases of normalization without a batch, of tables along an axis and of axes that move."""

MOVING = """
  # groups of channels that are and are not whole blocks, one channel each, one group, layers as rows of a matrix
  group_norm:2x32x5x5,32,32:groups=2
  group_norm:2x18x5x7,18,18:groups=3
  group_norm:1x17x3x3,17,-:groups=17
  group_norm:3x40x4x4,-,40:groups=1
  group_norm:2x6x31x33,-,-:groups=3
  group_norm:1x4x64x64,4,4:groups=2
  group_norm:2x8x9,8,8:groups=4
  group_norm:2x6x3x4x5,6,6:groups=2
  group_norm:7x33,33,33:groups=1
  group_norm:5x300,300,-:groups=3
  group_norm:1x5000,-,5000:groups=1
  group_norm_grad:2x32x5x5,2x32x5x5,2x2,2x2,32:groups=2
  group_norm_grad:2x18x5x7,2x18x5x7,2x3,2x3,18:groups=3
  group_norm_grad:1x17x3x3,1x17x3x3,1x17,1x17,-:groups=17
  group_norm_grad:2x6x31x33,2x6x31x33,2x3,2x3,6:groups=3
  group_norm_grad:70x33,70x33,70x1,70x1,33:groups=1
  group_norm_grad:5x300,5x300,5x3,5x3,-:groups=3
  # axes that move: rows, planes, tiles and parts of them, images to channels last and back, pixel shuffles
  permute:3x5:axes=(1,0)
  permute:33x129:axes=(1,0)
  permute:2x3x9x11:axes=(0,2,3,1)
  permute:2x9x11x3:axes=(0,3,1,2)
  permute:2x64x17x19:axes=(0,2,3,1)
  permute:2x5x7x30:axes=(0,2,1,3)
  permute:4x2x2x5x6:axes=(0,3,1,4,2)
  permute:4x5x2x6x3:axes=(0,2,4,1,3)
  permute:3x4x5x6x7:axes=(4,3,2,1,0)
  permute:2x1x3x4x1x5:axes=(5,1,0,3,4,2)
  permute:2x4x70:axes=(0,2,1)
  permute:2x70x4:axes=(0,2,1)
  permute:3x2x5000:axes=(0,2,1)
  permute:3x5000x2:axes=(0,2,1)
  permute:1x7000:axes=(1,0)
  permute:2x3x5000:axes=(1,0,2)
  # tables along every axis, several taps to a place and none, more places than there were, one place
  resample:2x17x5x6,8,20,20,6,20,20:axis=2
  resample:2x17x5x6,14,20,20,7,20,20:axis=3
  resample:2x17x5x6,18,17,17,18,17,17:axis=1
  resample:2x33x3x4,41,50,50,34,50,50:axis=1
  resample:3x16x2x2,5,9,9,4,9,9:axis=0
  resample:2x5x3x4x6,8,9,9,4,9,9:axis=2
  resample:2x5x3x4x6,8,9,9,5,9,9:axis=3
  resample:1x1x1x1,2,3,3,2,3,3:axis=3
  resample:1x3x40x100,81,160,160,41,160,160:axis=2
  resample:37,12,30,30,38,30,30:axis=0
  resample:9x21,41,80,80,22,80,80:axis=1
  resample:2x3x20,9,30,30,21,30,30:axis=2
  # places between pixels and beyond the map: one chunk, several and parts of one; one pixel; volumes
  grid_sample:2x17x5x6,2x4x7x2
  grid_sample:1x3x9x11,1x13x10x2:mode=bicubic:padding_mode=reflection
  grid_sample:2x5x8x7,2x8x8x2:mode=nearest:padding_mode=border:align_corners=True
  grid_sample:1x2x1x1,1x3x3x2:padding_mode=reflection
  grid_sample:2x3x4x5x6,2x3x5x7x3:padding_mode=border
  grid_sample:1x20x3x4x5,1x2x3x4x3:mode=nearest
  grid_sample:3x2x1x5,3x1x65x2:align_corners=True:mode=bicubic
  grid_sample_grad_input:2x17x4x7,2x4x7x2:input_shape=(2,17,5,6)
  grid_sample_grad_input:1x3x13x10,1x13x10x2:input_shape=(1,3,9,11):mode=bicubic:padding_mode=reflection
  grid_sample_grad_input:2x5x8x8,2x8x8x2:input_shape=(2,5,8,7):mode=nearest:padding_mode=border:align_corners=True
  grid_sample_grad_input:2x3x3x5x7,2x3x5x7x3:input_shape=(2,3,4,5,6):padding_mode=border
  grid_sample_grad_input:1x33x20x30,1x20x30x2:input_shape=(1,33,4,4)
  grid_sample_grad_grid:2x17x4x7,2x17x5x6,2x4x7x2
  grid_sample_grad_grid:1x3x13x10,1x3x9x11,1x13x10x2:mode=bicubic:padding_mode=reflection
  grid_sample_grad_grid:2x5x8x8,2x5x8x7,2x8x8x2:padding_mode=border:align_corners=True
  grid_sample_grad_grid:2x3x3x5x7,2x3x4x5x6,2x3x5x7x3:padding_mode=reflection
  # windows that touch, overlap, leave pixels out; one window; volumes
  fractional_max_pool:2x17x9x10,2x17x2:kernel=(2,3):output_size=(5,4)
  fractional_max_pool:1x3x8x8,1x3x2:kernel=(2,2):output_size=(7,7)
  fractional_max_pool:2x2x5x6,2x2x2:kernel=(5,1):output_size=(1,6)
  fractional_max_pool:1x4x5x6x7,1x4x3:kernel=(2,2,2):output_size=(3,4,2)
  fractional_max_pool_grad:2x17x5x4,2x17x5x4:input_shape=(2,17,9,10)
  fractional_max_pool_grad:1x3x9x9,1x3x9x9:input_shape=(1,3,3,2)
  fractional_max_pool_grad:1x4x3x4x2,1x4x3x4x2:input_shape=(1,4,5,6,7)
  # windows of one, even ones, ones wider than the channels; pixels around a tile
  local_response_norm:2x17x5x7:size=5:k=2.0:alpha=0.5
  local_response_norm:1x16x8x8:size=1
  local_response_norm:1x3x9x9:size=4:beta=0.5:alpha=1.0
  local_response_norm:2x40x1x65:size=9:beta=1.0:alpha=2.0
  local_response_norm:1x5x3x4:size=31:alpha=3.0
  local_response_norm:2x20x3:size=3:alpha=1.0
  local_response_norm:2x4x3x2x5:size=2:alpha=1.0:beta=0.0
  local_response_norm_grad:2x17x5x7,2x17x5x7:size=5:k=2.0:alpha=0.5
  local_response_norm_grad:1x16x8x8,1x16x8x8:size=1
  local_response_norm_grad:1x3x9x9,1x3x9x9:size=4:beta=0.5:alpha=1.0
  local_response_norm_grad:2x40x1x65,2x40x1x65:size=9:beta=1.0:alpha=2.0
  local_response_norm_grad:1x5x3x4,1x5x3x4:size=31:alpha=3.0
"""
