// SPDX-License-Identifier: BSD-3-Clause
// dx[n, c, i] = sum over o and taps t of dy[n, o, j] w[o, c, t] with j * stride - padding + t * dilation = i, on
// blocked maps: the forward tile on transposed weights, once per phase of the stride (simd/conv_phases.hpp). dy needs a
// zero border as wide as the kernel reaches; to pixels of dx that no output reads nothing is added. Groups of whole
// channel blocks.
//
// Registers: simd/conv_tile.hpp; blocking: simd/conv_sweep.hpp. Zen 5, ResNet-50's layers, batch 8: 90 to 98% of the
// FMA peak with AVX-512, 89 to 94% with AVX2.
#include "simd/conv_phases.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Rows of the weights that packing prefetches: each is read in pieces too short for the hardware to notice. Without it,
// packing 512 x 512 x 3 x 3 took 1.9 ms.
constexpr int64_t kAhead = 6;
// Blocks of 1x1 weights that are packed together: a row's piece of one block is a single cache line. The whole gradient by
// the input of 2048 > 512 channels at 7x7, batch 8, takes 4.7 ms instead of 5.0 (Zen 4).
constexpr int64_t kTogether = 8;

void make(const Conv& c, Phases& phases) {
  const int64_t outputs = c.w.n / c.groups;
  const auto complete = [&](Sweep& s) {
    s.groups = c.groups;
    s.lanes = c.w.c;
    s.reduction = outputs;
    if (is_flat(c)) flatten(s);  // rows of 7 pixels: half a tile
    complete_sweep(s);
  };
  make_phases(c, outputs, c.w.c, complete, phases);
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Conv& c = op.conv;
  if (c.x.layout != Layout::kBlocked || c.y.layout != Layout::kBlocked || !groups_fit_blocks(c)) return 0;
  if (!is_blocked(c.residual) || !is_blocked(c.gate)) return 0;
  if (c.stride[0] * c.stride[1] * c.stride[2] > kMaxSweeps || !gradient_border_suffices(c) || !offsets_fit(c.y))
    return 0;
  Phases phases;
  make(c, phases);
  const double beside = map_bytes(c.residual) + map_bytes(c.gate);
  const double bytes = map_bytes(c.x) + map_bytes(c.y) + beside + 4.0 * static_cast<double>(phases.packed);
  double ns = 1000 + 0.5 * traffic_ns(bytes, machine);
  for (int64_t i = 0; i < phases.count; ++i) ns += sweep_ns(phases.sweep[i], machine);
  *out = {0, 0, {}, static_cast<float>(ns)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Conv& c = op.conv;
  Phases phases;
  make(c, phases);
  phases_work(phases, work);
  if (!table) return;
  phases_table(
      c, phases, [](const Sweep& s, auto&& offset, int32_t* offsets) { fill_offsets(s, offset, offsets); }, table);
}

// Packs `count` blocks of input channels (unit = group * blocks + block) of one group, all sweeps: a row of the weights
// is one output channel, with the taps of each lane in turn.
void pack_units(const Phases& p, int64_t unit, int64_t count, const float* weight, float* packed) {
  const Sweep& first = p.sweep[0];
  const int64_t block = unit % first.blocks, stride = first.lanes * p.all_taps;
  const int64_t lanes = least(count * kBlock, first.lanes - block * kBlock);
  const PhaseTap* const places = phase_places(p);
  float* start[kTogether][kMaxSweeps];
  int64_t row[kTogether];
  for (int64_t u = 0; u < count; ++u) {
    row[u] = panel_width(first, block + u) * kBlock;
    for (int64_t i = 0; i < p.count; ++i) start[u][i] = packed + packed_block(p.sweep[i], unit + u);
  }
  weight += unit / first.blocks * first.reduction * stride + block * kBlock * p.all_taps;
  for (int64_t c = 0; c < first.reduction; ++c) {
    const int64_t c_block = c / kBlock * kBlock, padded = padded_channels(first, c_block);
    const float* from = weight + c * stride;
    for (int64_t i = 0; i < lanes * p.all_taps; i += kBlock) __builtin_prefetch(from + kAhead * stride + i);
    for (int64_t u = 0; u < count; ++u, from += kBlock * p.all_taps) {
      const auto place = [&](int64_t tap) -> float* {
        const PhaseTap at = places[tap];
        if (at.sweep < 0) return nullptr;
        return start[u][at.sweep] + (c_block * p.sweep[at.sweep].taps + at.index * padded + c % kBlock) * row[u];
      };
      const int64_t mine = least(kBlock, lanes - u * kBlock);
      if (p.all_taps > 1) {
        transpose_rows(from, p.all_taps, mine, p.all_taps, place);
      } else if (float* const to = place(0)) {
        block_store(to, block_load_n(from, static_cast<int>(mine)));
      }
    }
  }
  const int64_t last = (first.reduction - 1) / kBlock * kBlock;
  for (int64_t u = 0; u < count; ++u)
    for (int64_t i = 0; i < p.count; ++i)
      clear_channels(start[u][i] + last * p.sweep[i].taps * row[u], p.sweep[i].taps, first.reduction - last,
                     padded_channels(first, last), row[u]);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  const Phases& p = *static_cast<const Phases*>(prepared.table);
  const int64_t together = p.all_taps > 1 ? 1 : kTogether, blocks = p.sweep[0].blocks;
  while (first < last) {
    const int64_t count = least(least(together, last - first), blocks - first % blocks);
    pack_units(p, first, count, weight, static_cast<float*>(packed));
    first += count;
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const Phases& p = *static_cast<const Phases*>(prepared.table);
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  const SweepPointers pointers = {argument(Conv::kGiDy),
                                  static_cast<const float*>(context.packed),
                                  nullptr,
                                  argument(Conv::kGiResidual),
                                  argument(Conv::kGiDx),
                                  nullptr,
                                  argument(Conv::kGiGate)};
  for_phases(p, first, last, [&](const Sweep& s, int64_t begin, int64_t end) {
    run_sweep(s, phase_offsets(p), Epilogue{}, pointers, begin, end);
  });
}

}  // namespace

extern const Kernel conv2d_grad_input_direct;
const Kernel conv2d_grad_input_direct = {"direct", OpKind::kConv2dGradInput, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
