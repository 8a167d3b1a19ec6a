// SPDX-License-Identifier: BSD-3-Clause
// conv2d_grad_weight by im2col: dw(o, k) = sum over output pixels q of patch(k, q) dy(o, q), k = (channel, tap).
//
// Plain layout. 192 pixels at a time, a block of rows of the patch matrix is packed in scratch as rows (so that it
// needs no transposing: the tile broadcasts from 14 rows at a fixed distance), a block of dy is packed with its output
// channels side by side (the vectors), and their product is added to sums in scratch, [k][o], written to dw at the end.
// Where dw is too small to occupy the threads, the pixels are cut into fixed chunks, whose sums stand in shared memory
// and are added in order in a second phase. Serves every shape; slow where a group has few output channels.
// Measured (AVX-512, batch 8, percent of the FMA peak on one core): 3x3 64>64 at 56x56 74, 128>128 at 28x28 80, 256>256 at
// 14x14 81; 1x1 58 to 70, waiting for x and dy. Without prefetching 56, 68, 78 and 39 to 60.
#include "simd/gemm_tile.hpp"
#include "simd/patch.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// 192 steps of 32 columns (24 KB) and 14 rows (11 KB) stay in the first-level cache together.
constexpr int kStep = 192;
constexpr int kDistance = kStep + 16;  // of rows: an odd number of cache lines, and room for the last vector
// A block: 224 rows of patches (186 KB) by 128 output channels (98 KB), sums (115 KB): together in the second-level
// cache.
constexpr int64_t kBlockPanels = 224 / kTileRows;
constexpr int64_t kBlockColumns = 128;
constexpr int64_t kUnitsWanted = 32;
constexpr int64_t kLeastSteps = 4;   // of a chunk of pixels
constexpr int64_t kSumSlice = 4096;  // elements of dw in a unit of the second phase

struct Shape {
  int64_t depth, outputs, pixels;  // rows and columns of the product, pixels of all images
  Panels panels;
  int64_t row_blocks, column_blocks, chunks, chunk_steps;
  int64_t block_start(int64_t block) const { return block * panels.count / row_blocks; }  // first panel
  int64_t units(int64_t groups) const { return groups * row_blocks * column_blocks * chunks; }
};

Shape shape_of(const Conv& c) {
  Shape s;
  s.depth = c.w.c * c.w.d * c.w.h * c.w.w;
  s.outputs = c.w.n / c.groups;
  s.pixels = c.y.n * c.y.d * c.y.h * c.y.w;
  s.panels = panels_of(s.depth);
  s.row_blocks = (s.panels.count + kBlockPanels - 1) / kBlockPanels;
  s.column_blocks = (s.outputs + kBlockColumns - 1) / kBlockColumns;
  const int64_t blocks = c.groups * s.row_blocks * s.column_blocks, steps = (s.pixels + kStep - 1) / kStep;
  const int64_t wanted = most(1, least(kUnitsWanted / blocks, steps / kLeastSteps));
  s.chunk_steps = (steps + wanted - 1) / wanted;
  s.chunks = (steps + s.chunk_steps - 1) / s.chunk_steps;
  return s;
}

int64_t block_rows(const Shape& s) { return least(s.panels.count, kBlockPanels) * kTileRows; }
int64_t block_columns(const Shape& s) {
  return (least(s.outputs, kBlockColumns) + kTileCols - 1) / kTileCols * kTileCols;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!is_plain(c.x) || !is_plain(c.y)) return 0;
  const Shape s = shape_of(c);
  constexpr double kTileShare = 0.9;                               // of the FMA peak
  constexpr double kPatchBytesPerNs = 30, kOutputBytesPerNs = 12;  // packed by one core
  constexpr double kLaunchNs = 3000;
  const double columns = static_cast<double>((s.outputs + kLanes - 1) / kLanes * kLanes);
  const double depth = static_cast<double>(s.depth), pixels = static_cast<double>(s.pixels * c.groups);
  const double share = kTileShare * (s.depth < 4 ? depth / 4 : 1.0);
  const double work = 2 * depth * columns * pixels / (machine.flops_per_ns * share) +
                      pixels * 4 *
                          (depth * static_cast<double>(s.column_blocks) / kPatchBytesPerNs +
                           columns * static_cast<double>(s.row_blocks) / kOutputBytesPerNs);
  const double sums = s.chunks > 1 ? static_cast<double>(s.chunks * c.w.n) * depth * 8 : 0;
  out[0] = Variant{};
  out[0].ns = static_cast<float>((work + sums / machine.l2_bytes_per_ns) / machine.threads + kLaunchNs);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Conv& c = op.conv;
  const Shape s = shape_of(c);
  *work = Work{};
  work->phases = s.chunks > 1 ? 2 : 1;
  work->units[0] = s.units(c.groups);
  work->units[1] = s.chunks > 1 ? (c.w.n * s.depth + kSumSlice - 1) / kSumSlice : 0;
  work->shared_bytes = s.chunks > 1 ? s.chunks * c.w.n * s.depth * 4 : 0;
  work->scratch_bytes = (block_rows(s) * kDistance + block_columns(s) * kStep + block_rows(s) * block_columns(s)) * 4;
}

// dy of pixels [q, q + count) with kTileCols output channels, from `channel` on, side by side: panels of
// [count][kTileCols].
void pack_outputs(const Conv& c, const float* dy, int64_t columns, int64_t q, int count, float* to) {
  const int64_t pixels = c.y.d * c.y.h * c.y.w;  // of an image, one behind the other
  for (int64_t column = 0; column < columns; column += kTileCols, to += kTileCols * kStep) {
    const int64_t width = least(kTileCols, columns - column);
    if (width < kTileCols)
      for (int64_t i = 0; i < int64_t{count} * kTileCols; i += kLanes) store(to + i, zero());
    each_run(q, count, 1, pixels, [&](int64_t image, int64_t, int64_t pixel, int first, int length) CNNKERN_LAMBDA {
      pack_transposed(at(c.y, dy, image, column, 0, 0, pixel), c.y.sc, width, length, to + first * kTileCols,
                      kTileCols);
    });
  }
}

// What the tiles of one step multiply, and the next step's input, pulled in on the way.
struct Step {
  int64_t panel, panel_end, columns;
  int count;
  bool first;
  Prefetch ahead_x, ahead_dy;
};

// sums (+)= patches times dy.
void multiply(const Shape& s, Step& step, const float* patches, const float* outputs, float* sums, int64_t sums_step) {
  const int64_t row_first = s.panels.start(step.panel);
  for (int64_t column = 0; column < step.columns; column += kTileCols) {
    Tile tile{};
    tile.b = outputs + column * kStep;
    tile.depth = step.count;
    tile.columns = static_cast<int>(least(kTileCols, step.columns - column));
    tile.c_step = tile.start_step = sums_step;
    for (int64_t i = step.panel; i < step.panel_end; ++i) {
      const int64_t row = s.panels.start(i) - row_first;
      tile.a = patches + row * kDistance;
      tile.c = sums + row * sums_step + column;
      tile.start = step.first ? nullptr : tile.c;
      step.ahead_x.next();
      step.ahead_dy.next();
      run_tile<kDistance>(s.panels.rows(i), tile);
    }
  }
}

void run_block(const Conv& c, const Shape& s, int64_t unit, const Context& context) {
  const int64_t chunk = unit % s.chunks, column_block = unit / s.chunks % s.column_blocks;
  const int64_t row_block = unit / s.chunks / s.column_blocks % s.row_blocks;
  const int64_t group = unit / s.chunks / s.column_blocks / s.row_blocks;
  PatchMap map = forward_map(c);
  flatten(map);
  const int64_t panel = s.block_start(row_block), panel_end = s.block_start(row_block + 1);
  const int64_t row = s.panels.start(panel), row_end = s.panels.start(panel_end);
  const int64_t channel = group * s.outputs + column_block * kBlockColumns;
  const int64_t columns = least(kBlockColumns, s.outputs - column_block * kBlockColumns);
  const float* x = static_cast<const float*>(context.args[Conv::kGwX]) + group * c.w.c * c.x.sc;
  const float* dy = static_cast<const float*>(context.args[Conv::kGwDy]) + channel * c.y.sc;
  float* patches = static_cast<float*>(context.scratch);
  float* outputs = patches + block_rows(s) * kDistance;
  float* sums = outputs + block_columns(s) * kStep;
  const int64_t q_first = chunk * s.chunk_steps * kStep, q_end = least(s.pixels, q_first + s.chunk_steps * kStep);
  const int64_t pixels = c.y.d * c.y.h * c.y.w;
  const PatchMap dy_map{kSinglePatch, kSinglePatch, {pixels, pixels, 1, 1, 0, 1}, c.y.sn, c.y.sc, pixels, pixels};
  const int64_t channel_first = row / map.taps(), channels = (row_end - 1) / map.taps() + 1 - channel_first;
  const int64_t tiles = (panel_end - panel) * ((columns + kTileCols - 1) / kTileCols);
  for (int64_t q = q_first; q < q_end; q += kStep) {
    const int count = static_cast<int>(least(kStep, q_end - q));
    pack_patches(map, x, q, count, row, row_end, patches, {kStep, 0, kDistance});
    pack_outputs(c, dy, columns, q, count, outputs);
    const int64_t next = q + count, next_end = least(q_end, next + kStep);
    Step step{panel,
              panel_end,
              columns,
              count,
              q == q_first,
              prefetch_columns(map, x + channel_first * c.x.sc, channels, next, next_end, tiles),
              prefetch_columns(dy_map, dy, columns, next, next_end, tiles)};
    multiply(s, step, patches, outputs, sums, block_columns(s));
  }
  float* dw = s.chunks > 1 ? static_cast<float*>(context.shared) + chunk * c.w.n * s.depth
                           : static_cast<float*>(context.args[Conv::kGwDw]);
  pack_transposed(sums, block_columns(s), row_end - row, columns, dw + channel * s.depth + row, s.depth);
}

// A slice of dw: the sums of the chunks, in their order.
void add_chunks(const Conv& c, const Shape& s, int64_t slice, const Context& context) {
  const int64_t size = c.w.n * s.depth, end = least(size, (slice + 1) * kSumSlice);
  const float* sums = static_cast<const float*>(context.shared);
  float* dw = static_cast<float*>(context.args[Conv::kGwDw]);
  for (int64_t i = slice * kSumSlice; i < end; i += kLanes) {
    const int n = static_cast<int>(least(kLanes, end - i));
    Vec sum = load_n(sums + i, n);
    for (int64_t chunk = 1; chunk < s.chunks; ++chunk) sum = add(sum, load_n(sums + chunk * size + i, n));
    store_n(dw + i, sum, n);
  }
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Shape s = shape_of(c);
  for (int64_t unit = first; unit < last; ++unit)
    if (phase == 0)
      run_block(c, s, unit, context);
    else
      add_chunks(c, s, unit, context);
}

}  // namespace

extern const Kernel conv2d_grad_weight_im2col;
const Kernel conv2d_grad_weight_im2col = {"im2col", OpKind::kConv2dGradWeight, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
