// SPDX-License-Identifier: BSD-3-Clause
// y = x with its axes in another order. Axes that stay neighbours are merged and axes of size 1 dropped, so that what is
// left is, innermost axis of y first, a list of sizes and strides in x. Where the innermost axis is that of x too, rows
// are copied; else the plane of the two innermost axes (that of y, that of x) is cut into tiles of 16 KB, which are
// transposed in registers, kLanes x kLanes at a time. Limited by memory.
// Measured, one core (Zen 5, AVX-512, from the last cache): images to channels last 37 bytes/ns, pixel shuffles 26 to 39.
#include "simd/axes.hpp"
#include "simd/transpose.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kTileSide = 64;  // columns of x that are written as rows of y before the next ones

struct Walk {
  int count;                    // axes, innermost of y first
  int64_t size[5], x[5], y[5];  // sizes, strides in x, strides in y
  int across;                   // the axis along which x is contiguous: 0 where rows are copied
  int64_t tile_a, tile_b;       // of axis 0 and of axis `across` (1 of it where rows are copied)
  int64_t tiles_a, tiles_b, units;
};

Walk walk_of(const Permute& op) {
  const int64_t size[5] = {op.y.n, op.y.c, op.y.d, op.y.h, op.y.w};
  const int64_t x_stride[5] = {op.x.sn, op.x.sc, op.x.sd, op.x.sh, 1};
  Walk walk{};
  for (int i = 4; i >= 0; --i) {
    const int64_t stride = x_stride[op.axes[i]];
    if (size[i] == 1) continue;
    const int top = walk.count - 1;
    if (walk.count && stride == walk.x[top] * walk.size[top]) {
      walk.size[top] *= size[i];
      continue;
    }
    walk.size[walk.count] = size[i];
    walk.x[walk.count] = stride;
    ++walk.count;
  }
  if (walk.count == 0) walk.count = 1, walk.size[0] = 1, walk.x[0] = 1;
  walk.y[0] = 1;
  for (int i = 1; i < walk.count; ++i) walk.y[i] = walk.y[i - 1] * walk.size[i - 1];
  for (int i = 0; i < walk.count; ++i)
    if (walk.x[i] == 1) walk.across = i;
  if (walk.across == 0) {  // rows: several short ones, or a part of a long one, to a unit
    walk.tile_a = least(walk.size[0], kTileFloats);
    walk.tile_b = walk.count > 1 ? least(walk.size[1], most(1, kTileFloats / walk.tile_a)) : 1;
    walk.tiles_b = walk.count > 1 ? (walk.size[1] + walk.tile_b - 1) / walk.tile_b : 1;
  } else {
    walk.tile_a = least(walk.size[0], walk.size[walk.across] <= 4 ? kTileFloats / 4 : kTileSide);
    walk.tile_b = least(walk.size[walk.across], most(kTileSide, kTileFloats / walk.tile_a / kTileSide * kTileSide));
    walk.tiles_b = (walk.size[walk.across] + walk.tile_b - 1) / walk.tile_b;
  }
  walk.tiles_a = (walk.size[0] + walk.tile_a - 1) / walk.tile_a;
  const int second = walk.across == 0 ? 1 : walk.across;
  walk.units = walk.tiles_a * walk.tiles_b;
  for (int i = 1; i < walk.count; ++i)
    if (i != second) walk.units *= walk.size[i];
  return walk;
}

// Few rows that alternate in y (planes to pixels, as three colours), and the opposite. The compiler makes shuffles of it.
template <int kRows>
void interleave(const float* __restrict x, int64_t x_stride, float* __restrict y, int64_t columns) {
  for (int64_t j = 0; j < columns; ++j)
    for (int i = 0; i < kRows; ++i) y[j * kRows + i] = x[i * x_stride + j];
}
template <int kColumns>
void separate(const float* __restrict x, float* __restrict y, int64_t y_stride, int64_t rows) {
  for (int64_t i = 0; i < rows; ++i)
    for (int j = 0; j < kColumns; ++j) y[j * y_stride + i] = x[i * kColumns + j];
}

void transpose_tile(const float* x, int64_t x_stride, float* y, int64_t y_stride, int64_t rows, int64_t columns) {
  if (y_stride == rows && rows == 2) return interleave<2>(x, x_stride, y, columns);
  if (y_stride == rows && rows == 3) return interleave<3>(x, x_stride, y, columns);
  if (y_stride == rows && rows == 4) return interleave<4>(x, x_stride, y, columns);
  if (x_stride == columns && columns == 2) return separate<2>(x, y, y_stride, rows);
  if (x_stride == columns && columns == 3) return separate<3>(x, y, y_stride, rows);
  if (x_stride == columns && columns == 4) return separate<4>(x, y, y_stride, rows);
  for (int64_t j = 0; j < columns; j += kLanes)
    for (int64_t i = 0; i < rows; i += kLanes)
      transpose_part(x + i * x_stride + j, x_stride, y + j * y_stride + i, y_stride,
                     static_cast<int>(least(kLanes, rows - i)), static_cast<int>(least(kLanes, columns - j)));
}

CNNKERN_INLINE void copy_row(const float* x, float* y, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(y + i, load(x + i));
  if (i < n) store_n(y + i, load_n(x + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Walk walk = walk_of(op.permute);
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, (walk.across == 0 ? 2 : 3) * elements(op.permute.y));
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Walk walk = walk_of(op.permute);
  work->phases = 1;
  work->units[0] = walk.units;
  work->table_bytes = sizeof(Walk);
  if (table) *static_cast<Walk*>(table) = walk;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Walk& walk = *static_cast<const Walk*>(prepared.table);
  const int second = walk.across == 0 ? 1 : walk.across;
  const bool plane = second < walk.count;
  for (int64_t unit = first; unit < last; ++unit) {
    int64_t rest = unit;
    const int64_t a = rest % walk.tiles_a * walk.tile_a;
    rest /= walk.tiles_a;
    const int64_t b = rest % walk.tiles_b * walk.tile_b;
    rest /= walk.tiles_b;
    const float* x = static_cast<const float*>(context.args[Permute::kX]) + a * walk.x[0];
    float* y = static_cast<float*>(context.args[Permute::kY]) + a;
    if (plane) x += b * walk.x[second], y += b * walk.y[second];
    for (int i = 1; i < walk.count; ++i) {
      if (i == second) continue;
      x += rest % walk.size[i] * walk.x[i];
      y += rest % walk.size[i] * walk.y[i];
      rest /= walk.size[i];
    }
    const int64_t rows = least(walk.tile_a, walk.size[0] - a);
    const int64_t columns = plane ? least(walk.tile_b, walk.size[second] - b) : 1;
    if (walk.across) {
      transpose_tile(x, walk.x[0], y, walk.y[second], rows, columns);
    } else {
      for (int64_t j = 0; j < columns; ++j)
        copy_row(x + (plane ? j * walk.x[1] : 0), y + (plane ? j * walk.y[1] : 0), rows);
    }
  }
}

}  // namespace

extern const Kernel permute_tiles;
const Kernel permute_tiles = {"tiles", OpKind::kPermute, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
