// SPDX-License-Identifier: BSD-3-Clause
// matmul: y (M, N) = act(op(a) op(b) + bias) for few rows: b streams from memory once, as it lies there, and nothing is
// packed. Fully connected layers in inference are this.
//
// b as (N, K): dot products, vectors along k, up to 8 rows of a by 3 rows of b (AVX-512: 24 sums, 3 loads of b, 1 of a). b as
// (K, N): vectors along columns, 8 rows of b at a time added to y. Wins wherever reading b takes longer than multiplying.
// Measured (4096 x 4096, AVX-512, one core): 1 row 45 GB/s of b, 8 rows 20; the packed product reads 45 and 27 once b is packed.
#include "simd/gemm_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int kMostRows = 16;                        // beyond, multiplying costs more than packing b does
constexpr int kRowGroup = kRegisters == 32 ? 8 : 4;  // rows of a together
constexpr int kStepRows = 4;                         // the same for b as (K, N)
constexpr int64_t kUnitColumns = 48;                 // a multiple of vectors and of kColumnBlock
// Rows of b together: a second group of rows finds them in the second-level cache.
constexpr int64_t kColumnBlock = 24;
constexpr int64_t kDotBlock = 256 * kLanes;  // steps of one vector of sums, for the sake of rounding
constexpr int kStepBlock = 8;                // rows of a (K, N) matrix together

// So far ahead b is prefetched where many products stand between two loads of it (8 rows: 20 GB/s of b on one core instead
// of 16; up to 4 rows the hardware is faster alone).
constexpr int64_t kAhead = 1024;
constexpr int kAheadRows = 4;

// Rows of b beside `rows` of a: with one row of a at a time in a register, their products fill the others. Divides
// kColumnBlock, so that no column is left alone.
constexpr int columns_beside(int rows) {
  const int room = (kRegisters - 2) / (rows + 1);
  return room >= 8 ? 8 : room >= 6 ? 6 : room > 4 ? 4 : room;
}

struct Rows {
  const float* p;
  int64_t step;
};

// sum[m * kColumns + n] += a[m] . b[n] over `depth` steps. a: [depth / kLanes][kRows][kLanes].
template <int kRows, int kColumns>
void dot_tile(const float* a, Rows b, int64_t depth, float* sum) {
  Vec part[kRows * kColumns];
  unroll<kRows * kColumns>([&](auto i) CNNKERN_LAMBDA { part[i] = zero(); });
  const auto step = [&](auto&& get) CNNKERN_LAMBDA {
    Vec right[kColumns];
    unroll<kColumns>([&](auto n) CNNKERN_LAMBDA {
      right[n] = get(b.p + n * b.step);
      if constexpr (kRows > kAheadRows) __builtin_prefetch(b.p + n * b.step + kAhead, 0, 1);
    });
    unroll<kRows>([&](auto m) CNNKERN_LAMBDA {
      const Vec left = get(a + m * kLanes);
      unroll<kColumns>([&](auto n)
                           CNNKERN_LAMBDA { part[m * kColumns + n] = fma(left, right[n], part[m * kColumns + n]); });
    });
    a += kRows * kLanes, b.p += kLanes;
  };
  int64_t k = 0;
  for (; k + kLanes <= depth; k += kLanes) step([&](const float* p) CNNKERN_LAMBDA { return load(p); });
  if (k < depth) step([&](const float* p) CNNKERN_LAMBDA { return load_n(p, static_cast<int>(depth - k)); });
  for (int m = 0; m < kRows; ++m)
    for (int n = 0; n < kColumns; ++n) sum[m * kColumnBlock + n] += reduce_add(part[m * kColumns + n]);
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

// Sums of kRows rows and of `columns` rows of b, kColumnBlock apart.
template <int kRows>
void dot_block(const float* a, Rows b, int64_t depth, int columns, float* sum) {
  constexpr int kColumns = columns_beside(kRows);
  int n = 0;
  for (; n + kColumns <= columns; n += kColumns)
    dot_tile<kRows, kColumns>(a, {b.p + n * b.step, b.step}, depth, sum + n);
  for (; n < columns; ++n) dot_tile<kRows, 1>(a, {b.p + n * b.step, b.step}, depth, sum + n);
}

using DotBlock = void (*)(const float*, Rows, int64_t, int, float*);
template <int... kRow>
CNNKERN_INLINE DotBlock dot_block_of(int64_t rows, std::integer_sequence<int, kRow...>) {
  constexpr DotBlock table[] = {dot_block<kRow + 1>...};
  return table[rows - 1];
}

// The rows in groups of nearly equal size.
struct Groups {
  int64_t rows, count;
  int64_t start(int64_t group) const { return group * rows / count; }
};
CNNKERN_INLINE Groups groups_of(int64_t rows) { return {rows, (rows + kRowGroup - 1) / kRowGroup}; }
constexpr int64_t padded(int64_t depth) { return (depth + kLanes - 1) / kLanes * kLanes; }

// b as (N, K); a: [group][depth / kLanes][rows of the group][kLanes].
void run_dots(const Matmul& m, const float* a, Rows b, int64_t column, int64_t column_end, const Output& out) {
  const Groups groups = groups_of(m.m);
  for (; column < column_end; column += kColumnBlock) {
    const int columns = static_cast<int>(least(kColumnBlock, column_end - column));
    float sum[kMostRows * kColumnBlock + kLanes] = {};
    for (int64_t begin = 0; begin < m.k; begin += kDotBlock)
      for (int64_t group = 0; group < groups.count; ++group) {
        const int64_t row = groups.start(group), rows = groups.start(group + 1) - row;
        dot_block_of(rows, std::make_integer_sequence<int, kRowGroup>())(
            a + row * padded(m.k) + begin * rows, {b.p + column * b.step + begin, b.step},
            least(kDotBlock, m.k - begin), columns, sum + row * kColumnBlock);
      }
    for (int64_t row = 0; row < m.m; ++row)
      for (int n = 0; n < columns; n += kLanes) {
        const int width = columns - n < kLanes ? columns - n : kLanes;
        finish(out, row, column + n, load_n(sum + row * kColumnBlock + n, width), width);
      }
  }
}

// a as run_dots wants it.
void pack_left(const Matmul& m, Rows a, float* to) {
  const Groups groups = groups_of(m.m);
  for (int64_t group = 0; group < groups.count; ++group) {
    const int64_t row = groups.start(group), rows = groups.start(group + 1) - row;
    for (int64_t k = 0; k < m.k; k += kLanes)
      for (int64_t r = row; r < row + rows; ++r, to += kLanes) {
        const int n = static_cast<int>(least(kLanes, m.k - k));
        if (!m.transpose_a)
          store(to, load_n(a.p + r * a.step + k, n));
        else
          for (int i = 0; i < n; ++i) to[i] = a.p[(k + i) * a.step + r];
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
    for (int64_t row = 0; row < m.m; row += kStepRows) {
      const Rows left{a.p + row * a.step + k * a_step, a.step};
      switch (least(kStepRows, m.m - row)) {
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
  constexpr double kShare = 0.6;  // of the FMA peak
  constexpr double kLaunchNs = 1500;
  const double rows = static_cast<double>(m.m), columns = static_cast<double>(m.n), depth = static_cast<double>(m.k);
  const double work = 2 * rows * columns * depth / (machine.flops_per_ns * kShare) / machine.threads;
  const double memory = (rows * depth + columns * depth + rows * columns) * 4 / machine.memory_bytes_per_ns;
  out[0] = Variant{};
  // Measured from 1 to 16 rows: multiplying hides no loads.
  out[0].ns = static_cast<float>(work + memory + kLaunchNs);
  return 1;
}

// Rows side by side: at a distance of a multiple of 4096 bytes they would push each other out of the first-level cache
// (8 rows by 1024 x 1000: 162 us, side by side 81).
bool packs_left(const Matmul& m) { return m.transpose_b && (m.transpose_a || m.m > 1); }

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Matmul& m = op.matmul;
  *work = Work{};
  work->phases = 1;
  work->units[0] = (m.n + kUnitColumns - 1) / kUnitColumns;
  work->scratch_bytes = packs_left(m) ? m.m * padded(m.k) * 4 : 0;
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
    pack_left(m, a, rows);
    a.p = rows;
  }
  run_dots(m, a.p, b, column, column_end, out);
}

}  // namespace

extern const Kernel matmul_gemv;
const Kernel matmul_gemv = {"gemv", OpKind::kMatmul, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
