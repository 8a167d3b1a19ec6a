// SPDX-License-Identifier: BSD-3-Clause
// What local response normalization and its gradient share: s = k + alpha / size * (sum of squares), and s^-beta.
#pragma once
#include "simd/axes.hpp"
#include "simd/math.hpp"

namespace CNNKERN_NAMESPACE {

struct Response {
  int64_t before, after;  // channels of the window on either side, at most all of them
  float alpha, k;         // alpha / size
  float beta;
};

CNNKERN_INLINE Response response_of(const LocalResponseNorm& op) {
  const int64_t before = least(op.size / 2, op.x.c), after = least((op.size - 1) / 2, op.x.c);
  return {before, after, static_cast<float>(static_cast<double>(op.alpha) / static_cast<double>(op.size)), op.k,
          op.beta};
}

// s^-beta; the usual 3/4 by square roots, without a logarithm.
CNNKERN_INLINE Vec inverse_power(Vec s, float beta) {
  if (beta == 0.75f) {
    const Vec root = sqrt(s);
    return div(set1(1.0f), mul(root, sqrt(root)));
  }
  if (beta == 0.0f) return set1(1.0f);
  return exp(mul(set1(-beta), log(s)));
}

// x s^-beta. Where x and s are 0 that is 0 / 0, as in PyTorch.
CNNKERN_INLINE Vec respond(Vec x, Vec s, float beta) {
  if (beta == 0.75f) {
    const Vec root = sqrt(s);
    return div(x, mul(root, sqrt(root)));
  }
  return mul(x, inverse_power(s, beta));
}

// Plain maps: pixels of one tile, all of its channels belong to one unit. Pixels of an image follow each other.
constexpr int64_t kTilePixels = 64;

CNNKERN_INLINE bool pixels_follow(const Tensor& t) {
  return (t.h == 1 || t.sh == t.w) && (t.d == 1 || t.sd == t.h * t.w);
}
CNNKERN_INLINE int64_t pixel_tiles(const Tensor& t) { return (t.d * t.h * t.w + kTilePixels - 1) / kTilePixels; }

// Blocked maps: the numbers of a pixel side by side, zeros around them, so that a window is a sum of shifted loads.
constexpr int64_t kGroupPixels = 4;  // pixels whose numbers are written before the first is read: no load waits

// The sum of row[lane - before .. lane + after] for each of 16 lanes.
CNNKERN_INLINE Block window_sum(const float* row, int64_t before, int64_t after) {
  Block sum = block_load(row - before);
  for (int64_t i = 1 - before; i <= after; ++i) sum = add(sum, block_load(row + i));
  return sum;
}
// Floats of a pixel with its zeros: windows of the last block may reach `most` lanes beyond it.
CNNKERN_INLINE int64_t padded_channels(const LocalResponseNorm& op) {
  return (blocks_of(op.x.c) + 2 * blocks_of(least(op.size, op.x.c))) * kBlock;
}
CNNKERN_INLINE int64_t first_channel_at(const LocalResponseNorm& op) {
  return blocks_of(least(op.size, op.x.c)) * kBlock;
}

CNNKERN_INLINE float response_ns(const LocalResponseNorm& op, const Machine& machine, double streams, double rounds) {
  const double size = static_cast<double>(least(op.size, 2 * op.x.c));
  const double flops = elements(op.x) * rounds * (2 * size + 20);
  return stream_ns(machine, streams * elements(op.x)) +
         static_cast<float>(flops / (machine.flops_per_ns / 8 * machine.threads));
}

}  // namespace CNNKERN_NAMESPACE
