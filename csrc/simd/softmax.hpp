// SPDX-License-Identifier: BSD-3-Clause
// Softmax over the middle axis of (outer, size, inner), and what is built on it. Where inner is 1 the classes of a
// position are a row and fill the lanes; otherwise the lanes are neighbouring positions and the classes are walked one
// by one. The maximum is taken off before exp, so nothing overflows; a row with NaN or +infinity, or of -infinity
// alone, becomes NaN.
#pragma once
#include "simd/axes.hpp"
#include "simd/math.hpp"

namespace CNNKERN_NAMESPACE {

constexpr int64_t kUnitFloats = 4096;  // of logits, about: 16 KB
constexpr int64_t kLevelClasses = 32;  // additions before a sum is added to the next level

// Positions come in groups that never leave one outer index: rows (inner 1) of their own, or kLanes columns.
CNNKERN_INLINE int64_t softmax_groups(const Softmax& op) {
  return op.inner == 1 ? op.outer : op.outer * ((op.inner + kLanes - 1) / kLanes);
}
CNNKERN_INLINE int64_t groups_per_unit(const Softmax& op) {
  return most(1, kUnitFloats / (op.inner == 1 ? op.size : op.size * kLanes));
}
CNNKERN_INLINE int64_t softmax_units(const Softmax& op) {
  const int64_t per_unit = groups_per_unit(op);
  return (softmax_groups(op) + per_unit - 1) / per_unit;
}

// One group: where its logits begin, its first position, and how many positions (columns) it has.
struct Group {
  int64_t logits, position;
  int count;
};

template <class Body>
CNNKERN_INLINE void for_groups(const Softmax& op, int64_t first, int64_t last, Body&& body) {
  const int64_t per_unit = groups_per_unit(op), strips = (op.inner + kLanes - 1) / kLanes;
  const int64_t end = least(last * per_unit, softmax_groups(op));
  for (int64_t i = first * per_unit; i < end; ++i) {
    const int64_t outer = op.inner == 1 ? i : i / strips, column = op.inner == 1 ? 0 : i % strips * kLanes;
    body(Group{outer * op.size * op.inner + column, outer * op.inner + column,
               static_cast<int>(least(kLanes, op.inner - column))});
  }
}

CNNKERN_INLINE Mask first_lanes_mask(int64_t n) {
  const float index[kBlock] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return less(load(index), set1(static_cast<float>(n)));
}
CNNKERN_INLINE Vec load_some(const float* p, int n) { return n == kLanes ? load(p) : load_n(p, n); }
CNNKERN_INLINE void store_some(float* p, Vec v, int n) {
  if (n == kLanes)
    store(p, v);
  else
    store_n(p, v, n);
}

// body(i, count) for the vectors of a row of n: all lanes but in the last one.
template <class Body>
CNNKERN_INLINE void for_vectors(int64_t n, Body&& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, static_cast<int>(n - i));
}

CNNKERN_INLINE float row_max(const float* x, int64_t n) {
  const Vec lowest = set1(-__builtin_inff());
  Vec best = lowest;
  for_vectors(n, [&](int64_t i, int count) CNNKERN_LAMBDA {
    const Vec v = load_some(x + i, count);
    best = max(count == kLanes ? v : select(first_lanes_mask(count), v, lowest), best);  // passes over NaN
  });
  float lanes[kLanes];
  store(lanes, best);
  float result = lanes[0];
  for (int i = 1; i < kLanes; ++i) result = lanes[i] > result ? lanes[i] : result;
  return result;
}

// The sum of term(i, count) over a row; lanes beyond `count` are taken out here.
template <class Term>
CNNKERN_INLINE float row_sum(int64_t n, Term&& term) {
  Vec sum[2] = {zero(), zero()};
  int64_t i = 0;
  for (; i + 2 * kLanes <= n; i += 2 * kLanes) {
    sum[0] = add(sum[0], term(i, kLanes));
    sum[1] = add(sum[1], term(i + kLanes, kLanes));
  }
  if (i + kLanes <= n) {
    sum[0] = add(sum[0], term(i, kLanes));
    i += kLanes;
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    sum[1] = add(sum[1], select(first_lanes_mask(rest), term(i, rest), zero()));
  }
  return reduce_add(add(sum[0], sum[1]));
}

// The sum of term(c) over the classes, each lane on its own.
template <class Term>
CNNKERN_INLINE Vec column_sum(int64_t size, Term&& term) {
  Vec sum = zero();
  for (int64_t c = 0; c < size;) {
    Vec level = zero();
    for (const int64_t end = least(size, c + kLevelClasses); c < end; ++c) level = add(level, term(c));
    sum = add(sum, level);
  }
  return sum;
}

CNNKERN_INLINE Vec column_max(const float* x, int64_t stride, int64_t size, int count) {
  Vec best = set1(-__builtin_inff());
  for (int64_t c = 0; c < size; ++c) best = max(load_some(x + c * stride, count), best);
  return best;
}

// y = softmax(x) or, kLog, its logarithm.
template <bool kLog>
CNNKERN_INLINE void softmax_group(const Softmax& op, const Group& group, const float* x, float* y) {
  x += group.logits;
  y += group.logits;
  if (op.inner == 1) {
    const Vec top = set1(row_max(x, op.size));
    const float sum = row_sum(op.size, [&](int64_t i, int count) CNNKERN_LAMBDA {
      const Vec e = exp(sub(load_some(x + i, count), top));
      if (!kLog) store_some(y + i, e, count);
      return e;
    });
    const Vec total = kLog ? log(set1(sum)) : set1(sum);
    for_vectors(op.size, [&](int64_t i, int count) CNNKERN_LAMBDA {
      const Vec v = kLog ? sub(sub(load_some(x + i, count), top), total) : div(load_some(y + i, count), total);
      store_some(y + i, v, count);
    });
    return;
  }
  const Vec top = column_max(x, op.inner, op.size, group.count);
  const Vec sum = column_sum(op.size, [&](int64_t c) CNNKERN_LAMBDA {
    const Vec e = exp(sub(load_some(x + c * op.inner, group.count), top));
    if (!kLog) store_some(y + c * op.inner, e, group.count);
    return e;
  });
  const Vec total = kLog ? log(sum) : sum;
  for (int64_t c = 0; c < op.size; ++c) {
    const float* from = (kLog ? x : y) + c * op.inner;
    const Vec v = load_some(from, group.count);
    store_some(y + c * op.inner, kLog ? sub(sub(v, top), total) : div(v, total), group.count);
  }
}

// dx = y (dy - sum dy y) or, kLog (y is the logarithm), dx = dy - e^y sum dy.
template <bool kLog>
CNNKERN_INLINE void softmax_grad_group(const Softmax& op, const Group& group, const float* dy, const float* y,
                                       float* dx) {
  dy += group.logits;
  y += group.logits;
  dx += group.logits;
  const auto combine = [](Vec d, Vec v, Vec sum)
                           CNNKERN_LAMBDA { return kLog ? fnma(exp(v), sum, d) : mul(v, sub(d, sum)); };
  if (op.inner == 1) {
    const Vec sum = set1(row_sum(op.size, [&](int64_t i, int count) CNNKERN_LAMBDA {
      const Vec d = load_some(dy + i, count);
      return kLog ? d : mul(d, load_some(y + i, count));
    }));
    for_vectors(op.size, [&](int64_t i, int count) CNNKERN_LAMBDA {
      store_some(dx + i, combine(load_some(dy + i, count), load_some(y + i, count), sum), count);
    });
    return;
  }
  const auto at = [&](const float* p, int64_t c) CNNKERN_LAMBDA { return load_some(p + c * op.inner, group.count); };
  const Vec sum =
      column_sum(op.size, [&](int64_t c) CNNKERN_LAMBDA { return kLog ? at(dy, c) : mul(at(dy, c), at(y, c)); });
  for (int64_t c = 0; c < op.size; ++c) store_some(dx + c * op.inner, combine(at(dy, c), at(y, c), sum), group.count);
}

CNNKERN_INLINE float softmax_ns(const Machine& machine, const Softmax& op, double streams) {
  const double floats = static_cast<double>(op.outer) * static_cast<double>(op.size) * static_cast<double>(op.inner);
  return stream_ns(machine, streams * floats) +
         static_cast<float>(60 * floats / (machine.flops_per_ns * machine.threads));
}

}  // namespace CNNKERN_NAMESPACE
