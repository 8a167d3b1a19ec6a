// SPDX-License-Identifier: BSD-3-Clause
// matmul: y (M, N) = act(op(a) op(b) + bias), the packed matrix product (Goto and van de Geijn, 2008).
//
// b is packed whole, before the run: panels of 32 columns (AVX-512), [k][32]. Blocks of up to 8 panels of rows of a are
// packed in scratch, 512 steps of k at a time, to stay in the second-level cache (8 x 14 rows x 512 x 4 = 229 KB) while
// the panels of b pass by. Sums of more than 512 steps are continued in y. Wins from about 8 rows on.
// Measured (b packed, percent of the FMA peak): 512 x 512 x 512 96 (AVX2 90), 2048 x 2048 x 2048 90, 128 x 128 x 128 87.
#include "simd/gemm_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kBlockPanels = 8;
constexpr int64_t kUnitsWanted = 32;  // enough for any number of threads that such small work deserves

struct Shape {
  Panels panels;
  int64_t blocks, column_panels;
  int64_t block_start(int64_t block) const { return block * panels.count / blocks; }  // first panel of rows
};

Shape shape_of(const Matmul& m) {
  Shape s;
  s.panels = panels_of(m.m);
  s.column_panels = (m.n + kTileCols - 1) / kTileCols;
  const int64_t least_blocks = (s.panels.count + kBlockPanels - 1) / kBlockPanels;
  const int64_t wanted = (kUnitsWanted + s.column_panels - 1) / s.column_panels;
  s.blocks = least(s.panels.count, most(least_blocks, wanted));
  return s;
}

bool serves(const Tensor& t) { return is_plain(t) && (!t.present || t.c == 1 || t.sc == 1); }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Matmul& m = op.matmul;
  if (!serves(m.a) || !serves(m.b) || !serves(m.y)) return 0;
  constexpr double kTileShare = 0.9;     // of the FMA peak
  constexpr double kPackBytesPerNs = 8;  // one core, transposing
  constexpr double kLaunchNs = 2000;
  const double rows = static_cast<double>(m.m), columns = static_cast<double>((m.n + kLanes - 1) / kLanes * kLanes);
  const double depth = static_cast<double>(m.k), share = kTileShare * (m.m < 4 ? rows / 4 : 1.0);
  const double work = 2 * rows * columns * depth / (machine.flops_per_ns * share) + rows * depth * 4 / kPackBytesPerNs;
  const double bytes = (rows * depth + columns * depth + rows * columns) * 4;
  out[0] = Variant{};
  out[0].ns = static_cast<float>(work / machine.threads + bytes / machine.memory_bytes_per_ns + kLaunchNs);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Matmul& m = op.matmul;
  const Shape s = shape_of(m);
  *work = Work{};
  work->phases = 1;
  work->units[0] = s.blocks * s.column_panels;
  work->scratch_bytes = kBlockPanels * kTileRows * least(m.k, kTileDepth) * 4;
  work->packed_bytes = s.column_panels * kTileCols * m.k * 4;
  work->pack_units = s.column_panels;
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Matmul& m = prepared.op.matmul;
  for (int64_t panel = first; panel < last; ++panel) {
    const int64_t column = panel * kTileCols, columns = least(kTileCols, m.n - column);
    float* to = static_cast<float*>(packed) + column * m.k;
    if (columns < kTileCols)
      for (int64_t i = 0; i < m.k * kTileCols; i += kLanes) store(to + i, zero());
    if (m.transpose_b)
      pack_transposed(weight + column * m.b.sn, m.b.sn, columns, m.k, to, kTileCols);
    else
      copy_rows(weight + column, m.b.sn, columns, m.k, to, kTileCols);
  }
}

// Panels [panel, panel_end) of the rows of a, steps [k, k + depth).
void pack_left(const Matmul& m, const Panels& panels, int64_t panel, int64_t panel_end, int64_t k, int64_t depth,
               const float* a, float* to) {
  for (; panel < panel_end; ++panel) {
    const int64_t row = panels.start(panel);
    const int rows = panels.rows(panel);
    if (m.transpose_a)
      copy_rows(a + k * m.a.sn + row, m.a.sn, rows, depth, to, rows);
    else
      pack_transposed(a + row * m.a.sn + k, m.a.sn, rows, depth, to, rows);
    to += rows * depth;
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Matmul& m = prepared.op.matmul;
  const Shape s = shape_of(m);
  const float* bias = static_cast<const float*>(context.args[Matmul::kBias]);
  float* y = static_cast<float*>(context.args[Matmul::kY]);
  float* left = static_cast<float*>(context.scratch);
  for (int64_t unit = first; unit < last;) {
    const int64_t block = unit / s.column_panels, column_first = unit % s.column_panels;
    const int64_t column_end = least(s.column_panels, column_first + last - unit);
    const int64_t panel_first = s.block_start(block), panel_end = s.block_start(block + 1);
    for (int64_t k = 0; k < m.k; k += kTileDepth) {
      const int64_t depth = least(kTileDepth, m.k - k);
      const bool final = k + depth == m.k;
      pack_left(m, s.panels, panel_first, panel_end, k, depth, static_cast<const float*>(context.args[Matmul::kA]),
                left);
      for (int64_t column_panel = column_first; column_panel < column_end; ++column_panel) {
        const int64_t column = column_panel * kTileCols;
        Tile tile{};
        tile.a = left;
        tile.b = static_cast<const float*>(context.packed) + column * m.k + k * kTileCols;
        tile.depth = depth;
        tile.columns = static_cast<int>(least(kTileCols, m.n - column));
        tile.c_step = tile.start_step = m.y.sn;
        tile.column_bias = final && bias ? bias + column : nullptr;
        tile.epilogue = final ? &m.epilogue : nullptr;
        for (int64_t panel = panel_first; panel < panel_end; ++panel) {
          tile.c = y + s.panels.start(panel) * m.y.sn + column;
          tile.start = k > 0 ? tile.c : nullptr;
          run_tile(s.panels.rows(panel), tile);
          tile.a += s.panels.rows(panel) * depth;
        }
      }
    }
    unit += column_end - column_first;
  }
}

}  // namespace

extern const Kernel matmul_gemm;
const Kernel matmul_gemm = {"gemm", OpKind::kMatmul, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
