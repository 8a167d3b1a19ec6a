// SPDX-License-Identifier: BSD-3-Clause
// Pooling windows along one axis, as tables: which positions of the input a window visits, and which windows a position
// may belong to. Padding, dilation, adaptive windows and windows that hang over the edge are only numbers in these
// tables, so the kernels need neither borders nor special cases.
#pragma once
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {

// Taps first, first + dilation, ... that exist in the input; `elements` is what an average counts along this axis.
struct Window { int32_t first, taps, elements; };

// Windows first .. first + count - 1 may visit a position; `elements` is that of all of them, or 0 where they differ.
struct Span { int32_t first, count, elements; };

CNNKERN_INLINE int64_t ceil_divide(int64_t a, int64_t b) { return a >= 0 ? (a + b - 1) / b : -(-a / b); }

CNNKERN_INLINE int64_t axis_of(const Tensor& t, int axis) { return axis == 0 ? t.d : axis == 1 ? t.h : t.w; }

CNNKERN_INLINE Window window_of(const Pool& op, int axis, int64_t index) {
  const int64_t size = axis_of(op.x, axis), count = axis_of(op.y, axis);
  Window window;
  if (op.windows == Pool::kAdaptive) {
    window.first = static_cast<int32_t>(index * size / count);
    window.taps = static_cast<int32_t>(ceil_divide((index + 1) * size, count)) - window.first;
    window.elements = window.taps;
    return window;
  }
  const int64_t dilation = op.dilation[axis], padding = op.padding[axis], start = index * op.stride[axis] - padding;
  const int64_t skipped = start < 0 ? ceil_divide(-start, dilation) : 0;
  const int64_t end = least(op.kernel[axis], ceil_divide(size - start, dilation));
  window.first = static_cast<int32_t>(start + skipped * dilation);
  window.taps = static_cast<int32_t>(most(0, end - skipped));
  // Padding counts, but not what ceil mode hangs over beyond it.
  window.elements =
      op.count_include_pad ? static_cast<int32_t>(least(start + op.kernel[axis], size + padding) - start) : window.taps;
  return window;
}

CNNKERN_INLINE Span span_of(const Pool& op, int axis, int64_t position) {
  const int64_t size = axis_of(op.x, axis), count = axis_of(op.y, axis);
  int64_t first, last;
  if (op.windows == Pool::kAdaptive) {
    first = position * count / size;
    last = ceil_divide((position + 1) * count, size) - 1;
  } else {
    const int64_t reach = (op.kernel[axis] - 1) * op.dilation[axis], from_start = position + op.padding[axis];
    first = most(0, ceil_divide(from_start - reach, op.stride[axis]));
    last = least(count - 1, from_start / op.stride[axis]);
  }
  Span span{static_cast<int32_t>(first), static_cast<int32_t>(most(0, last - first + 1)), 0};
  if (span.count == 0) return span;
  span.elements = window_of(op, axis, first).elements;
  for (int64_t i = first + 1; i <= last && span.elements; ++i)
    if (window_of(op, axis, i).elements != span.elements) span.elements = 0;
  return span;
}

// The blocked maps that the pooling kernels work on.
CNNKERN_INLINE bool is_blocked_pool(const Pool& op) {
  return op.x.layout == Layout::kBlocked && op.y.layout == Layout::kBlocked && is_blocked(op.indices) &&
         op.windows != Pool::kByIndex && op.windows != Pool::kAddByIndex;
}

// Windows of the output planes, then of the output rows, then of the output columns.
struct WindowTable { const Window *planes, *rows, *columns; };
CNNKERN_INLINE int64_t window_count(const Pool& op) { return op.y.d + op.y.h + op.y.w; }
CNNKERN_INLINE void fill_windows(const Pool& op, Window* windows) {
  for (int axis = 0; axis < 3; ++axis)
    for (int64_t i = 0; i < axis_of(op.y, axis); ++i) *windows++ = window_of(op, axis, i);
}
CNNKERN_INLINE WindowTable window_table(const Pool& op, const void* table) {
  const Window* windows = static_cast<const Window*>(table);
  return {windows, windows + op.y.d, windows + op.y.d + op.y.h};
}

// Spans of the input planes, then of the input rows, then of the input columns.
struct SpanTable { const Span *planes, *rows, *columns; };
CNNKERN_INLINE int64_t span_count(const Pool& op) { return op.x.d + op.x.h + op.x.w; }
CNNKERN_INLINE void fill_spans(const Pool& op, Span* spans) {
  for (int axis = 0; axis < 3; ++axis)
    for (int64_t i = 0; i < axis_of(op.x, axis); ++i) *spans++ = span_of(op, axis, i);
}
CNNKERN_INLINE SpanTable span_table(const Pool& op, const void* table) {
  const Span* spans = static_cast<const Span*>(table);
  return {spans, spans + op.x.d, spans + op.x.d + op.x.h};
}

// Where a unit stands: one row of one plane of one channel block of one image.
struct RowUnit { int64_t n, block, d, h; };

// kDeep: there are several planes. What a single one need not divide by costs a row several percent.
template <bool kDeep>
CNNKERN_INLINE RowUnit row_unit(const Tensor& t, int64_t blocks, int64_t unit) {
  const int64_t h = unit % t.h, plane = unit / t.h;
  if constexpr (kDeep) return {plane / t.d / blocks, plane / t.d % blocks, plane % t.d, h};
  return {plane / blocks, plane % blocks, 0, h};
}

// Time for `taps` visits per pixel of `pixels`, each costing about three operations on 16 lanes at half the peak.
CNNKERN_INLINE float pool_ns(const Machine& machine, double floats, const Tensor& pixels, double taps) {
  const double work = 6 * taps * elements(pixels) / (machine.flops_per_ns * machine.threads);
  return stream_ns(machine, floats) + static_cast<float>(work);
}

}  // namespace CNNKERN_NAMESPACE
