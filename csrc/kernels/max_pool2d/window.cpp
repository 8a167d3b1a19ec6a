// SPDX-License-Identifier: BSD-3-Clause
// y = the maximum of each 2x2 or 3x3 window, stride 1 or 2, without indices, on blocked maps: a tile of up to two output
// rows takes the maxima along H of its input columns, each once for all windows that share it, then those along W.
// Nothing is masked: where a window leaves the map, the row or column next to it, which the window holds as well, stands
// in. NaN costs a comparison for each maximum. Registers of AVX-512: two rows of up to nine columns.
// Zen 5, AVX-512, two threads, batch 1: 3x3 at stride 1 over 256x28x28 11 us (blocked.cpp: 25); at stride 2 over
// 192x56x56 18 us (21), which is reading what the convolution wrote.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kBandRows = 2;
constexpr int kPixels = kRegisters == 32 ? 4 : 2;

// NaN is greatest.
CNNKERN_INLINE Vec greatest(Vec a, Vec b) { return select(is_nan(b), b, max(b, a)); }

// y[i] = the greatest of x[i * kStride] .. x[i * kStride + kTaps - 1]. At stride 1 every second window takes two of its
// three from its neighbour (the compiler finds the common expression).
template <int kTaps, int kStride, int kCount>
CNNKERN_INLINE void slide(const Vec (&x)[(kCount - 1) * kStride + kTaps], Vec (&y)[kCount]) {
  unroll<kCount>([&](auto i) CNNKERN_LAMBDA {
    constexpr int kFirst = decltype(i)::value * kStride;
    if constexpr (kTaps == 2)
      y[i] = greatest(x[kFirst], x[kFirst + 1]);
    else if constexpr (decltype(i)::value % 2 == 0)
      y[i] = greatest(x[kFirst], greatest(x[kFirst + 1], x[kFirst + 2]));
    else
      y[i] = greatest(greatest(x[kFirst], x[kFirst + 1]), x[kFirst + 2]);
  });
}

// kRows x kCount outputs. row[i]: input row i of the band; column(j): offset of input column j.
template <int kTaps, int kStride, int kRows, int kCount, class Column>
CNNKERN_INLINE void pool_tile(const float* const* row, Column&& column, float* y, int64_t y_row) {
  constexpr int kInputRows = (kRows - 1) * kStride + kTaps, kInputColumns = (kCount - 1) * kStride + kTaps;
  Vec high[kRows][kInputColumns];
  unroll<kInputColumns>([&](auto j) CNNKERN_LAMBDA {
    const int64_t offset = column(j);
    Vec x[kInputRows], down[kRows];
    unroll<kInputRows>([&](auto i) CNNKERN_LAMBDA { x[i] = load(row[i] + offset); });
    slide<kTaps, kStride, kRows>(x, down);
    unroll<kRows>([&](auto r) CNNKERN_LAMBDA { high[r][j] = down[r]; });
  });
  unroll<kRows>([&](auto r) CNNKERN_LAMBDA {
    Vec across[kCount];
    slide<kTaps, kStride, kCount>(high[r], across);
    unroll<kCount>([&](auto p) CNNKERN_LAMBDA { store(y + r * y_row + p * kBlock, across[p]); });
  });
}

CNNKERN_INLINE int64_t inside(int64_t index, int64_t size) { return most(0, least(index, size - 1)); }

// kRows output rows from row h on of one vector of channels; x, y: column 0 of input row 0 and of output row h.
template <int kTaps, int kStride, int kRows>
void pool_band(const Pool& op, const float* x, float* y, int64_t h) {
  constexpr int kInputRows = (kRows - 1) * kStride + kTaps;
  const float* row[kInputRows];
  for (int i = 0; i < kInputRows; ++i) row[i] = x + inside(h * kStride - op.padding[1] + i, op.x.h) * op.x.sh;
  const int64_t padding = op.padding[2], width = op.x.w;
  // Windows first .. last - 1 lie within the map.
  const int64_t first = least((padding + kStride - 1) / kStride, op.y.w);
  const int64_t last =
      width + padding < kTaps ? first : most(first, least((width + padding - kTaps) / kStride + 1, op.y.w));
  const auto edge = [&](int64_t w) CNNKERN_LAMBDA {
    const auto column = [&](int64_t j) CNNKERN_LAMBDA { return inside(w * kStride - padding + j, width) * kBlock; };
    pool_tile<kTaps, kStride, kRows, 1>(row, column, y + w * kBlock, op.y.sh);
  };
  for (int64_t w = 0; w < first; ++w) edge(w);
  // The last tile overlaps the one before it.
  if (last - first >= kPixels)
    for (int64_t w = first; w < last; w += kPixels) {
      const int64_t start = least(w, last - kPixels), from = (start * kStride - padding) * kBlock;
      const auto column = [&](int64_t j) CNNKERN_LAMBDA { return from + j * kBlock; };
      pool_tile<kTaps, kStride, kRows, kPixels>(row, column, y + start * kBlock, op.y.sh);
    }
  else
    for (int64_t w = first; w < last; ++w) edge(w);
  for (int64_t w = last; w < op.y.w; ++w) edge(w);
}

// Every window holds something of the map: padding is less than the kernel, and the last window starts within.
bool holds(const Pool& op, int axis) {
  const int64_t last = (axis_of(op.y, axis) - 1) * op.stride[axis] - op.padding[axis];
  return op.padding[axis] < op.kernel[axis] && last < axis_of(op.x, axis) && op.dilation[axis] == 1;
}

bool serves(const Pool& op) {
  if (!is_blocked_pool(op) || op.windows != Pool::kFixed || op.indices.present) return false;
  if (op.x.d != 1 || op.y.d != 1 || op.padding[0] != 0 || !holds(op, 1) || !holds(op, 2)) return false;
  const int64_t taps = op.kernel[1], stride = op.stride[1];
  return op.kernel[0] == 1 && op.kernel[2] == taps && op.stride[2] == stride && (taps == 2 || taps == 3) &&
         (stride == 1 || stride == 2);
}

int64_t bands_of(const Pool& op) { return (op.y.h + kBandRows - 1) / kBandRows; }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Pool& pool = op.pool;
  if (!serves(pool)) return 0;
  out[0] = Variant{};
  out[0].ns = pool_ns(machine, elements(pool.x) + elements(pool.y), pool.y, static_cast<double>(pool.kernel[1]));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.pool.y.n * blocks_of(op.pool.y.c) * bands_of(op.pool);
}

template <int kTaps, int kStride>
void run_bands(const Pool& op, int64_t first, int64_t last, const Context& context) {
  const float* const x = static_cast<const float*>(context.args[Pool::kIn]);
  float* const y = static_cast<float*>(context.args[Pool::kOut]);
  const int64_t bands = bands_of(op), blocks = blocks_of(op.y.c);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t h = unit % bands * kBandRows, block = unit / bands % blocks, n = unit / (bands * blocks);
    const auto pool = op.y.h - h >= kBandRows ? pool_band<kTaps, kStride, kBandRows> : pool_band<kTaps, kStride, 1>;
    for (int v = 0; v < kBlock; v += kLanes)
      pool(op, at_block(op.x, x, n, block, 0, 0, 0) + v, at_block(op.y, y, n, block, 0, h, 0) + v, h);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Pool& op = prepared.op.pool;
  if (op.kernel[1] == 2)
    (op.stride[1] == 1 ? run_bands<2, 1> : run_bands<2, 2>)(op, first, last, context);
  else
    (op.stride[1] == 1 ? run_bands<3, 1> : run_bands<3, 2>)(op, first, last, context);
}

}  // namespace

extern const Kernel max_pool2d_window;
const Kernel max_pool2d_window = {"window", OpKind::kMaxPool2d, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
