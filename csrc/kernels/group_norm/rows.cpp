// SPDX-License-Identifier: BSD-3-Clause
// y = weight (x - mean) rstd + bias for matrices (N, C), each group of columns of each row with its own statistics: layer
// normalization is one group. A unit is a few rows; a row is read three times, twice of it from the first cache.
#include "simd/norm_sums.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int64_t rows_per_unit(const Tensor& x) { return most(1, kTileFloats / x.c); }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const GroupNorm& norm = op.group_norm;
  if (!is_plain(norm.x) || !is_plain(norm.y) || norm.x.d * norm.x.h * norm.x.w != 1) return 0;
  if (norm.x.sc != 1 || norm.y.sc != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(norm.x) + elements(norm.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Tensor& x = op.group_norm.x;
  work->phases = 1;
  work->units[0] = (x.n + rows_per_unit(x) - 1) / rows_per_unit(x);
}

double lanes_total(Block sum) {
  float lanes[kBlock];
  block_store(lanes, sum);
  double total = 0;
  for (int i = 0; i < kBlock; ++i) total += static_cast<double>(lanes[i]);
  return total;
}

struct Statistics { double mean, rstd; };

Statistics statistics_of(const float* x, int64_t count, double eps) {
  const int64_t steps = count / kBlock;
  const int rest = static_cast<int>(count % kBlock);
  Block sum = block_zero(), squares = block_zero();
  add_steps<true>(x, kBlock, steps, kBlock, sum);
  if (rest) add_steps<false>(x + steps * kBlock, kBlock, 1, rest, sum);
  const double elements = static_cast<double>(count);
  float centre = static_cast<float>(lanes_total(sum) / elements);
  if (!(__builtin_fabsf(centre) < __builtin_inff())) centre = 0.0f;  // the sum overflowed: any other value serves
  sum = block_zero();
  add_deviations<true>(x, kBlock, steps, kBlock, block_set1(centre), sum, squares);
  if (rest) add_deviations<false>(x + steps * kBlock, kBlock, 1, rest, block_set1(centre), sum, squares);
  const double moved = lanes_total(sum) / elements;
  const double variance = lanes_total(squares) / elements - moved * moved;
  return {static_cast<double>(centre) + moved, 1 / __builtin_sqrt((variance < 0 ? 0 : variance) + eps)};
}

// weight and bias are those of the group's columns, or null.
void normalize(const float* x, float* y, int64_t count, const Statistics& s, const float* weight, const float* bias) {
  const float centre = static_cast<float>(s.mean), factor = static_cast<float>(s.rstd);
  const Vec mean = set1(centre), rstd = set1(factor);
  const Vec moved = set1(static_cast<float>((static_cast<double>(centre) - s.mean) * s.rstd));
  for (int64_t i = 0; i < count; i += kLanes) {
    const int lanes = static_cast<int>(least(kLanes, count - i));
    const auto read = [&](const float* p)
                          CNNKERN_LAMBDA { return lanes == kLanes ? load(p + i) : load_n(p + i, lanes); };
    Vec v = fma(sub(read(x), mean), rstd, moved);
    if (weight && bias)
      v = fma(v, read(weight), read(bias));
    else if (weight)
      v = mul(v, read(weight));
    else if (bias)
      v = add(v, read(bias));
    if (lanes == kLanes)
      store(y + i, v);
    else
      store_n(y + i, v, lanes);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const GroupNorm& op = prepared.op.group_norm;
  const auto vector = [&](int i) CNNKERN_LAMBDA { return static_cast<float*>(context.args[i]); };
  const float *weight = op.has_weight ? vector(GroupNorm::kWeight) : nullptr,
              *bias = op.has_bias ? vector(GroupNorm::kBias) : nullptr;
  const int64_t columns = op.x.c / op.groups, rows = rows_per_unit(op.x);
  for (int64_t n = first * rows; n < least(op.x.n, last * rows); ++n)
    for (int64_t g = 0; g < op.groups; ++g) {
      const float* x = vector(GroupNorm::kX) + n * op.x.sn + g * columns;
      const Statistics s = statistics_of(x, columns, static_cast<double>(op.eps));
      vector(GroupNorm::kMean)[n * op.groups + g] = static_cast<float>(s.mean);
      vector(GroupNorm::kRstd)[n * op.groups + g] = static_cast<float>(s.rstd);
      normalize(x, vector(GroupNorm::kY) + n * op.y.sn + g * columns, columns, s,
                weight ? weight + g * columns : nullptr, bias ? bias + g * columns : nullptr);
    }
}

}  // namespace

extern const Kernel group_norm_rows;
const Kernel group_norm_rows = {"rows", OpKind::kGroupNorm, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
