// SPDX-License-Identifier: BSD-3-Clause
// The gradient of group normalization for matrices (N, C): with A = the sum of weight dy over a group of columns of a row
// and B that of weight dy (x - mean), dx = rstd (weight dy - A / L - rstd^2 B / L (x - mean)). Phase 0 takes fixed
// chunks of rows and sums dweight and dbias of each in shared memory; phase 1 adds the chunks up.
#include "simd/norm_sums.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kMostChunks = 32;  // of rows: so many sums of all columns are kept

int64_t chunks_of(const Tensor& x) { return least(x.n, kMostChunks); }
int64_t padded(const Tensor& x) { return blocks_of(x.c) * kBlock; }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const GroupNorm& norm = op.group_norm;
  for (const Tensor* t : {&norm.x, &norm.y, &norm.dx})
    if (!is_plain(*t) || t->d * t->h * t->w != 1 || t->sc != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, 3 * elements(norm.x));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Tensor& x = op.group_norm.x;
  work->phases = 2;
  work->units[0] = chunks_of(x);
  work->units[1] = blocks_of(x.c);
  work->shared_bytes = chunks_of(x) * 2 * padded(x) * 4;
}

CNNKERN_INLINE Vec read(const float* p, int64_t i, int lanes) {
  return lanes == kLanes ? load(p + i) : load_n(p + i, lanes);
}

// Calls body(i, lanes) for the columns in vectors.
template <class Body>
CNNKERN_INLINE void for_columns(int64_t count, Body&& body) {
  for (int64_t i = 0; i < count; i += kLanes) body(i, static_cast<int>(least(kLanes, count - i)));
}

struct Group {
  const float *dy, *x, *weight;  // weight may be null
  float *dx, *dweight, *dbias;   // the chunk's sums
  int64_t count;
  float mean, rstd;
};

void one_group(const Group& g) {
  const Vec mean = set1(g.mean), rstd = set1(g.rstd);
  Vec dys = zero(), products = zero();
  double a = 0, b = 0;
  const auto flush = [&]() CNNKERN_LAMBDA {
    a += static_cast<double>(reduce_add(dys)), b += static_cast<double>(reduce_add(products));
    dys = products = zero();
  };
  for_columns(g.count, [&](int64_t i, int lanes) CNNKERN_LAMBDA {
    const Vec dy = read(g.dy, i, lanes), weighted = g.weight ? mul(dy, read(g.weight, i, lanes)) : dy;
    const Vec centred = sub(read(g.x, i, lanes), mean);
    dys = add(dys, weighted);
    products = fma(weighted, centred, products);  // beyond the columns dy is 0
    const Vec gradient = mul(dy, mul(centred, rstd));
    if (lanes == kLanes) {
      store(g.dweight + i, add(load(g.dweight + i), gradient));
      store(g.dbias + i, add(load(g.dbias + i), dy));
    } else {
      store_n(g.dweight + i, add(load_n(g.dweight + i, lanes), gradient), lanes);
      store_n(g.dbias + i, add(load_n(g.dbias + i, lanes), dy), lanes);
    }
    if (i % (64 * kLanes) == 63 * kLanes) flush();
  });
  flush();
  const double count = static_cast<double>(g.count), r = static_cast<double>(g.rstd);
  const Vec along_x = set1(static_cast<float>(-r * r * r * b / count)),
            constant = set1(static_cast<float>(-r * a / count));
  for_columns(g.count, [&](int64_t i, int lanes) CNNKERN_LAMBDA {
    const Vec dy = read(g.dy, i, lanes), weighted = g.weight ? mul(dy, read(g.weight, i, lanes)) : dy;
    const Vec dx = fma(weighted, rstd, fma(sub(read(g.x, i, lanes), mean), along_x, constant));
    if (lanes == kLanes)
      store(g.dx + i, dx);
    else
      store_n(g.dx + i, dx, lanes);
  });
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const GroupNorm& op = prepared.op.group_norm;
  const auto vector = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const int64_t chunks = chunks_of(op.x), width = padded(op.x), columns = op.x.c / op.groups;
  float* shared = static_cast<float*>(context.shared);
  const float* weight = op.has_weight ? vector(GroupNorm::kGWeight) : nullptr;
  for (int64_t unit = first; unit < last; ++unit) {
    if (phase == 1) {
      const int64_t at = unit * kBlock;
      const int lanes = static_cast<int>(least(kBlock, op.x.c - at));
      Block dweight = block_zero(), dbias = block_zero();
      for (int64_t k = 0; k < chunks; ++k) {
        dweight = add(dweight, block_load(shared + 2 * k * width + at));
        dbias = add(dbias, block_load(shared + (2 * k + 1) * width + at));
      }
      block_store_n(vector(GroupNorm::kGDweight) + at, dweight, lanes);
      block_store_n(vector(GroupNorm::kGDbias) + at, dbias, lanes);
      continue;
    }
    float *dweight = shared + 2 * unit * width, *dbias = dweight + width;
    for (int64_t i = 0; i < 2 * width; i += kBlock) block_store(dweight + i, block_zero());
    for (int64_t n = op.x.n * unit / chunks; n < op.x.n * (unit + 1) / chunks; ++n)
      for (int64_t k = 0; k < op.groups; ++k) {
        const int64_t at = k * columns, s = n * op.groups + k;
        one_group({vector(GroupNorm::kGDy) + n * op.y.sn + at, vector(GroupNorm::kGX) + n * op.x.sn + at,
                   weight ? weight + at : nullptr, vector(GroupNorm::kGDx) + n * op.dx.sn + at, dweight + at,
                   dbias + at, columns, vector(GroupNorm::kGMean)[s], vector(GroupNorm::kGRstd)[s]});
      }
  }
}

}  // namespace

extern const Kernel group_norm_grad_rows;
const Kernel group_norm_grad_rows = {"rows", OpKind::kGroupNormGrad, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
