// SPDX-License-Identifier: BSD-3-Clause
// y[i] = the sum of weight[t] x[index[t]] along the innermost axis of plain maps. kLanes rows are transposed into scratch,
// so that a place of the axis is one vector of them, summed there, and transposed back: as fast for scattered places as
// for neighbours. For rows that fit the second cache so.
// Measured, one core (Zen 5, AVX-512, from the last cache): 0.3 ns per element for one tap, 5 row by row.
#include "simd/taps.hpp"
#include "simd/transpose.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kElementNs = 0.15;  // in and out of the transposed form, per element of x or y, and for each tap

// Rows of W are read and written from end to end: the axes before it only have to be in order.
CNNKERN_INLINE bool rows_in_order(const Tensor& t) {
  return t.sh == t.w && (t.d == 1 || t.sd == t.h * t.sh) && t.sc == t.d * t.h * t.w && (t.n == 1 || t.sn == t.c * t.sc);
}

int64_t padded(int64_t size) { return (size + kLanes - 1) / kLanes * kLanes; }
int64_t scratch_floats(const Resample& op) { return (padded(op.x.w) + padded(op.y.w)) * kLanes; }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Resample& resample = op.resample;
  if (resample.axis != 4 || !is_plain(resample.x) || !is_plain(resample.y)) return 0;
  if (!rows_in_order(resample.x) || !rows_in_order(resample.y)) return 0;
  if (scratch_floats(resample) * 4 > machine.l2_bytes / 2) return 0;
  const double rows = elements(resample.y) / static_cast<double>(resample.y.w);
  const double numbers = elements(resample.x) + elements(resample.y) + rows * static_cast<double>(resample.taps);
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(resample.x) + elements(resample.y)) +
              static_cast<float>(numbers * kElementNs * 16 / kLanes / machine.threads);
  return 1;
}

int64_t rows_of(const Tensor& t) { return t.n * t.c * t.d * t.h; }

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = (rows_of(op.resample.y) + kLanes - 1) / kLanes;
  work->scratch_bytes = scratch_floats(op.resample) * 4;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Resample& op = prepared.op.resample;
  const Taps taps = taps_of(op, context);
  const int64_t rows = rows_of(op.y), in = op.x.w, out = op.y.w;
  float *from = static_cast<float*>(context.scratch), *to = from + padded(in) * kLanes;
  for (int64_t unit = first; unit < last; ++unit) {
    const float* x = static_cast<const float*>(context.args[Resample::kX]) + unit * kLanes * in;
    float* y = static_cast<float*>(context.args[Resample::kY]) + unit * kLanes * out;
    const int count = static_cast<int>(least(kLanes, rows - unit * kLanes));
    for (int64_t j = 0; j < in; j += kLanes)
      transpose_part(x + j, in, from + j * kLanes, kLanes, count, static_cast<int>(least(kLanes, in - j)));
    for (int64_t i = 0; i < out; ++i) {
      const int64_t begin = first_tap(taps, i), end = first_tap(taps, i + 1);
      Vec sum = zero();
      if (begin < end) sum = mul(load(from + place(taps, begin) * kLanes), set1(taps.weight[begin]));
      for (int64_t t = begin + 1; t < end; ++t)
        sum = fma(load(from + place(taps, t) * kLanes), set1(taps.weight[t]), sum);
      store(to + i * kLanes, sum);
    }
    for (int64_t i = 0; i < out; i += kLanes)
      transpose_part(to + i * kLanes, kLanes, y + i, out, static_cast<int>(least(kLanes, out - i)), count);
  }
}

}  // namespace

extern const Kernel resample_lanes;
const Kernel resample_lanes = {"lanes", OpKind::kResample, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
