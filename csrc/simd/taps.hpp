// SPDX-License-Identifier: BSD-3-Clause
// The tables of a resampling, read so that no entry can lead outside the arrays.
#pragma once
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {

CNNKERN_INLINE int64_t within(int64_t value, int64_t high) { return value < 0 ? 0 : value > high ? high : value; }

struct Taps {
  const int32_t *start, *index;
  const float* weight;
  int64_t taps, size;  // of the tables; of the axis of x
};
CNNKERN_INLINE int64_t first_tap(const Taps& taps, int64_t i) { return within(taps.start[i], taps.taps); }
CNNKERN_INLINE int64_t place(const Taps& taps, int64_t t) { return within(taps.index[t], taps.size - 1); }

CNNKERN_INLINE int64_t axis_of(const Tensor& t, int axis) {
  return axis == 0 ? t.n : axis == 1 ? t.c : axis == 2 ? t.d : axis == 3 ? t.h : t.w;
}

CNNKERN_INLINE Taps taps_of(const Resample& op, const Context& context) {
  return {static_cast<const int32_t*>(context.args[Resample::kStart]),
          static_cast<const int32_t*>(context.args[Resample::kIndex]),
          static_cast<const float*>(context.args[Resample::kWeight]), op.taps, axis_of(op.x, op.axis)};
}

// y[0 .. n) = the sum over taps [first, last) of weight * x[index * stride .. + n). One tap is a copy where its weight
// is 1; no tap is zeros.
CNNKERN_INLINE void weighted_row(const Taps& taps, int64_t first, int64_t last, const float* x, int64_t stride,
                                 float* y, int64_t n) {
  if (first >= last) {
    for (int64_t i = 0; i < n; i += kLanes) store_n(y + i, zero(), static_cast<int>(least(kLanes, n - i)));
    return;
  }
  const float* row = x + place(taps, first) * stride;
  if (last - first == 2) {
    const float* next = x + place(taps, first + 1) * stride;
    const Vec one = set1(taps.weight[first]), other = set1(taps.weight[first + 1]);
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) store(y + i, fma(load(next + i), other, mul(load(row + i), one)));
    const int rest = static_cast<int>(n - i);
    if (rest) store_n(y + i, fma(load_n(next + i, rest), other, mul(load_n(row + i, rest), one)), rest);
    return;
  }
  const Vec weight = set1(taps.weight[first]);
  for (int64_t i = 0; i < n; i += kLanes) {
    const int lanes = static_cast<int>(least(kLanes, n - i));
    const bool full = lanes == kLanes;
    Vec sum = mul(full ? load(row + i) : load_n(row + i, lanes), weight);
    for (int64_t t = first + 1; t < last; ++t) {
      const float* from = x + place(taps, t) * stride + i;
      sum = fma(full ? load(from) : load_n(from, lanes), set1(taps.weight[t]), sum);
    }
    if (full)
      store(y + i, sum);
    else
      store_n(y + i, sum, lanes);
  }
}

}  // namespace CNNKERN_NAMESPACE
