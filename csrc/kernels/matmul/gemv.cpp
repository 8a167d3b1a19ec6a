// SPDX-License-Identifier: BSD-3-Clause
// matmul: y (M, N) = act(op(a) op(b) + bias) for few rows: b streams from memory once, as it lies there, and nothing is
// packed. Fully connected layers in inference are this.
//
// b as (N, K): dot products, vectors along k, up to 4 rows of a by 6 rows of b (AVX-512: 24 sums, 4 + 1 loads). b as (K, N):
// vectors along columns, 8 rows of b at a time added to y. Wins up to 4 rows, and up to 16 where b would be packed for one
// use. Measured (1 row, 4096 x 4096, AVX-512): 45 GB/s of weights on one core, 90 on two; the packed product reads 40 and 80.
#include "simd/gemm_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kMostRows = 16;         // beyond, multiplying costs more than packing b does
constexpr int kRowGroup = 4;          // rows of a in registers
constexpr int64_t kUnitColumns = 48;  // a multiple of every number of rows of b that are taken together, and of vectors
constexpr int64_t kDotBlock = 256 * kLanes;  // steps of one vector of sums, for the sake of rounding
constexpr int kStepBlock = 8;                // rows of a (K, N) matrix together

// Rows of b beside `rows` of a: their products fill the registers.
constexpr int columns_beside(int rows) {
  const int room = (kRegisters - 2 - rows) / rows;
  return room > 8 ? 8 : room;
}

struct Rows {
  const float* p;
  int64_t step;
};

// sum[m * kColumns + n] = a[m] . b[n]
template <int kRows, int kColumns>
void dot_tile(Rows a, Rows b, int64_t depth, float* sum) {
  for (int i = 0; i < kRows * kColumns; ++i) sum[i] = 0;
  for (int64_t begin = 0; begin < depth; begin += kDotBlock) {
    const int64_t end = least(depth, begin + kDotBlock);
    Vec part[kRows * kColumns], left[kRows];
    unroll<kRows * kColumns>([&](auto i) CNNKERN_LAMBDA { part[i] = zero(); });
    const auto step = [&](auto&& get) CNNKERN_LAMBDA {
      unroll<kRows>([&](auto m) CNNKERN_LAMBDA { left[m] = get(a.p + m * a.step); });
      unroll<kColumns>([&](auto n) CNNKERN_LAMBDA {
        const Vec right = get(b.p + n * b.step);
        unroll<kRows>([&](auto m)
                          CNNKERN_LAMBDA { part[m * kColumns + n] = fma(left[m], right, part[m * kColumns + n]); });
      });
    };
    int64_t k = begin;
    for (; k + kLanes <= end; k += kLanes) step([&](const float* p) CNNKERN_LAMBDA { return load(p + k); });
    if (k < end) step([&](const float* p) CNNKERN_LAMBDA { return load_n(p + k, static_cast<int>(end - k)); });
    unroll<kRows * kColumns>([&](auto i) CNNKERN_LAMBDA { sum[i] += reduce_add(part[i]); });
  }
}

struct Output {
  float* y;
  int64_t step;
  const float* bias;  // or null
  const Epilogue* epilogue;
};

// act(x + bias) for n columns of a row, from `column` on.
CNNKERN_INLINE void finish(const Output& out, int64_t row, int64_t column, Vec x, int n) {
  if (out.bias) x = add(x, load_n(out.bias + column, n));
  store_n(out.y + row * out.step + column, activate(*out.epilogue, x), n);
}

// Columns [column, column_end) of kRows rows.
template <int kRows>
void dot_columns(Rows a, Rows b, int64_t depth, int64_t row, int64_t column, int64_t column_end, const Output& out) {
  constexpr int kColumns = columns_beside(kRows);
  float sum[kRows * kColumns + kLanes];
  while (column < column_end) {
    const int columns = column_end - column >= kColumns ? kColumns : 1;
    const Rows right{b.p + column * b.step, b.step};
    if (columns == 1)
      dot_tile<kRows, 1>(a, right, depth, sum);
    else
      dot_tile<kRows, kColumns>(a, right, depth, sum);
    for (int m = 0; m < kRows; ++m)
      for (int n = 0; n < columns; n += kLanes) {
        const int width = columns - n < kLanes ? columns - n : kLanes;
        finish(out, row + m, column + n, load_n(sum + m * columns + n, width), width);
      }
    column += columns;
  }
}

// b as (N, K).
void run_dots(const Matmul& m, Rows a, Rows b, int64_t column, int64_t column_end, const Output& out) {
  for (; column < column_end; column += kUnitColumns) {
    const int64_t end = least(column_end, column + kUnitColumns);
    for (int64_t row = 0; row < m.m; row += kRowGroup) {
      const Rows left{a.p + row * a.step, a.step};
      switch (least(kRowGroup, m.m - row)) {
        case 1: dot_columns<1>(left, b, m.k, row, column, end, out); break;
        case 2: dot_columns<2>(left, b, m.k, row, column, end, out); break;
        case 3: dot_columns<3>(left, b, m.k, row, column, end, out); break;
        default: dot_columns<4>(left, b, m.k, row, column, end, out);
      }
    }
  }
}

// y of kRows rows += a(row, k) b(k, .) for `steps` k. `a_step`: from k to k + 1.
template <int kRows>
void add_steps(Rows a, int64_t a_step, Rows b, int steps, bool first, bool last, int64_t row, int64_t column,
               int64_t column_end, const Output& out) {
  for (; column < column_end; column += kLanes) {
    const int n = column_end - column < kLanes ? static_cast<int>(column_end - column) : kLanes;
    Vec sum[kRows];
    unroll<kRows>([&](auto m) CNNKERN_LAMBDA { sum[m] = zero(); });
    for (int k = 0; k < steps; ++k) {
      const float* from = b.p + k * b.step + column;
      const Vec right = n == kLanes ? load(from) : load_n(from, n);
      unroll<kRows>([&](auto m) CNNKERN_LAMBDA { sum[m] = fma(set1(a.p[m * a.step + k * a_step]), right, sum[m]); });
    }
    unroll<kRows>([&](auto m) CNNKERN_LAMBDA {
      float* y = out.y + (row + m) * out.step + column;
      if (!first) sum[m] = add(n == kLanes ? load(y) : load_n(y, n), sum[m]);
      if (last)
        finish(out, row + m, column, sum[m], n);
      else
        store_n(y, sum[m], n);
    });
  }
}

// b as (K, N): the rows of b pass once, over all columns of the range.
void run_steps(const Matmul& m, Rows a, int64_t a_step, Rows b, int64_t column, int64_t column_end, const Output& out) {
  for (int64_t k = 0; k < m.k; k += kStepBlock) {
    const int steps = static_cast<int>(least(kStepBlock, m.k - k));
    const bool first = k == 0, last = k + steps == m.k;
    const Rows right{b.p + k * b.step, b.step};
    for (int64_t row = 0; row < m.m; row += kRowGroup) {
      const Rows left{a.p + row * a.step + k * a_step, a.step};
      switch (least(kRowGroup, m.m - row)) {
        case 1: add_steps<1>(left, a_step, right, steps, first, last, row, column, column_end, out); break;
        case 2: add_steps<2>(left, a_step, right, steps, first, last, row, column, column_end, out); break;
        case 3: add_steps<3>(left, a_step, right, steps, first, last, row, column, column_end, out); break;
        default: add_steps<4>(left, a_step, right, steps, first, last, row, column, column_end, out);
      }
    }
  }
}

bool serves(const Tensor& t) { return is_plain(t) && (!t.present || t.c == 1 || t.sc == 1); }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Matmul& m = op.matmul;
  if (m.m > kMostRows || !serves(m.a) || !serves(m.b) || !serves(m.y)) return 0;
  constexpr double kShare = 0.42;  // of the FMA peak: a load for every two FMAs
  constexpr double kLaunchNs = 1500;
  const double rows = static_cast<double>(m.m), columns = static_cast<double>(m.n), depth = static_cast<double>(m.k);
  const double work = 2 * rows * columns * depth / (machine.flops_per_ns * kShare) / machine.threads;
  const double memory = (rows * depth + columns * depth + rows * columns) * 4 / machine.memory_bytes_per_ns;
  out[0] = Variant{};
  out[0].ns = static_cast<float>((work > memory ? work : memory) + kLaunchNs);
  return 1;
}

// Dot products want the rows of a contiguous.
bool packs_left(const Matmul& m) { return m.transpose_a && m.transpose_b; }

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Matmul& m = op.matmul;
  *work = Work{};
  work->phases = 1;
  work->units[0] = (m.n + kUnitColumns - 1) / kUnitColumns;
  work->scratch_bytes = packs_left(m) ? m.m * m.k * 4 : 0;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Matmul& m = prepared.op.matmul;
  const Output out{static_cast<float*>(context.args[Matmul::kY]), m.y.sn,
                   static_cast<const float*>(context.args[Matmul::kBias]), &m.epilogue};
  const Rows b{static_cast<const float*>(context.args[Matmul::kB]), m.b.sn};
  Rows a{static_cast<const float*>(context.args[Matmul::kA]), m.a.sn};
  const int64_t column = first * kUnitColumns, column_end = least(m.n, last * kUnitColumns);
  if (!m.transpose_b) {
    const Rows left{a.p, m.transpose_a ? 1 : m.a.sn};
    return run_steps(m, left, m.transpose_a ? m.a.sn : 1, b, column, column_end, out);
  }
  if (packs_left(m)) {
    float* rows = static_cast<float*>(context.scratch);
    pack_transposed(a.p, a.step, m.k, m.m, rows, m.k);
    a = {rows, m.k};
  }
  run_dots(m, a, b, column, column_end, out);
}

}  // namespace

extern const Kernel matmul_gemv;
const Kernel matmul_gemv = {"gemv", OpKind::kMatmul, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
