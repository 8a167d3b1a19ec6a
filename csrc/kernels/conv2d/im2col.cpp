// SPDX-License-Identifier: BSD-3-Clause
// conv2d by im2col: y(o, q) = act(sum over k of w(o, k) patch(k, q) + bias(o) + residual(o, q)), k = (channel, tap).
//
// Plain layout in and out. Panels of 32 (AVX-512) output pixels of the patch matrix are packed in scratch, for all k, and
// multiplied by panels of 14 output channels; vectors lie along output pixels, so y is written as it lies in memory.
// Serves every shape: any stride, padding, dilation, groups. Wins on plain maps and where channels are few or odd.
// Registers: those of the tile (gemm_tile.hpp); its loop spills on no instruction set.
// Measured (AVX-512, ResNet-50, batch 8, percent of the FMA peak on one core and on two): at 56x56 1x1 64>256 84 and 85,
// 256>64 73 and 74, 3x3 64>64 79 and 79; at 28x28 1x1 512>128 83 and 80, 128>512 90 and 90, 3x3 128>128 80 and 76; AVX2 68
// to 90. What is missing goes to packing: 4 to 5 cycles a vector, the price of storing to the second-level cache.
// Packing one panel of 32 pixels at a time, without prefetching, gave 27 at 1x1 256>64: each line came from another page.
#include "simd/patch_product.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int64_t rows_of(const Conv& c) { return c.w.n / c.groups; }
int64_t depth_of(const Conv& c) { return c.w.c * c.w.d * c.w.h * c.w.w; }
int64_t columns_of(const Conv& c) { return c.y.n * c.y.d * c.y.h * c.y.w; }
PatchSplit split_of(const Conv& c) { return patch_split(rows_of(c), depth_of(c), columns_of(c)); }

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!is_plain(c.x) || !is_plain(c.y) || !is_plain(c.residual)) return 0;
  out[0] = Variant{};
  out[0].ns = patch_product_ns(machine, rows_of(c), static_cast<double>(depth_of(c)), columns_of(c), c.groups);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Conv& c = op.conv;
  const PatchSplit split = split_of(c);
  *work = Work{};
  work->phases = 1;
  work->units[0] = c.groups * split.units;
  work->scratch_bytes = split.scratch_bytes;
  work->packed_bytes = c.w.n * depth_of(c) * 4;
  work->pack_units = c.groups * panels_of(rows_of(c)).count;
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Conv& c = prepared.op.conv;
  const int64_t depth = depth_of(c);
  const Panels panels = panels_of(rows_of(c));
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t row = unit / panels.count * rows_of(c) + panels.start(unit % panels.count);
    const int height = panels.rows(unit % panels.count);
    pack_transposed(weight + row * depth, depth, height, depth, static_cast<float*>(packed) + row * depth, height);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const PatchSplit split = split_of(c);
  const float* residual = static_cast<const float*>(context.args[Conv::kResidual]);
  PatchProduct p{};
  p.map = forward_map(c);
  p.m = rows_of(c);
  p.depth = depth_of(c);
  p.columns = columns_of(c);
  p.to = {c.y.sn, c.y.sc, c.y.sh, 1, 0, 0};
  p.residual = residual;
  p.residual_from = {c.residual.sn, c.residual.sc, c.residual.sh, 1, 0, 0};
  flatten(p);
  p.epilogue = &c.epilogue;
  for (int64_t unit = first; unit < last;) {
    const int64_t group = unit / split.units, begin = unit % split.units;
    const int64_t end = least(split.units, begin + last - unit);
    const int64_t channel = group * p.m;
    p.weight = static_cast<const float*>(context.packed) + channel * p.depth;
    p.x = static_cast<const float*>(context.args[Conv::kX]) + group * c.w.c * c.x.sc;
    p.y = static_cast<float*>(context.args[Conv::kY]) + channel * c.y.sc;
    p.bias = context.args[Conv::kBias] ? static_cast<const float*>(context.args[Conv::kBias]) + channel : nullptr;
    p.residual = residual ? residual + channel * c.residual.sc : nullptr;
    multiply_units(p, split, begin, end, static_cast<float*>(context.scratch));
    unit += end - begin;
  }
}

}  // namespace

extern const Kernel conv2d_im2col;
const Kernel conv2d_im2col = {"im2col", OpKind::kConv2d, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
