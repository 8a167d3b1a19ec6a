// SPDX-License-Identifier: BSD-3-Clause
// Making Tensor descriptions: strides, borders, bytes. For ops, engine and bind; kernels only read the struct.
#pragma once
#include "core/op.hpp"

namespace cnnkern {

struct Border {
  int32_t before[3] = {0, 0, 0}, after[3] = {0, 0, 0};  // D, H, W
  bool any() const { return before[0] || before[1] || before[2] || after[0] || after[1] || after[2]; }
};

// From a shape of rank 1 to 5: (C), (N, C), (N, C, W), (N, C, H, W), (N, C, D, H, W); rank 0 is (1, 1). Throws
// std::invalid_argument for any other rank, a negative dimension, or a product that is too large.
Tensor plain_tensor(const int64_t* shape, int rank);
// The same shape in blocks of 16 channels with a border. Channel-block strides are an odd number of cache lines, so that
// walking the channel blocks of a 56 x 56 map (49 * 4096 bytes) does not stay in one set of the cache.
Tensor blocked_tensor(const Tensor& shape, const Border& border);
// The same shape with 16 images in the lanes of each channel, as long as their number is a multiple of 16 and there is one
// plane. For maps of few channels, of which a block would be mostly zeros.
Tensor lanes_tensor(const Tensor& shape, const Border& border);
// Images in lanes as kernels that do not know of them can take them: 16 times as many channels, of 16 times fewer images,
// in blocks; a plain map of pixels 16 times as many; and the same images as 16 channels, in a block, each with a plane per
// channel. Other layouts stay as they are, but in the last case.
Tensor lanes_as_blocked(const Tensor& t);
Tensor lanes_as_plain(const Tensor& t);
Tensor images_as_channels(const Tensor& t);
// The same elements seen as one image of n * c channels (planes are independent in pooling).
Tensor planes_as_channels(const Tensor& plain);

int64_t tensor_bytes(const Tensor& t);   // of the whole allocation, borders included, a multiple of 64
int64_t origin_offset(const Tensor& t);  // elements from its start to element (0, 0, 0, 0, 0)

}  // namespace cnnkern
