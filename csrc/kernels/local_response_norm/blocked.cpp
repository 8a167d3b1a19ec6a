// SPDX-License-Identifier: BSD-3-Clause
// y = x / (k + alpha / size * sum of x^2 over neighbouring channels) ^ beta. Blocked maps: the squares of all channels of
// a few pixels are written side by side in scratch, with zeros around them; a window is then a sum of shifted loads. A
// unit is one row of pixels.
#include "simd/response.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const LocalResponseNorm& norm = op.local_response_norm;
  if (!is_blocked(norm.x) || !is_blocked(norm.y)) return 0;
  out[0] = Variant{};
  out[0].ns = response_ns(norm, machine, 2, 1);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const LocalResponseNorm& norm = op.local_response_norm;
  work->phases = 1;
  work->units[0] = norm.x.n * norm.x.d * norm.x.h;
  work->scratch_bytes = kGroupPixels * padded_channels(norm) * 4;
}

// One pixel: x and y point at channel 0, squares at that of the scratch.
void one_pixel(const LocalResponseNorm& op, const Response& r, const float* squares, const float* x, float* y) {
  const int64_t blocks = blocks_of(op.x.c);
  const Block alpha = block_set1(r.alpha), k = block_set1(r.k);
  for (int64_t b = 0; b < blocks; ++b) {
    const Block s = fma(window_sum(squares + b * kBlock, r.before, r.after), alpha, k);
    const Block from = block_load(x + b * op.x.sc);
    Block v;
    unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { v.v[i] = respond(from.v[i], s.v[i], r.beta); });
    const int lanes = static_cast<int>(least(kBlock, op.x.c - b * kBlock));
    block_store(y + b * op.y.sc, lanes == kBlock ? v : select(first_channels(lanes), v, block_zero()));
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const LocalResponseNorm& op = prepared.op.local_response_norm;
  const Response r = response_of(op);
  const int64_t blocks = blocks_of(op.x.c), padded = padded_channels(op), zeros = first_channel_at(op);
  float* scratch = static_cast<float*>(context.scratch);
  for (int64_t i = 0; i < kGroupPixels * padded; i += kBlock) block_store(scratch + i, block_zero());
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % op.x.h, d = unit / op.x.h % op.x.d, n = unit / (op.x.h * op.x.d);
    const float* x = at_block(op.x, static_cast<const float*>(context.args[LocalResponseNorm::kX]), n, 0, d, h, 0);
    float* y = at_block(op.y, static_cast<float*>(context.args[LocalResponseNorm::kY]), n, 0, d, h, 0);
    for (int64_t w = 0; w < op.x.w; w += kGroupPixels) {
      const int64_t pixels = least(kGroupPixels, op.x.w - w);
      for (int64_t p = 0; p < pixels; ++p)
        for (int64_t b = 0; b < blocks; ++b) {
          const Block v = block_load(x + (w + p) * kBlock + b * op.x.sc);
          block_store(scratch + p * padded + zeros + b * kBlock, mul(v, v));
        }
      for (int64_t p = 0; p < pixels; ++p)
        one_pixel(op, r, scratch + p * padded + zeros, x + (w + p) * kBlock, y + (w + p) * kBlock);
    }
  }
}

}  // namespace

extern const Kernel local_response_norm_blocked;
const Kernel local_response_norm_blocked = {"blocked", OpKind::kLocalResponseNorm, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
