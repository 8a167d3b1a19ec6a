// SPDX-License-Identifier: BSD-3-Clause
// y[i] = the sum of weight[t] x[index[t]] along one axis of plain maps. Where elements follow the axis they are the
// vectors: a position of the axis is a row, and a row of y is a sum of rows of x. Along the innermost axis eight rows go
// side by side, so that an index and a weight are read once for all of them. Limited by memory in the first form, by
// loads of single numbers in the second.
// Measured, one core (Zen 5, AVX-512, from the last cache): 44 bytes/ns along H; along W 5 ns per element and tap.
#include "simd/taps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kRows = 8;
constexpr double kGatherNs = 4.0;  // per tap and element of the innermost axis, one core

struct Split {
  int64_t outer, inner;      // positions before and elements after the axis
  int64_t pieces, piece;     // of the elements after the axis
  int64_t groups, per_unit;  // of the positions of the axis of y
  int64_t units;
};

Split split_of(const Resample& op) {
  const Tensor& y = op.y;
  const int64_t size[5] = {y.n, y.c, y.d, y.h, y.w};
  Split split{1, 1, 1, 1, 1, 1, 1};
  for (int i = 0; i < op.axis; ++i) split.outer *= size[i];
  for (int i = op.axis + 1; i < 5; ++i) split.inner *= size[i];
  if (split.inner == 1) {
    split.per_unit = size[op.axis];
    split.units = (split.outer + kRows - 1) / kRows;
    return split;
  }
  split.piece = least(split.inner, kTileFloats);
  split.pieces = (split.inner + split.piece - 1) / split.piece;
  split.per_unit = least(size[op.axis], most(1, kTileFloats / split.piece));
  split.groups = (size[op.axis] + split.per_unit - 1) / split.per_unit;
  split.units = split.outer * split.groups * split.pieces;
  return split;
}

// Where position `outer` of the axes before the axis begins in t.
CNNKERN_INLINE int64_t begin_of(const Tensor& t, int axis, int64_t outer) {
  const int64_t size[4] = {t.n, t.c, t.d, t.h}, stride[4] = {t.sn, t.sc, t.sd, t.sh};
  int64_t offset = 0;
  for (int i = axis - 1; i >= 0; --i) {
    offset += outer % size[i] * stride[i];
    outer /= size[i];
  }
  return offset;
}

CNNKERN_INLINE bool contiguous_after(const Tensor& t, int axis) {
  const int64_t stride[5] = {t.sn, t.sc, t.sd, t.sh, 1};
  const int64_t size[5] = {t.n, t.c, t.d, t.h, t.w};
  int64_t product = 1;
  for (int i = 4; i >= axis; --i) {
    if (size[i] != 1 && stride[i] != product) return false;
    product *= size[i];
  }
  return true;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Resample& resample = op.resample;
  if (!is_plain(resample.x) || !is_plain(resample.y)) return 0;
  if (!contiguous_after(resample.x, resample.axis) || !contiguous_after(resample.y, resample.axis)) return 0;
  const Split split = split_of(resample);
  out[0] = Variant{};
  const double rows = static_cast<double>(split.outer) * static_cast<double>(split.inner);
  const double taps = rows * static_cast<double>(resample.taps);
  out[0].ns = stream_ns(machine, taps + elements(resample.y));
  if (split.inner == 1) out[0].ns += static_cast<float>(taps * kGatherNs / machine.threads);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = split_of(op.resample).units;
}

// Rows first .. first + kRows - 1 along the innermost axis; the last ones may be the same row several times.
void gather_rows(const Resample& op, const Taps& taps, int64_t outer, int64_t first, const float* x, float* y) {
  const int64_t size = axis_of(op.y, op.axis);
  const float* from[kRows];
  float* to[kRows];
  for (int r = 0; r < kRows; ++r) {
    const int64_t row = least(first + r, outer - 1);
    from[r] = x + begin_of(op.x, op.axis, row);
    to[r] = y + begin_of(op.y, op.axis, row);
  }
  for (int64_t i = 0; i < size; ++i) {
    const int64_t begin = first_tap(taps, i), end = first_tap(taps, i + 1);
    float sum[kRows] = {};
    if (begin < end) {
      const int64_t at = place(taps, begin);
      const float weight = taps.weight[begin];
      unroll<kRows>([&](auto r) CNNKERN_LAMBDA { sum[r] = from[r][at] * weight; });
    }
    for (int64_t t = begin + 1; t < end; ++t) {
      const int64_t at = place(taps, t);
      const float weight = taps.weight[t];
      unroll<kRows>([&](auto r) CNNKERN_LAMBDA { sum[r] += from[r][at] * weight; });
    }
    unroll<kRows>([&](auto r) CNNKERN_LAMBDA { to[r][i] = sum[r]; });
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Resample& op = prepared.op.resample;
  const Split split = split_of(op);
  const Taps taps = taps_of(op, context);
  const float* x = static_cast<const float*>(context.args[Resample::kX]);
  float* y = static_cast<float*>(context.args[Resample::kY]);
  const int64_t size = axis_of(op.y, op.axis);
  for (int64_t unit = first; unit < last; ++unit) {
    if (split.inner == 1) {
      gather_rows(op, taps, split.outer, unit * kRows, x, y);
      continue;
    }
    const int64_t at = unit % split.pieces * split.piece, n = least(split.piece, split.inner - at);
    const int64_t group = unit / split.pieces % split.groups, outer = unit / (split.pieces * split.groups);
    const float* from = x + begin_of(op.x, op.axis, outer) + at;
    float* to = y + begin_of(op.y, op.axis, outer) + at;
    const int64_t end = least(size, (group + 1) * split.per_unit);
    for (int64_t i = group * split.per_unit; i < end; ++i)
      weighted_row(taps, first_tap(taps, i), first_tap(taps, i + 1), from, split.inner, to + i * split.inner, n);
  }
}

}  // namespace

extern const Kernel resample_plain;
const Kernel resample_plain = {"plain", OpKind::kResample, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
