// SPDX-License-Identifier: BSD-3-Clause
// y = scale * (x summed over the axes that are 1 in y), in either layout. After merging, the innermost axis is either
// summed (rows: each a sum of contiguous numbers) or kept (columns: rows are added to each other, a strip of vectors at
// a time: the bias gradient). What one output sums is cut into fixed chunks; phase 0 sums chunks, phase 1 adds them up
// in double. Inside a chunk no number is the sum of more than 64 additions of a level, so the rms error stays near 1e-7
// of the sum of |x|. Limited by memory; phase 1 falls away where one chunk is all. Measured, one core (Zen 5, AVX-512,
// from the last cache): 55 to 95 bytes/ns for bias gradients, rms error 2e-8 to 7e-8 of the sum.
#include "simd/axes.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kChunkFloats = 8192;  // 32 KB: enough to hide the start of a unit, small enough for threads to share
constexpr int64_t kChunkRows = 1024;    // columns: two levels of 32 additions
constexpr int64_t kLevelRows = 32;      // columns: rows that one accumulator takes before it is added to the next level
constexpr int kStrip = 8;               // vectors of a wide strip: independent additions cover their latency
constexpr int64_t kStripFloats = kStrip * kLanes;
constexpr int64_t kColumnsPerUnit = 1024;  // at most: their sums stay on the stack

// kept and reduced are the axes outside the innermost one.
struct Plan {
  Axes<2> axes, kept, reduced;
  bool rows;                               // the innermost axis is summed
  int64_t length;                          // of the innermost axis
  int64_t outputs;                         // positions on the kept axes
  int64_t lines;                           // positions on the reduced axes
  int64_t piece;                           // rows: elements of the innermost axis in one chunk
  int64_t pieces;                          // rows: chunks along the innermost axis
  int64_t lines_per_chunk, chunks;         // chunks per output, pieces included
  int64_t outputs_per_unit;                // rows
  int64_t columns_per_unit, column_units;  // columns
  int64_t units;
};

Plan plan_of(const SumTo& op) {
  const Tensor* const tensors[2] = {&op.x, &op.y};
  Plan plan{};
  plan.axes = axes_of(op.x, tensors);
  plan.length = plan.axes.size[0];
  plan.rows = plan.axes.stride[0][1] == 0;
  plan.outputs = plan.lines = 1;
  plan.kept.tail = plan.axes.tail;
  plan.kept.block_axis = plan.reduced.block_axis = -1;
  for (int i = 1; i < plan.axes.count; ++i) {
    const bool keeps = plan.axes.stride[i][1] != 0;
    Axes<2>& into = keeps ? plan.kept : plan.reduced;
    if (i == plan.axes.block_axis) into.block_axis = into.count;
    into.size[into.count] = plan.axes.size[i];
    for (int t = 0; t < 2; ++t) into.stride[into.count][t] = plan.axes.stride[i][t];
    ++into.count;
    (keeps ? plan.outputs : plan.lines) *= plan.axes.size[i];
  }
  if (plan.rows) {
    plan.piece = least(plan.length, kChunkFloats);
    plan.pieces = (plan.length + plan.piece - 1) / plan.piece;
    plan.lines_per_chunk = plan.pieces > 1 ? 1 : most(1, kChunkFloats / plan.length);
    plan.chunks = plan.pieces * ((plan.lines + plan.lines_per_chunk - 1) / plan.lines_per_chunk);
    plan.outputs_per_unit = most(1, kChunkFloats / (plan.length * plan.lines));
    plan.units = plan.chunks * ((plan.outputs + plan.outputs_per_unit - 1) / plan.outputs_per_unit);
  } else {
    plan.lines_per_chunk = least(plan.lines, kChunkRows);
    plan.chunks = (plan.lines + plan.lines_per_chunk - 1) / plan.lines_per_chunk;
    const int64_t strips = (kChunkFloats / plan.lines_per_chunk + kStripFloats - 1) / kStripFloats;
    plan.columns_per_unit = least(strips * kStripFloats, kColumnsPerUnit);
    plan.column_units = (plan.length + plan.columns_per_unit - 1) / plan.columns_per_unit;
    plan.units = plan.outputs * plan.chunks * plan.column_units;
  }
  return plan;
}

CNNKERN_INLINE float row_sum(const float* x, int64_t n) {
  Vec sum[kStrip];
  unroll<kStrip>([&](auto k) CNNKERN_LAMBDA { sum[k] = zero(); });
  int64_t i = 0;
  for (; i + kStripFloats <= n; i += kStripFloats)
    unroll<kStrip>([&](auto k) CNNKERN_LAMBDA { sum[k] = add(sum[k], load(x + i + k * kLanes)); });
  for (; i + kLanes <= n; i += kLanes) sum[0] = add(sum[0], load(x + i));
  if (i < n) sum[1] = add(sum[1], load_n(x + i, static_cast<int>(n - i)));
  const Vec low = add(add(sum[0], sum[1]), add(sum[2], sum[3])), high = add(add(sum[4], sum[5]), add(sum[6], sum[7]));
  return reduce_add(add(low, high));
}

// A sum over channels of a blocked tensor fills one lane of its block.
CNNKERN_INLINE void store_output(const SumTo& op, float* y, double sum) {
  if (op.y.layout == Layout::kBlocked) block_store(y, block_zero());
  y[0] = static_cast<float>(sum * static_cast<double>(op.scale));
}

// Rows, phase 0: chunk `chunk` of some outputs, into partial[output][chunk] or, where it is the only one, into y.
void sum_rows(const SumTo& op, const Plan& plan, int64_t first, int64_t last, const float* x, float* y,
              double* partial) {
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t chunk = unit % plan.chunks, output = unit / plan.chunks * plan.outputs_per_unit;
    const int64_t start = chunk % plan.pieces * plan.piece, n = least(plan.piece, plan.length - start);
    const int64_t line = chunk / plan.pieces * plan.lines_per_chunk;
    const int64_t lines = least(plan.lines_per_chunk, plan.lines - line);
    const int64_t end = least(plan.outputs, output + plan.outputs_per_unit);
    Cursor<2> kept = cursor_at(plan.kept, 0, output);
    for (int64_t o = output; o < end; ++o, advance(plan.kept, 0, kept)) {
      double sum = 0;
      Cursor<2> reduced = cursor_at(plan.reduced, 0, line);
      for (int64_t i = 0; i < lines; ++i, advance(plan.reduced, 0, reduced))
        sum += static_cast<double>(row_sum(x + kept.offset[0] + reduced.offset[0] + start, n));
      if (plan.chunks == 1)
        store_output(op, y + kept.offset[1], sum);
      else
        partial[o * plan.chunks + chunk] = sum;
    }
  }
}

void combine_rows(const SumTo& op, const Plan& plan, int64_t first, int64_t last, float* y, const double* partial) {
  for (int64_t o = first; o < last; ++o) {
    double sum = 0;
    for (int64_t i = 0; i < plan.chunks; ++i) sum += partial[o * plan.chunks + i];
    store_output(op, y + cursor_at(plan.kept, 0, o).offset[1], sum);
  }
}

// The sum of `lines` rows of kVectors vectors (or, kVectors = 1, their first n numbers), kWays rows at a time.
template <int kVectors, int kWays>
CNNKERN_INLINE void strip_sum(const Plan& plan, const float* x, int64_t line, int64_t lines, int n,
                              Vec (&total)[kVectors]) {
  const auto read = [&](const float* p, int v)
                        CNNKERN_LAMBDA { return kVectors == 1 && n < kLanes ? load_n(p, n) : load(p + v * kLanes); };
  Vec sum[kWays][kVectors];
  Cursor<2> cursor = cursor_at(plan.reduced, 0, line);
  unroll<kVectors>([&](auto v) CNNKERN_LAMBDA { total[v] = zero(); });
  for (int64_t done = 0; done < lines;) {
    const int64_t level = least(lines - done, kLevelRows * kWays);
    unroll<kWays * kVectors>([&](auto i) CNNKERN_LAMBDA { sum[i / kVectors][i % kVectors] = zero(); });
    int64_t i = 0;
    while (i < level) {
      // Rows up to the end of the innermost reduced axis lie at one distance.
      const int64_t stride = axis_stride(plan.reduced, 0, 0);
      const int64_t run = least(level - i, axis_size(plan.reduced, 0) - cursor.index[0]);
      const float* p = x + cursor.offset[0];
      int64_t r = 0;
      for (; r + kWays <= run; r += kWays, p += kWays * stride)
        unroll<kWays * kVectors>([&](auto j) CNNKERN_LAMBDA {
          Vec& into = sum[j / kVectors][j % kVectors];
          into = add(into, read(p + j / kVectors * stride, j % kVectors));
        });
      for (; r < run; ++r, p += stride)
        unroll<kVectors>([&](auto v) CNNKERN_LAMBDA { sum[0][v] = add(sum[0][v], read(p, v)); });
      i += run;
      cursor.index[0] += run - 1;
      cursor.offset[0] += (run - 1) * stride;
      advance(plan.reduced, 0, cursor);
    }
    unroll<kVectors>([&](auto v) CNNKERN_LAMBDA {
      Vec level_sum = sum[0][v];
      unroll<kWays - 1>([&](auto w) CNNKERN_LAMBDA { level_sum = add(level_sum, sum[w + 1][v]); });
      total[v] = add(total[v], level_sum);
    });
    done += level;
  }
}

// Columns, phase 0: chunk `chunk` of some columns, into to[0 .. n - 1].
void sum_columns(const Plan& plan, const float* x, int64_t chunk, int64_t n, float* to) {
  const int64_t line = chunk * plan.lines_per_chunk, lines = least(plan.lines_per_chunk, plan.lines - line);
  int64_t i = 0;
  for (; i + kStripFloats <= n; i += kStripFloats) {
    Vec total[kStrip];
    strip_sum<kStrip, 1>(plan, x + i, line, lines, kLanes, total);
    unroll<kStrip>([&](auto v) CNNKERN_LAMBDA { store(to + i + v * kLanes, total[v]); });
  }
  for (; i + kBlock <= n; i += kBlock) {
    Vec total[kVecs];
    strip_sum<kVecs, 4>(plan, x + i, line, lines, kLanes, total);
    unroll<kVecs>([&](auto v) CNNKERN_LAMBDA { store(to + i + v * kLanes, total[v]); });
  }
  for (; i < n; i += kLanes) {
    const int rest = static_cast<int>(least(n - i, kLanes));
    Vec total[1];
    strip_sum<1, 4>(plan, x + i, line, lines, rest, total);
    store_n(to + i, total[0], rest);
  }
}

// Columns of y in use: a plain y has no room for the unused lanes of x.
CNNKERN_INLINE int64_t columns_in_use(const SumTo& op, const Plan& plan, const Cursor<2>& kept) {
  return op.y.layout == Layout::kPlain && in_tail(plan.kept, kept) ? plan.kept.tail : plan.length;
}

void run_columns(const SumTo& op, const Plan& plan, int64_t first, int64_t last, const float* x, float* y,
                 float* partial) {
  const int64_t stride = plan.axes.stride[0][1];
  float sums[kColumnsPerUnit];
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t start = unit % plan.column_units * plan.columns_per_unit;
    const int64_t chunk = unit / plan.column_units % plan.chunks, output = unit / (plan.column_units * plan.chunks);
    const int64_t n = least(plan.columns_per_unit, plan.length - start);
    const Cursor<2> kept = cursor_at(plan.kept, 0, output);
    const float* from = x + kept.offset[0] + start;
    if (plan.chunks > 1) {
      sum_columns(plan, from, chunk, n, partial + (chunk * plan.outputs + output) * plan.length + start);
      continue;
    }
    sum_columns(plan, from, chunk, n, sums);
    const int64_t used = least(n, columns_in_use(op, plan, kept) - start);
    for (int64_t i = 0; i < used; ++i) y[kept.offset[1] + (start + i) * stride] = sums[i] * op.scale;
  }
}

void combine_columns(const SumTo& op, const Plan& plan, int64_t first, int64_t last, float* y, const float* partial) {
  const int64_t stride = plan.axes.stride[0][1];
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t start = unit % plan.column_units * plan.columns_per_unit, output = unit / plan.column_units;
    const Cursor<2> kept = cursor_at(plan.kept, 0, output);
    const int64_t end = least(start + plan.columns_per_unit, columns_in_use(op, plan, kept));
    for (int64_t column = start; column < end; ++column) {
      double sum = 0;
      for (int64_t chunk = 0; chunk < plan.chunks; ++chunk)
        sum += static_cast<double>(partial[(chunk * plan.outputs + output) * plan.length + column]);
      y[kept.offset[1] + column * stride] = static_cast<float>(sum * static_cast<double>(op.scale));
    }
  }
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const SumTo& sum = op.sum_to;
  if (sum.x.layout == Layout::kPlain && sum.y.layout == Layout::kBlocked) return 0;
  const Tensor* const tensors[2] = {&sum.x, &sum.y};
  if (axes_of(sum.x, tensors).stride[0][0] != 1) return 0;
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(sum.x) + elements(sum.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Plan plan = plan_of(op.sum_to);
  if (table) {
    *static_cast<Plan*>(table) = plan;
    return;
  }
  work->table_bytes = sizeof(Plan);
  work->phases = plan.chunks > 1 ? 2 : 1;
  work->units[0] = plan.units;
  if (plan.chunks == 1) return;
  work->units[1] = plan.rows ? plan.outputs : plan.outputs * plan.column_units;
  const int64_t partials = plan.chunks * plan.outputs;
  work->shared_bytes = plan.rows ? partials * static_cast<int64_t>(sizeof(double))
                                 : partials * plan.length * static_cast<int64_t>(sizeof(float));
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const SumTo& op = prepared.op.sum_to;
  const Plan& plan = *static_cast<const Plan*>(prepared.table);
  const float* x = static_cast<const float*>(context.args[SumTo::kX]);
  float* y = static_cast<float*>(context.args[SumTo::kY]);
  if (plan.rows) {
    double* partial = static_cast<double*>(context.shared);
    if (phase == 0) return sum_rows(op, plan, first, last, x, y, partial);
    return combine_rows(op, plan, first, last, y, partial);
  }
  float* partial = static_cast<float*>(context.shared);
  if (phase == 0) return run_columns(op, plan, first, last, x, y, partial);
  combine_columns(op, plan, first, last, y, partial);
}

}  // namespace

extern const Kernel sum_to_chunks;
const Kernel sum_to_chunks = {"chunks", OpKind::kSumTo, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
