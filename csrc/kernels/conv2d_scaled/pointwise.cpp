// SPDX-License-Identifier: BSD-3-Clause
// y = act(bias + residual + sum over c of act'((x[n, c, p] - centre[c]) scale[n, c] + shift[c]) w[o, c]): the 1x1
// convolution of conv2d/pointwise.cpp on pixels scaled as they are loaded, which spares a step that would write
// and read them: batch normalization and ReLU before a convolution (DenseNet), the gate of squeeze-and-excitation.
// The pixels of a tile are scaled once, into scratch in L1, and serve all its output channels. The bits are those of
// the separate steps.
#include "simd/conv_forward.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Scaled pixels of several tiles where the weights have to come in chunk by chunk: a quarter of L2.
constexpr int64_t kScaledBytes = 256 << 10;

struct Plan {
  Sweep sweep;
  int64_t batch;  // tiles that are scaled together
  int64_t tile;   // floats of a scaled tile: [blocks of C][kTilePixels][16]
};

Plan make_plan(const Conv& c) {
  Plan p{};
  p.sweep = pointwise_sweep(c);
  p.tile = blocks_of(p.sweep.reduction) * kTilePixels * kBlock;
  const int64_t fit = kScaledBytes / (p.tile * static_cast<int64_t>(sizeof(float)));
  p.batch = p.sweep.chunk < p.sweep.panels ? least(most(fit, 1), p.sweep.tiles) : 1;
  return p;
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (!is_pointwise(c) || !forward_serves(c)) return 0;
  const Sweep s = pointwise_sweep(c);
  const double scaling = map_bytes(c.x) / (machine.l2_bytes_per_ns * machine.threads);
  *out = {0, 0, {}, forward_ns(s, c, machine) + static_cast<float>(scaling)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Plan p = make_plan(op.conv);
  forward_work(p.sweep, work);
  work->table_bytes += static_cast<int64_t>(sizeof(Plan) - sizeof(Sweep));
  work->scratch_bytes = p.batch * p.tile * static_cast<int64_t>(sizeof(float));
  if (!table) return;
  *static_cast<Plan*>(table) = p;
  Sweep scaled = p.sweep;
  scaled.x.block = kTilePixels * kBlock;
  fill_offsets(scaled, [](int64_t) { return 0; }, reinterpret_cast<int32_t*>(static_cast<Plan*>(table) + 1));
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  forward_pack(prepared, first, last, weight, packed);  // whose table starts with the sweep too
}

template <bool kRelu>
CNNKERN_INLINE void scale_pixels(const float* x, int64_t step, int64_t pixels, Block centre, Block scale, Block shift,
                                 float* to) {
  for (int64_t p = 0; p < pixels; ++p) {
    const Block v = fma(sub(block_load(x + p * step), centre), scale, shift);
    block_store(to + p * kBlock, kRelu ? max(block_zero(), v) : v);
  }
}

// The pixels of one tile, which are those of image n from `x` on, for the reduced channels from `channel` on.
void scale_tile(const Conv& c, const Sweep& s, const Context& context, const float* x, int64_t n, int64_t channel,
                int64_t pixels, float* to) {
  const auto argument = [&](int i) { return static_cast<const float*>(context.args[i]); };
  const float* const scale = argument(Conv::kScale) + (c.scale.n > 1 ? n * c.scale.sn : 0);
  const float *const shift = argument(Conv::kShift), *const centre = argument(Conv::kCentre);
  const int64_t block_step = c.scale.layout == Layout::kBlocked ? c.scale.sc : kBlock;
  for (int64_t i = 0; i < s.reduction; i += kBlock, x += s.x.block, to += kTilePixels * kBlock) {
    const int lanes = static_cast<int>(least(kBlock, s.reduction - i));
    const Block by = block_load_n(scale + (channel + i) / kBlock * block_step, lanes);
    const Block up = shift ? block_load_n(shift + channel + i, lanes) : block_zero();
    const Block off = centre ? block_load_n(centre + channel + i, lanes) : block_zero();
    if (c.input_activation == Activation::kRelu)
      scale_pixels<true>(x, s.x.w, pixels, off, by, up, to);
    else
      scale_pixels<false>(x, s.x.w, pixels, off, by, up, to);
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Conv& c = prepared.op.conv;
  const Plan& p = *static_cast<const Plan*>(prepared.table);
  const Sweep& s = p.sweep;
  const SweepPointers pointers = forward_pointers(s, first, context);
  const int64_t image = s.row_tiles * s.h * s.d;  // tiles of one
  float* const scratch = static_cast<float*>(context.scratch);
  TileArgs a = tile_args(s, reinterpret_cast<const int32_t*>(&p + 1), c.epilogue);
  a.x_step = kBlock;
  while (first < last) {
    const SweepPiece piece = first_piece(s, first, last);
    for (int64_t begin = piece.begin; begin < piece.end; begin += p.batch) {
      const int64_t end = least(begin + p.batch, piece.end);
      int64_t tile = begin;
      for_tiles(s, a, pointers, piece.group, begin, end, [&](int64_t pixels) CNNKERN_LAMBDA {
        float* const to = scratch + (tile - begin) * p.tile;
        scale_tile(c, s, context, a.x, tile / image, piece.group * s.reduction, pixels, to);
        ++tile;
      });
      for_chunks(s, pointers, piece, [&](int64_t panel, int64_t chunk_end, const char* next) CNNKERN_LAMBDA {
        tile = 0;
        for_tiles(s, a, pointers, piece.group, begin, end, [&](int64_t pixels) CNNKERN_LAMBDA {
          a.x = scratch + tile * p.tile;
          run_panels<kStepChannels>(s, a, pointers, piece.group, panel, chunk_end, pixels, tile++, next);
        });
      });
    }
    first += piece.units;
  }
}

}  // namespace

extern const Kernel conv2d_scaled_pointwise;
const Kernel conv2d_scaled_pointwise = {"pointwise", OpKind::kConv2dScaled, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
