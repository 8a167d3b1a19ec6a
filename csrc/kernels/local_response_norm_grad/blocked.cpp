// SPDX-License-Identifier: BSD-3-Clause
// dx = dy s^-beta - 2 alpha beta / size * x * sum of r over the channels whose windows hold this one, with s the
// denominator's base and r = dy x s^-(beta + 1). Blocked maps: the squares of all channels of a pixel, then r, stand side
// by side in scratch with zeros around them; windows are sums of shifted loads. A unit is one row of pixels.
#include "simd/response.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const LocalResponseNorm& norm = op.local_response_norm;
  if (!is_blocked(norm.x) || !is_blocked(norm.y) || !is_blocked(norm.dy)) return 0;
  out[0] = Variant{};
  out[0].ns = response_ns(norm, machine, 3, 2);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const LocalResponseNorm& norm = op.local_response_norm;
  work->phases = 1;
  work->units[0] = norm.x.n * norm.x.d * norm.x.h;
  work->scratch_bytes = 2 * padded_channels(norm) * 4;
}

// x, dy and dx point at channel 0 of the pixel, squares and products at that of the scratch.
void one_pixel(const LocalResponseNorm& op, const Response& r, float* squares, float* products, const float* x,
               const float* dy, float* dx) {
  const int64_t blocks = blocks_of(op.x.c);
  const Block alpha = block_set1(r.alpha), k = block_set1(r.k), factor = block_set1(2 * r.alpha * r.beta);
  for (int64_t b = 0; b < blocks; ++b) {
    const Block v = block_load(x + b * op.x.sc);
    block_store(squares + b * kBlock, mul(v, v));
  }
  for (int64_t b = 0; b < blocks; ++b) {
    const Block s = fma(window_sum(squares + b * kBlock, r.before, r.after), alpha, k);
    const Block v = block_load(x + b * op.x.sc), d = block_load(dy + b * op.dy.sc);
    Block direct;
    unroll<kVecs>([&](auto i) CNNKERN_LAMBDA { direct.v[i] = mul(d.v[i], inverse_power(s.v[i], r.beta)); });
    Block product = div(mul(direct, v), s);
    const int lanes = static_cast<int>(least(kBlock, op.x.c - b * kBlock));
    if (lanes < kBlock) {
      direct = select(first_channels(lanes), direct, block_zero());
      product = select(first_channels(lanes), product, block_zero());
    }
    block_store(dx + b * op.y.sc, direct);
    block_store(products + b * kBlock, product);
  }
  for (int64_t b = 0; b < blocks; ++b) {
    const Block sum = window_sum(products + b * kBlock, r.after, r.before);
    const Block v = fnma(mul(factor, block_load(x + b * op.x.sc)), sum, block_load(dx + b * op.y.sc));
    const int lanes = static_cast<int>(least(kBlock, op.x.c - b * kBlock));
    block_store(dx + b * op.y.sc, lanes == kBlock ? v : select(first_channels(lanes), v, block_zero()));
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const LocalResponseNorm& op = prepared.op.local_response_norm;
  const Response r = response_of(op);
  const int64_t padded = padded_channels(op), zeros = first_channel_at(op);
  float* scratch = static_cast<float*>(context.scratch);
  for (int64_t i = 0; i < 2 * padded; i += kBlock) block_store(scratch + i, block_zero());
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % op.x.h, d = unit / op.x.h % op.x.d, n = unit / (op.x.h * op.x.d);
    const float* x = at_block(op.x, static_cast<const float*>(context.args[LocalResponseNorm::kSaved]), n, 0, d, h, 0);
    const float* dy = at_block(op.dy, static_cast<const float*>(context.args[LocalResponseNorm::kDy]), n, 0, d, h, 0);
    float* dx = at_block(op.y, static_cast<float*>(context.args[LocalResponseNorm::kDx]), n, 0, d, h, 0);
    for (int64_t w = 0; w < op.x.w; ++w)
      one_pixel(op, r, scratch + zeros, scratch + padded + zeros, x + w * kBlock, dy + w * kBlock, dx + w * kBlock);
  }
}

}  // namespace

extern const Kernel local_response_norm_grad_blocked;
const Kernel local_response_norm_grad_blocked = {
    "blocked", OpKind::kLocalResponseNormGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
