// SPDX-License-Identifier: BSD-3-Clause
// The register tiles of convolutions on images in lanes. Every vector holds one pixel of 16 images, so no lane idles
// however few channels there are: what is broadcast is the weight. One flat loop over a table of offsets walks the
// reduction, as in simd/conv_tile.hpp:
//     acc[o][p] += x[p * x_step + offset[s]] * w[s][o]                      outputs x pixels
//     acc[o][t] += dy[o][pixel] * x[pixel + offset[t]]                      outputs x taps: the gradient by the weights
// AVX-512: 24 accumulators, 4 vectors that are loaded, 1 that is broadcast or loaded. AVX2: 12 accumulators.
#pragma once
#include "simd/conv_tile.hpp"
#include "simd/weight_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kLanesOutputs = 6;
constexpr int kLanesPixels = kRegisters == 32 ? 4 : 1;
constexpr int kLanesWeightOutputs = kRegisters == 32 ? 4 : kVecs == 2 ? 3 : 1;
constexpr int kLanesWeightTaps = kRegisters == 32 ? 6 : 2;

// Of TileArgs: w is [steps][kOutputs], y_block the way from channel to channel, bias one number per output.
template <int kOutputs, int kPixels>
void lanes_tile(const TileArgs& a) {
  Block acc[kOutputs][kPixels];
  unroll<kOutputs>([&](auto o) CNNKERN_LAMBDA {
    const Block bias = a.bias ? block_set1(a.bias[o]) : block_zero();
    unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { acc[o][p] = bias; });
  });
  const int64_t step = a.x_step;
  const float* w = a.w;
  const int32_t* const end = a.offset + a.steps;
  for (const int32_t* offset = a.offset; offset != end; ++offset) {
    const float* const x = a.x + *offset;
    Block pixel[kPixels];
    unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { pixel[p] = block_load(x + p * step); });
    unroll<kOutputs>([&](auto o) CNNKERN_LAMBDA {
      const Vec weight = set1(w[o]);
      unroll<kPixels>([&](auto p) CNNKERN_LAMBDA {
        unroll<kVecs>([&](auto v) CNNKERN_LAMBDA { acc[o][p].v[v] = fma(pixel[p].v[v], weight, acc[o][p].v[v]); });
      });
    });
    w += kOutputs;
  }
  tile_epilogue<kPixels, kOutputs>(a, acc);
}

struct LanesWeightArgs {
  const float *x, *dy;  // channel 0, first output
  const Row* rows;
  int64_t row_count, columns, x_step, dy_channel;
  const int32_t* offset;  // of each tap of each channel
  float* dw;              // [kOutputs], `filter` apart, of kTaps numbers each
  int64_t filter;
};

template <int kOutputs, int kTaps>
void lanes_weight_tile(const LanesWeightArgs& a) {
  Block acc[kOutputs][kTaps];
  unroll<kOutputs>([&](auto o)
                       CNNKERN_LAMBDA { unroll<kTaps>([&](auto t) CNNKERN_LAMBDA { acc[o][t] = block_zero(); }); });
  const Row* row = a.rows;
  const float* x[kTaps];
  const auto start_row = [&] { unroll<kTaps>([&](auto t) CNNKERN_LAMBDA { x[t] = a.x + row->x + a.offset[t]; }); };
  start_row();
  const float* dy = a.dy + row->dy;
  const int64_t columns = a.columns, x_step = a.x_step, channel = a.dy_channel;
  int64_t column = columns, place = 0;
  for (int64_t left = a.row_count * columns;;) {
    unroll<kVecs>([&](auto v) CNNKERN_LAMBDA {
      Vec gradient[kOutputs];
      unroll<kOutputs>([&](auto o) CNNKERN_LAMBDA { gradient[o] = load(dy + o * channel + v * kLanes); });
      unroll<kTaps>([&](auto t) CNNKERN_LAMBDA {
        const Vec value = load(x[t] + place + v * kLanes);
        unroll<kOutputs>([&](auto o) CNNKERN_LAMBDA { acc[o][t].v[v] = fma(gradient[o], value, acc[o][t].v[v]); });
      });
    });
    if (--left == 0) break;
    place += x_step;
    dy += kBlock;
    if (--column == 0) {
      ++row;
      start_row();
      dy = a.dy + row->dy;
      column = columns;
      place = 0;
    }
  }
  unroll<kOutputs>([&](auto o) CNNKERN_LAMBDA {
    unroll<kTaps>([&](auto t) CNNKERN_LAMBDA {
      Vec sum = acc[o][t].v[0];
      unroll<kVecs - 1>([&](auto v) CNNKERN_LAMBDA { sum = add(sum, acc[o][t].v[v + 1]); });
      a.dw[o * a.filter + t] = reduce_add(sum);
    });
  });
}

using LanesWeightFunction = void (*)(const LanesWeightArgs&);

// Tiles of every size up to kOutputs times kOther accumulators, [(outputs - 1) * kOther + other - 1].
template <int kOther, class Sequence> struct LanesTiles;
template <int kOther, int... kIndex>
struct LanesTiles<kOther, std::integer_sequence<int, kIndex...>> {
  static constexpr TileFunction kForward[] = {lanes_tile<kIndex / kOther + 1, kIndex % kOther + 1>...};
};
template <int kOther, class Sequence> struct LanesWeightTiles;
template <int kOther, int... kIndex>
struct LanesWeightTiles<kOther, std::integer_sequence<int, kIndex...>> {
  static constexpr LanesWeightFunction kWeights[] = {lanes_weight_tile<kIndex / kOther + 1, kIndex % kOther + 1>...};
};

CNNKERN_INLINE TileFunction lanes_tile_function(int64_t outputs, int64_t pixels) {
  using Sizes = std::make_integer_sequence<int, kLanesOutputs * kLanesPixels>;
  return LanesTiles<kLanesPixels, Sizes>::kForward[(outputs - 1) * kLanesPixels + pixels - 1];
}
CNNKERN_INLINE LanesWeightFunction lanes_weight_function(int64_t outputs, int64_t taps) {
  using Sizes = std::make_integer_sequence<int, kLanesWeightOutputs * kLanesWeightTaps>;
  return LanesWeightTiles<kLanesWeightTaps, Sizes>::kWeights[(outputs - 1) * kLanesWeightTaps + taps - 1];
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
