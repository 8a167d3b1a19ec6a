// SPDX-License-Identifier: BSD-3-Clause
// The register tile of depthwise convolutions with a small square kernel: kRows x kPixels pixels of kLanes channels, and
// every pixel of the input under them is loaded once and multiplied with all the taps that reach it. 3x3 at stride 1 and
// 2 x 7 pixels: 36 loads for 126 multiplications, where a load per multiplication is all that the ports can do.
//
// AVX-512: 14 accumulators, 9 weights, 1 pixel of 32 registers (5x5: the weights come from L1). AVX2: 2 x 4 pixels.
#pragma once
#include "simd/conv_geometry.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

struct WindowArgs {
  const float* x;  // under the first tap of the first pixel
  int64_t x_row;
  const float* w;  // [tap][16]
  Vec bias;
  float* y;
  int64_t y_row;
  const float* residual;  // null: none
  int64_t residual_row;
  Epilogue epilogue;
  int lanes;  // channels that exist; those beyond become zero
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
  } else if (activation != Activation::kNone) {  // ReLU is the clamp to [0, infinity]
    const bool relu = activation == Activation::kRelu;
    const Vec low = set1(relu ? 0.0f : a.epilogue.low), high = set1(relu ? __builtin_inff() : a.epilogue.high);
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { acc[r][p] = min(high, max(low, acc[r][p])); });
  }
  each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { store(a.y + r * a.y_row + p * kBlock, acc[r][p]); });
  if (a.lanes < kLanes)
    each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
      float* const pixel = a.y + r * a.y_row + p * kBlock;
      store(pixel, load_n(pixel, a.lanes));
    });
}

template <int kTaps, int kStride, int kRows, int kPixels>
void window_tile(const WindowArgs& a) {
  Vec acc[kRows][kPixels];
  each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA { acc[r][p] = a.bias; });
  constexpr int kInputRows = (kRows - 1) * kStride + kTaps, kInputColumns = (kPixels - 1) * kStride + kTaps;
  const float* row = a.x;
  unroll<kInputRows>([&](auto i) CNNKERN_LAMBDA {
    unroll<kInputColumns>([&](auto j) CNNKERN_LAMBDA {
      const Vec x = load(row + j * kBlock);
      each_pixel<kRows, kPixels>([&](auto r, auto p) CNNKERN_LAMBDA {
        constexpr int kR = decltype(i)::value - decltype(r)::value * kStride;
        constexpr int kS = decltype(j)::value - decltype(p)::value * kStride;
        if constexpr (kR >= 0 && kR < kTaps && kS >= 0 && kS < kTaps)
          acc[r][p] = fma(x, load(a.w + (kR * kTaps + kS) * kBlock), acc[r][p]);
      });
    });
    row += a.x_row;
  });
  window_epilogue<kRows, kPixels>(a, acc);
}

// kRows rows of the result, tile by tile; `width` is at least that of a tile.
template <int kTaps, int kStride, int kRows>
CNNKERN_INLINE void window_row(WindowArgs a, int64_t width) {
  const float* const x = a.x;
  float* const y = a.y;
  const float* const residual = a.residual;
  // The last tile overlaps the one before it: the same bits twice.
  for (int64_t w = 0; w < width; w += kWindowPixels) {
    const int64_t start = least(w, width - kWindowPixels);
    a.x = x + start * kStride * kBlock;
    a.y = y + start * kBlock;
    a.residual = residual ? residual + start * kBlock : nullptr;
    window_tile<kTaps, kStride, kRows, kWindowPixels>(a);
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
