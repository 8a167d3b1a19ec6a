// SPDX-License-Identifier: BSD-3-Clause
// dx = dy s^-beta - 2 alpha beta / size * x * sum of r over the channels whose windows hold this one, with s the
// denominator's base and r = dy x s^-(beta + 1). Plain maps: a unit is 64 pixels with all of their channels; r goes to
// scratch in a first round over the channels and is summed in a second.
#include "simd/response.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const LocalResponseNorm& norm = op.local_response_norm;
  for (const Tensor* t : {&norm.x, &norm.y, &norm.dy})
    if (!is_plain(*t) || !pixels_follow(*t)) return 0;
  out[0] = Variant{};
  out[0].ns = response_ns(norm, machine, 3, 2);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const LocalResponseNorm& norm = op.local_response_norm;
  work->phases = 1;
  work->units[0] = norm.x.n * pixel_tiles(norm.x);
  work->scratch_bytes = norm.x.c * kTilePixels * 4;
}

// The first round at one place: what dy gives to dx directly, and r.
CNNKERN_INLINE void weigh(const Response& r, Vec dy, Vec x, Vec sum, Vec& direct, Vec& product) {
  const Vec s = fma(sum, set1(r.alpha), set1(r.k));
  direct = mul(dy, inverse_power(s, r.beta));
  product = div(mul(direct, x), s);
}

CNNKERN_INLINE Vec read(const float* p, int lanes) { return lanes == kLanes ? load(p) : load_n(p, lanes); }
CNNKERN_INLINE void write(float* p, Vec v, int lanes) {
  if (lanes == kLanes)
    store(p, v);
  else
    store_n(p, v, lanes);
}

struct Tile {
  const float *x, *dy;
  float *dx, *products;
  int64_t pixels;
};

void first_round(const LocalResponseNorm& op, const Response& r, const Tile& tile) {
  for (int64_t c = 0; c < op.x.c; ++c) {
    const int64_t low = most(0, c - r.before), high = least(op.x.c - 1, c + r.after);
    for (int64_t p = 0; p < tile.pixels; p += kLanes) {
      const int lanes = static_cast<int>(least(kLanes, tile.pixels - p));
      Vec sum = zero(), direct, product;
      for (int64_t j = low; j <= high; ++j) {
        const Vec v = read(tile.x + j * op.x.sc + p, lanes);
        sum = fma(v, v, sum);
      }
      weigh(r, read(tile.dy + c * op.dy.sc + p, lanes), read(tile.x + c * op.x.sc + p, lanes), sum, direct, product);
      write(tile.dx + c * op.y.sc + p, direct, lanes);
      store(tile.products + c * kTilePixels + p, product);
    }
  }
}

void second_round(const LocalResponseNorm& op, const Response& r, const Tile& tile) {
  const Vec factor = set1(2 * r.alpha * r.beta);
  for (int64_t c = 0; c < op.x.c; ++c) {
    const int64_t low = most(0, c - r.after), high = least(op.x.c - 1, c + r.before);
    for (int64_t p = 0; p < tile.pixels; p += kLanes) {
      const int lanes = static_cast<int>(least(kLanes, tile.pixels - p));
      Vec sum = zero();
      for (int64_t j = low; j <= high; ++j) sum = add(sum, load(tile.products + j * kTilePixels + p));
      float* dx = tile.dx + c * op.y.sc + p;
      write(dx, fnma(mul(factor, read(tile.x + c * op.x.sc + p, lanes)), sum, read(dx, lanes)), lanes);
    }
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const LocalResponseNorm& op = prepared.op.local_response_norm;
  const Response r = response_of(op);
  const int64_t tiles = pixel_tiles(op.x), pixels = op.x.d * op.x.h * op.x.w;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t n = unit / tiles, at = unit % tiles * kTilePixels;
    const Tile tile{static_cast<const float*>(context.args[LocalResponseNorm::kSaved]) + n * op.x.sn + at,
                    static_cast<const float*>(context.args[LocalResponseNorm::kDy]) + n * op.dy.sn + at,
                    static_cast<float*>(context.args[LocalResponseNorm::kDx]) + n * op.y.sn + at,
                    static_cast<float*>(context.scratch), least(kTilePixels, pixels - at)};
    first_round(op, r, tile);
    second_round(op, r, tile);
  }
}

}  // namespace

extern const Kernel local_response_norm_grad_plain;
const Kernel local_response_norm_grad_plain = {"plain", OpKind::kLocalResponseNormGrad, candidates, prepare, nullptr,
                                               run};

}  // namespace CNNKERN_NAMESPACE
