// SPDX-License-Identifier: BSD-3-Clause
// The register tile of convolutions with a small square kernel whose groups are narrower than a vector, depthwise ones
// above all: kRows x kPixels pixels of kLanes channels, and every pixel of the input under them is loaded once and
// multiplied with all the taps that reach it. Depthwise 3x3 at stride 1 and 2 x 7 pixels: 36 loads for 126
// multiplications, where a load per multiplication is all that the ports can do.
//
// With groups of kGroup channels a pixel serves kGroup times, with channel i of every group in all the lanes of that
// group, so that a product is kGroup taps long for each of the kernel's.
//
// AVX-512: 14 accumulators, 9 weights, 1 pixel of 32 registers (5x5 and groups: the weights come from L1). AVX2: 2 x 4
// pixels.
#pragma once
#include "simd/conv_geometry.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct WindowArgs {
  const float* x;  // under the first tap of the first pixel
  int64_t x_row;
  const float* w;  // [tap][kGroup][16]
  Vec bias;
  float* y;
  int64_t y_row;
  const float* residual;  // null: none
  int64_t residual_row;
  Epilogue epilogue;
  int lanes;  // channels that exist; those beyond become zero
  bool streams = false;
  bool far_pixels = false;  // x is not in the caches
};

constexpr int kWindowPixels = kRegisters == 32 ? 7 : 4;
constexpr int kWindowRows = 2;

// body(row, pixel) for every pixel of the tile.
template <int kRows, int kPixels, class Body>
CNNKERN_INLINE void each_pixel(Body&& body) {
  unroll<kRows>([&](auto r) CNNKERN_LAMBDA { unroll<kPixels>([&](auto p) CNNKERN_LAMBDA { body(r, p); }); });
}

template <int kRows, int kPixels>
CNNKERN_INLINE void window_epilogue(const WindowArgs& a, Vec (&acc)[kRows][kPixels]) {
  if (a.residual)
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
      acc[r][p] = add(acc[r][p], load(a.residual + r * a.residual_row + p * kBlock));
    });
  const Activation activation = a.epilogue.activation;
  if (activation == Activation::kLeakyRelu) {
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { acc[r][p] = activate(a.epilogue, acc[r][p]); });
  } else if (activation == Activation::kRelu || activation == Activation::kClamp) {  // ReLU clamps to [0, infinity]
    const bool relu = activation == Activation::kRelu;
    const Vec low = set1(relu ? 0.0f : a.epilogue.low), high = set1(relu ? __builtin_inff() : a.epilogue.high);
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { acc[r][p] = min(high, max(low, acc[r][p])); });
  }
  each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
    if (a.streams)
      stream(a.y + r * a.y_row + p * kBlock, acc[r][p]);
    else
      store(a.y + r * a.y_row + p * kBlock, acc[r][p]);
  });
  if (is_long(activation))
    activate_stored(activation, {a.y, kRows, a.y_row, kPixels, kBlock}, a.lanes);
  else if (a.lanes < kLanes)
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
      float* const pixel = a.y + r * a.y_row + p * kBlock;
      store(pixel, load_n(pixel, a.lanes));
    });
}

// Lane l becomes what lane l / kGroup * kGroup + kChannel was.
template <int kGroup, int kChannel, int... kLane>
CNNKERN_INLINE Vec spread(Vec x, std::integer_sequence<int, kLane...>) {
  return {__builtin_shufflevector(x.v, x.v, (kLane / kGroup * kGroup + kChannel)...)};
}

template <int kTaps, int kStride, int kGroup, int kRows, int kPixels>
void window_tile(const WindowArgs& a) {
  Vec acc[kRows][kPixels];
  each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { acc[r][p] = a.bias; });
  constexpr int kInputRows = (kRows - 1) * kStride + kTaps, kInputColumns = (kPixels - 1) * kStride + kTaps;
  const float* row = a.x;
  unroll<kInputRows>([&](auto i) CNNKERN_LAMBDA {
    unroll<kInputColumns>([&](auto j) CNNKERN_LAMBDA {
      const Vec pixel = load(row + j * kBlock);
      unroll<kGroup>([&](auto c) CNNKERN_LAMBDA {
        Vec x = pixel;
        if constexpr (kGroup > 1)
          x = spread<kGroup, decltype(c)::value>(pixel, std::make_integer_sequence<int, kLanes>{});
        each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
          constexpr int kR = decltype(i)::value - decltype(r)::value * kStride;
          constexpr int kS = decltype(j)::value - decltype(p)::value * kStride;
          if constexpr (kR >= 0 && kR < kTaps && kS >= 0 && kS < kTaps)
            acc[r][p] = fma(x, load(a.w + ((kR * kTaps + kS) * kGroup + c) * kBlock), acc[r][p]);
        });
      });
    });
    row += a.x_row;
  });
  window_epilogue<kRows, kPixels>(a, acc);
}

// kRows rows of the result, tile by tile; `width` is at least that of a tile.
template <int kTaps, int kStride, int kGroup, int kRows>
CNNKERN_INLINE void window_row(WindowArgs a, int64_t width) {
  const float* const x = a.x;
  float* const y = a.y;
  const float* const residual = a.residual;
  // The last tile overlaps the one before it: the same bits twice.
  for (int64_t w = 0; w < width; w += kWindowPixels) {
    const int64_t start = least(w, width - kWindowPixels);
    a.x = x + start * kStride * kBlock;
    if (a.far_pixels) {  // the rows that the next band will read for the first time
      const float* const next = a.x + ((kRows - 1) * kStride + kTaps) * a.x_row;
      for (int r = 0; r < kRows * kStride; ++r)
        for (int i = 0; i < kWindowPixels * kStride; ++i) __builtin_prefetch(next + r * a.x_row + i * kBlock);
    }
    a.y = y + start * kBlock;
    a.residual = residual ? residual + start * kBlock : nullptr;
    window_tile<kTaps, kStride, kGroup, kRows, kWindowPixels>(a);
  }
}

CNNKERN_INLINE int64_t window_bands(const Conv& c) { return (c.y.h + kWindowRows - 1) / kWindowRows; }

// Kernel kTaps x kTaps at stride kStride, no dilation, groups of kGroup input and as many output channels.
CNNKERN_INLINE bool window_serves(const Conv& c, int64_t taps, int64_t stride, int64_t group) {
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked || !is_blocked(c.residual)) return false;
  if (c.w.d != 1 || c.x.d != 1 || c.y.d != 1 || c.padding[0] != 0 || !border_suffices(c)) return false;
  return c.w.h == taps && c.w.w == taps && c.stride[1] == stride && c.stride[2] == stride && c.dilation[1] == 1 &&
         c.dilation[2] == 1 && c.w.c == group && c.w.n == c.groups * group && c.y.w >= kWindowPixels;
}

// The arithmetic alone.
CNNKERN_INLINE double window_work_ns(const Conv& c, const Machine& machine) {
  const double tiles = static_cast<double>(c.y.n * blocks_of(c.y.c) * window_bands(c) * kVecs) *
                       static_cast<double>((c.y.w + kWindowPixels - 1) / kWindowPixels);
  const double slots = tiles * (kWindowRows * kWindowPixels * static_cast<double>(taps_of(c) * c.w.c) * 1.2 + 30);
  return slots * 2 * kLanes / (machine.flops_per_ns * machine.threads);
}

CNNKERN_INLINE float window_ns(const Conv& c, const Machine& machine) {
  const double bytes = map_bytes(c.x) + map_bytes(c.y) + map_bytes(c.residual);
  return static_cast<float>(window_work_ns(c, machine) + 0.5 * traffic_ns(bytes, machine) + 1000);
}

// A unit is a band of kWindowRows rows of one channel block of one image. (Strips of a map with all their channels,
// which the pointwise convolutions around it divide likewise: the step takes 10 to 25% longer, those gain less.)
CNNKERN_INLINE void window_work(const Conv& c, Work* work) {
  *work = {};
  work->phases = 1;
  work->units[0] = c.y.n * blocks_of(c.y.c) * window_bands(c);
  work->pack_units = blocks_of(c.y.c);
  work->packed_bytes = work->pack_units * taps_of(c) * c.w.c * kBlock * static_cast<int64_t>(sizeof(float));
}

// [block][tap][channel of the group][16]
CNNKERN_INLINE void window_pack(const Conv& c, int64_t first, int64_t last, const float* weight, float* packed) {
  const int64_t taps = taps_of(c), group = c.w.c;
  float* to = packed + first * taps * group * kBlock;
  for (int64_t block = first; block < last; ++block)
    for (int64_t tap = 0; tap < taps; ++tap)
      for (int64_t channel = 0; channel < group; ++channel)
        for (int64_t lane = 0; lane < kBlock; ++lane) {
          const int64_t output = block * kBlock + lane;
          *to++ = output < c.y.c ? weight[(output * group + channel) * taps + tap] : 0.0f;
        }
}

template <int kTaps, int kStride, int kGroup>
CNNKERN_INLINE void window_run(const Prepared& prepared, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const int64_t bands = window_bands(c), blocks = blocks_of(c.y.c);
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  const float* const bias = argument(Conv::kBias);
  const float* const residual = argument(Conv::kResidual);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % bands * kWindowRows, block = unit / bands % blocks, n = unit / (bands * blocks);
    const int lanes = static_cast<int>(least(kBlock, c.y.c - block * kBlock));
    for (int v = 0; v < kVecs; ++v) {
      WindowArgs a;
      a.lanes = lanes_of(lanes, v);
      a.x = at_block(c.x, argument(Conv::kX), n, block, 0, h * kStride - c.padding[1], -c.padding[2]) + v * kLanes;
      a.x_row = c.x.sh;
      a.w = static_cast<const float*>(context.packed) + block * kTaps * kTaps * kGroup * kBlock + v * kLanes;
      a.bias = bias ? load_n(bias + block * kBlock + v * kLanes, a.lanes) : zero();
      a.y = at_block(c.y, argument(Conv::kY), n, block, 0, h, 0) + v * kLanes;
      a.y_row = c.y.sh;
      a.residual = residual ? at_block(c.residual, residual, n, block, 0, h, 0) + v * kLanes : nullptr;
      a.residual_row = c.residual.sh;
      a.epilogue = c.epilogue;
      a.streams = kVecs == 1 && is_streamed(c.y) && !is_long(c.epilogue.activation);  // half lines would be slow
      a.far_pixels = kVecs == 1 && map_bytes(c.x) > kStreamBytes;
      if (c.y.h - h >= kWindowRows)
        window_row<kTaps, kStride, kGroup, kWindowRows>(a, c.y.w);
      else
        window_row<kTaps, kStride, kGroup, 1>(a, c.y.w);
    }
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
