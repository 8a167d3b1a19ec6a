// SPDX-License-Identifier: BSD-3-Clause
// What the convolutions by Winograd's algorithm share around their products: tiles of blocked maps, the transforms of a
// group of them, and packed filters, which are the plain ones: [block of 16 outputs][input channel][tap][16], each tap
// with its weight.
#pragma once
#include "simd/conv_geometry.hpp"
#include "simd/conv_sweep.hpp"
#include "simd/winograd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct WinogradMaps {
  Tensor in, out, residual, gate;
  int64_t top, left;             // padding before
  int64_t rows, columns, tiles;  // tiles of an image; of all images
  int64_t in_blocks, out_blocks;
  int64_t channels;  // input channels, with those that fill up the last step
};

constexpr int64_t odd_lines(int64_t floats) { return floats / kBlock % 2 == 0 ? floats + kBlock : floats; }

template <class F>
CNNKERN_INLINE bool winograd_serves(const Conv& c) {
  for (int i = 1; i < 3; ++i)
    if (c.stride[i] != F::kStride || c.dilation[i] != 1) return false;
  return c.x.layout == Layout::kBlocked && c.y.layout == Layout::kBlocked && is_blocked(c.residual) &&
         is_blocked(c.gate) && c.groups == 1 && c.w.h == F::kTaps && c.w.w == F::kTaps && c.w.d == 1 && c.x.d == 1 &&
         c.y.d == 1 && c.padding[0] == 0 && border_suffices(c) && offsets_fit(c.x);
}

template <class F>
CNNKERN_INLINE WinogradMaps winograd_maps(const Conv& c) {
  constexpr int64_t kM = F::kOutputs;
  WinogradMaps m{};
  m.in = c.x, m.out = c.y, m.residual = c.residual, m.gate = c.gate;
  m.top = c.padding[1], m.left = c.padding[2];
  m.rows = (m.out.h + kM - 1) / kM, m.columns = (m.out.w + kM - 1) / kM;
  m.tiles = m.out.n * m.rows * m.columns;
  m.in_blocks = blocks_of(m.in.c), m.out_blocks = blocks_of(m.out.c);
  m.channels = quarters_of(m.in.c) * kStepChannels;
  return m;
}

template <class F>
CNNKERN_INLINE int64_t winograd_packed_floats(const WinogradMaps& m) {
  return F::kTaps * F::kTaps * m.channels * m.out_blocks * kBlock;
}

// Ends a block: the weights of the taps, and zeros for the channels that only fill up a step.
template <class F>
CNNKERN_INLINE void winograd_end_pack(const WinogradMaps& m, float* packed) {
  constexpr int64_t kTaps = F::kTaps, kAll = kTaps * kTaps;
  for (int64_t tap = 0; tap < kAll; ++tap) {
    const double factor = F::kTap[tap / kTaps] * F::kTap[tap % kTaps];
    if (factor == 1) continue;
    for (int64_t c = 0; c < m.in.c; ++c)
      for (int i = 0; i < kBlock; ++i) {
        float& value = packed[(c * kAll + tap) * kBlock + i];
        value = static_cast<float>(factor * static_cast<double>(value));
      }
  }
  for (int64_t i = m.in.c * kAll; i < m.channels * kAll; ++i) block_store(packed + i * kBlock, block_zero());
}

// One block of output channels.
template <class F>
CNNKERN_INLINE void winograd_pack(const WinogradMaps& m, int64_t block, const float* weight, float* packed) {
  constexpr int64_t kAll = F::kTaps * F::kTaps;
  const int64_t columns = m.in.c * kAll;
  packed += block * m.channels * kAll * kBlock;
  const auto place = [&](int64_t j) { return packed + j * kBlock; };
  transpose_rows(weight + block * kBlock * columns, columns, least(kBlock, m.out.c - block * kBlock), columns, place);
  winograd_end_pack<F>(m, packed);
}

// One block of the input's channels, for the gradient by the input: the filters are turned, and what were outputs are
// the channels that are summed.
template <class F>
CNNKERN_INLINE void winograd_pack_turned(const WinogradMaps& m, int64_t block, const float* weight, float* packed) {
  constexpr int64_t kAll = F::kTaps * F::kTaps, kAhead = 6;  // rows ahead: see conv2d_grad_input/direct.cpp
  const int64_t lanes = least(kBlock, m.out.c - block * kBlock), row = m.out.c * kAll;
  weight += block * kBlock * kAll;
  packed += block * m.channels * kAll * kBlock;
  for (int64_t c = 0; c < m.in.c; ++c) {
    for (int64_t i = 0; i < lanes * kAll; i += kBlock) __builtin_prefetch(weight + (c + kAhead) * row + i);
    const auto place = [&](int64_t tap) { return packed + (c * kAll + kAll - 1 - tap) * kBlock; };
    transpose_rows(weight + c * row, kAll, lanes, kAll, place);
  }
  winograd_end_pack<F>(m, packed);
}

// Where tile `index` lies.
template <class F> struct WinogradTile {
  int64_t n, h, w;  // first output pixel
  WinogradTile(const WinogradMaps& m, int64_t index)
      : n(index / (m.rows * m.columns)),
        h(index / m.columns % m.rows * F::kOutputs),
        w(index % m.columns * F::kOutputs) {}
};

// The transform of kFrom x kFrom pixels of one block of a map from (h, w) on, of which `rows` and `columns` exist:
// to[i * row + j * column].
template <int kFrom, int kTo, class Apply>
CNNKERN_INLINE void winograd_pixels(Apply&& apply, const float* corner, int64_t row_step, int64_t rows, int64_t columns,
                                    float* to, int64_t row, int64_t column) {
  for (int v = 0; v < kBlock; v += kLanes) {
    if (rows >= kFrom && columns >= kFrom)
      transform_pixels<kFrom, kTo, true>(apply, corner + v, row_step, rows, columns, to + v, row, column);
    else
      transform_pixels<kFrom, kTo, false>(apply, corner + v, row_step, rows, columns, to + v, row, column);
  }
}

// The transformed input of one block of channels and one tile.
template <class F>
void winograd_input(const WinogradMaps& m, const float* x, int64_t block, int64_t index, float* to, int64_t row,
                    int64_t column) {
  const WinogradTile<F> tile(m, index);
  const int64_t h = tile.h * F::kStride - m.top, w = tile.w * F::kStride - m.left;
  const auto apply = [](const Vec* d, Vec* t) CNNKERN_LAMBDA { F::input(d, t); };
  winograd_pixels<F::kSize, F::kSize>(apply, at_block(m.in, x, tile.n, block, 0, h, w), m.in.sh,
                                      m.in.h + m.in.after[1] - h, m.in.w + m.in.after[2] - w, to, row, column);
}

// The gradient by the products of one block of channels and one tile, from that by the result.
template <class F>
void winograd_output_gradient(const WinogradMaps& m, const float* dy, int64_t block, int64_t index, float* to,
                              int64_t row, int64_t column) {
  const WinogradTile<F> tile(m, index);
  const auto apply = [](const Vec* y, Vec* t) CNNKERN_LAMBDA { F::output_gradient(y, t); };
  winograd_pixels<F::kOutputs, F::kSize>(apply, at_block(m.out, dy, tile.n, block, 0, tile.h, tile.w), m.out.sh,
                                         m.out.h - tile.h, m.out.w - tile.w, to, row, column);
}

struct WinogradResult {
  const float* bias;
  const float* residual;
  const float* gate;
  float* y;
  Epilogue epilogue;
};

// The result of one tile and one block of channels; frequencies of the products are `frequency` floats apart.
template <class F>
void winograd_output(const WinogradMaps& m, const float* products, int64_t frequency, int64_t index, int64_t block,
                     const WinogradResult& result) {
  const int lanes = static_cast<int>(least(kBlock, m.out.c - block * kBlock));
  const WinogradTile<F> tile(m, index);
  const int64_t rows = m.out.h - tile.h, columns = m.out.w - tile.w;
  float* const y = at_block(m.out, result.y, tile.n, block, 0, tile.h, tile.w);
  const auto corner = [&](const Tensor& t, const float* p)
                          CNNKERN_LAMBDA { return p ? at_block(t, p, tile.n, block, 0, tile.h, tile.w) : nullptr; };
  const float *const residual = corner(m.residual, result.residual), *const gate = corner(m.gate, result.gate);
  const bool later = is_long(result.epilogue.activation);
  for (int v = 0; v < kVecs; ++v) {
    const int used = lanes_of(lanes, v);
    const Vec bias = result.bias ? load_n(result.bias + block * kBlock + v * kLanes, used) : zero();
    transform_output<F>(products + v * kLanes, frequency, [&](int64_t r, int64_t s, Vec value) CNNKERN_LAMBDA {
      if (r >= rows || s >= columns) return;
      value = add(value, bias);
      if (residual) value = add(value, load(residual + r * m.residual.sh + s * kBlock + v * kLanes));
      if (gate) value = relu_slope(value, load(gate + r * m.gate.sh + s * kBlock + v * kLanes));
      float* const pixel = y + r * m.out.sh + s * kBlock + v * kLanes;
      store(pixel, later ? value : activate(result.epilogue, value));
      if (used < kLanes) store(pixel, load_n(pixel, used));
    });
    if (later)
      activate_stored(result.epilogue.activation,
                      {y + v * kLanes, least(rows, F::kOutputs), m.out.sh, least(columns, F::kOutputs), kBlock}, used);
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
