// SPDX-License-Identifier: BSD-3-Clause
// y = x / (k + alpha / size * sum of x^2 over neighbouring channels) ^ beta. Plain maps: a unit is 64 pixels with all of
// their channels, so that the rows of a window stay in the first cache while it moves from channel to channel.
// Measured, one core (Zen 5, AVX-512, windows of 5): 0.36 ns per element.
#include "simd/response.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const LocalResponseNorm& norm = op.local_response_norm;
  if (!is_plain(norm.x) || !is_plain(norm.y) || !pixels_follow(norm.x) || !pixels_follow(norm.y)) return 0;
  out[0] = Variant{};
  out[0].ns = response_ns(norm, machine, 2, 1);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.local_response_norm.x.n * pixel_tiles(op.local_response_norm.x);
}

template <bool kFull>
CNNKERN_INLINE void one_channel(const Response& r, const float* x, int64_t first, int64_t last, int64_t stride,
                                int64_t channel, float* y, int lanes) {
  const auto read = [&](int64_t c)
                        CNNKERN_LAMBDA { return kFull ? load(x + c * stride) : load_n(x + c * stride, lanes); };
  Vec sum = zero();
  for (int64_t c = first; c <= last; ++c) {
    const Vec v = read(c);
    sum = fma(v, v, sum);
  }
  const Vec v = respond(read(channel), fma(sum, set1(r.alpha), set1(r.k)), r.beta);
  if (kFull)
    store(y, v);
  else
    store_n(y, v, lanes);
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const LocalResponseNorm& op = prepared.op.local_response_norm;
  const Response r = response_of(op);
  const int64_t tiles = pixel_tiles(op.x), pixels = op.x.d * op.x.h * op.x.w;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t at = unit % tiles * kTilePixels, end = least(pixels, at + kTilePixels);
    const float* x = static_cast<const float*>(context.args[LocalResponseNorm::kX]) + unit / tiles * op.x.sn;
    float* y = static_cast<float*>(context.args[LocalResponseNorm::kY]) + unit / tiles * op.y.sn;
    for (int64_t c = 0; c < op.x.c; ++c) {
      const int64_t low = most(0, c - r.before), high = least(op.x.c - 1, c + r.after);
      int64_t p = at;
      for (; p + kLanes <= end; p += kLanes)
        one_channel<true>(r, x + p, low, high, op.x.sc, c, y + c * op.y.sc + p, kLanes);
      if (p < end) one_channel<false>(r, x + p, low, high, op.x.sc, c, y + c * op.y.sc + p, static_cast<int>(end - p));
    }
  }
}

}  // namespace

extern const Kernel local_response_norm_plain;
const Kernel local_response_norm_plain = {"plain", OpKind::kLocalResponseNorm, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
