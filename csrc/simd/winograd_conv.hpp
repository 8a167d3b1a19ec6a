// SPDX-License-Identifier: BSD-3-Clause
// The convolution by Winograd's minimal filtering, F(kM x kM, kR x kR), on blocked maps: kSize^2
// ("frequencies") matrix products of (tiles x channels) with (channels x outputs) between transforms of the input and
// of the filters and one of the result, instead of kR^2 products per pixel: 2.25 times (F(2, 3)) to 4 times (F(4, 3))
// fewer multiplications; of stride 2, 1.44 times.
//
// Tiles of all images are numbered in a row and taken in groups; a unit is a panel of output channels of a group. Each
// call transforms the inputs of its groups for itself: sharing them cost two cores without a common cache three times
// as much as the transform. Filters are packed as they are and transformed when they are needed, a slice of a panel's
// input channels at a time, which stays in L2 (14x14x256: 240 us on two threads; 300 with four times as many bytes of
// transformed filters from memory). The products are those of simd/conv_tile.hpp with tiles in the place of pixels.
// Bias, residual and activation are applied in the output transform.
//
// The result differs from that of direct summation by rounding: measured in tests/test_winograd.py. A value that is not
// finite reaches every pixel of the tiles that read it.
#pragma once
#include "simd/winograd_maps.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// What follows from the operation and a variant.
struct WinogradPlan : WinogradMaps {
  int64_t group, groups;                       // tiles of a group
  int64_t panels;                              // of kTileBlocks blocks
  int64_t slice, slices;                       // input channels whose filters of a panel are transformed together
  int64_t kept;                                // transformed slices that scratch holds: all of them or one
  int64_t input_frequency, product_frequency;  // floats between frequencies of a group's transformed input and products
  int64_t filter_frequency;                    // floats between frequencies of a slice of transformed filters
};

// Bytes of transformed filters that are made at once: together with what they are multiplied with they stay in L2.
constexpr int64_t kSliceBytes = 320 << 10;

template <class F>
CNNKERN_INLINE WinogradPlan winograd_plan(const Conv& c, int64_t group) {
  WinogradPlan p{};
  static_cast<WinogradMaps&>(p) = winograd_maps<F>(c);
  p.group = group;
  p.groups = (p.tiles + group - 1) / group;
  p.panels = (p.out_blocks + kTileBlocks - 1) / kTileBlocks;
  const int64_t channel_bytes = F::kFilters * F::kFilters * kTileBlocks * kBlock * 4;
  const int64_t most_blocks = most(1, kSliceBytes / (channel_bytes * kBlock));
  p.slices = (p.in_blocks + most_blocks - 1) / most_blocks;
  p.slice = (p.in_blocks + p.slices - 1) / p.slices * kBlock;
  const bool all_fit = p.slices * p.panels * p.slice * channel_bytes <= 2 * kSliceBytes;
  p.kept = all_fit ? p.slices * p.panels : 1;
  p.input_frequency = odd_lines(p.in_blocks * group * kBlock);
  p.product_frequency = odd_lines(kTileBlocks * group * kBlock);
  p.filter_frequency = odd_lines(least(p.slice, p.channels) * kTileBlocks * kBlock);
  return p;
}

// Nanoseconds of the busiest nominal thread: products, transforms (loads and stores of 16 channels, nearly all of them
// in L2), and half of the traffic of the maps and filters (the other half is hidden behind the products).
template <class F>
CNNKERN_INLINE double winograd_ns(const WinogradPlan& p, const Machine& machine) {
  constexpr int64_t kFrequencies = F::kSize * F::kSize;
  const double block_ns = 64 / machine.l2_bytes_per_ns;
  Sweep s{};
  s.step = kStepChannels, s.steps = p.channels / p.slices / kStepChannels;
  const int64_t spans = tiles_of(p.group), wider = p.group % spans;
  const double slots = static_cast<double>(wider) * tile_slots(s, p.group / spans + 1, kTileBlocks) +
                       static_cast<double>(spans - wider) * tile_slots(s, p.group / spans, kTileBlocks);
  constexpr double kLoss = kRegisters == 32 ? 1.1 : 0.95;  // beside the direct convolution
  const double products_ns =
      kLoss * slots * static_cast<double>(kFrequencies * p.slices) * 2 * kLanes / machine.flops_per_ns;
  const double group = static_cast<double>(p.group), panel_blocks = kTileBlocks;
  const double input_ns = block_ns * group * static_cast<double>(2 * kFrequencies * p.in_blocks);
  const double output_ns =
      block_ns * group * panel_blocks * static_cast<double>(kFrequencies + 2 * F::kOutputs * F::kOutputs);
  const double filter_ns = block_ns * panel_blocks * static_cast<double>(F::kFilters * F::kFilters * p.channels);
  // A panel of less than kTileBlocks blocks is a part of one.
  const double units = static_cast<double>(p.groups * p.out_blocks) / panel_blocks;
  double mine = units / machine.threads + (p.groups * p.panels % machine.threads ? 0.5 : 0.0);
  const double groups = mine / static_cast<double>(p.panels);
  const double started = static_cast<double>(static_cast<int64_t>(groups)) +
                         (groups > static_cast<double>(static_cast<int64_t>(groups)) ? 1 : 0);
  const double filters = p.kept > 1 && mine > static_cast<double>(p.panels) ? static_cast<double>(p.panels) : mine;
  const double bytes = map_bytes(p.in) + map_bytes(p.out) + map_bytes(p.residual) + map_bytes(p.gate) +
                       4.0 * static_cast<double>(F::kTaps * F::kTaps * p.channels * p.out_blocks * kBlock);
  return started * input_ns + mine * (products_ns + output_ns) + filters * filter_ns +
         0.5 * traffic_ns(bytes, machine) + 2000;
}

// The group of the least predicted time.
template <class F>
CNNKERN_INLINE int winograd_candidates(const Conv& c, const Machine& machine, Variant* out) {
  if (!winograd_serves<F>(c)) return 0;
  const int64_t tiles = winograd_plan<F>(c, 1).tiles;
  for (int64_t multiple = 1; multiple <= 10; ++multiple) {
    // Groups of equal size, not many full ones and a small rest.
    int64_t group = least(multiple * kTilePixels, tiles);
    const int64_t groups = (tiles + group - 1) / group;
    group = (tiles + groups - 1) / groups;
    const double ns = winograd_ns<F>(winograd_plan<F>(c, group), machine);
    if (multiple == 1 || ns < static_cast<double>(out->ns))
      *out = {F::kOutputs, 0, {static_cast<int32_t>(group)}, static_cast<float>(ns)};
  }
  return 1;
}

template <class F>
CNNKERN_INLINE void winograd_prepare(const Conv& c, const Variant& variant, Work* work, void* table) {
  constexpr int64_t kFrequencies = F::kSize * F::kSize;
  const WinogradPlan p = winograd_plan<F>(c, variant.p[0]);
  *work = {};
  work->phases = 1;
  work->units[0] = p.groups * p.panels;
  work->scratch_bytes = 4 * (kFrequencies * (p.input_frequency + p.product_frequency) +
                             F::kFilters * F::kFilters * p.kept * p.filter_frequency);
  work->packed_bytes = winograd_packed_floats<F>(p) * 4;
  work->pack_units = p.out_blocks;
  const int64_t steps = p.slice / kStepChannels;
  work->table_bytes = static_cast<int64_t>(sizeof(WinogradPlan)) + steps * static_cast<int64_t>(sizeof(int32_t));
  if (!table) return;
  *static_cast<WinogradPlan*>(table) = p;
  int32_t* offset = reinterpret_cast<int32_t*>(static_cast<WinogradPlan*>(table) + 1);
  for (int64_t i = 0; i < steps; ++i)
    *offset++ = static_cast<int32_t>(i / 4 * p.group * kBlock + i % 4 * kStepChannels);
}

CNNKERN_INLINE int64_t winograd_panel_blocks(const WinogradPlan& p, int64_t panel) {
  return least(kTileBlocks, p.out_blocks - panel * kTileBlocks);
}

// The transformed input of `count` tiles from `first` on. Channel block by channel block: neighbouring tiles then read
// on along a few rows, which the hardware prefetches.
template <class F>
void winograd_inputs(const WinogradPlan& p, const float* x, int64_t first, int64_t count, float* transformed) {
  for (int64_t block = 0; block < p.in_blocks; ++block)
    for (int64_t i = 0; i < count; ++i)
      winograd_input<F>(p, x, block, first + i, transformed + (block * p.group + i) * kBlock,
                        F::kSize * p.input_frequency, p.input_frequency);
}

// One slice of a panel's filters, transformed: [frequency][input channel][block of the panel][16].
template <class F>
void winograd_filters(const WinogradPlan& p, const float* packed, int64_t panel, int64_t slice, float* filters) {
  constexpr int64_t kAll = F::kTaps * F::kTaps;
  const int64_t blocks = winograd_panel_blocks(p, panel), first = slice * p.slice;
  const int64_t channels = least(p.slice, p.channels - first);
  for (int64_t block = 0; block < blocks; ++block) {
    const float* const from = packed + ((panel * kTileBlocks + block) * p.channels + first) * kAll * kBlock;
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t v = 0; v < kBlock; v += kLanes)
        transform_filter<F>(from + c * kAll * kBlock + v, filters + (c * blocks + block) * kBlock + v,
                            p.filter_frequency);
  }
}

// Lines of each block that will be read soon, fetched into L2 a few at a time.
struct WinogradAhead {
  const char* next;
  int64_t lines, at_once, blocks, block_bytes;

  CNNKERN_LAMBDA void fetch() {
    for (int64_t line = least(lines, at_once); line > 0; --line, --lines, next += 64)
      for (int64_t block = 0; block < blocks; ++block) __builtin_prefetch(next + block * block_bytes, 0, 2);
  }
};

// The products of `count` tiles with a panel, all frequencies, over the input channels of one slice: added to what
// those before it gave.
template <class F>
void winograd_products(const WinogradPlan& p, const float* transformed, const float* filters, int64_t count,
                       int64_t panel, int64_t slice, const int32_t* offsets, WinogradAhead ahead, float* products) {
  constexpr int kFrequencies = F::kSize * F::kSize;
  const int64_t blocks = winograd_panel_blocks(p, panel), spans = tiles_of(count);
  TileArgs a{};
  a.x_step = a.y_step = a.residual_step = kBlock;
  a.offset = offsets;
  a.steps = least(p.slice, p.channels - slice * p.slice) / kStepChannels;
  a.y_block = a.residual_block = p.group * kBlock;
  a.lanes = blocks * kBlock;
  transformed += slice * p.slice * p.group;
  for (int frequency = 0; frequency < kFrequencies; ++frequency) {
    const int filter = filter_of<F>(frequency / F::kSize) * F::kFilters + filter_of<F>(frequency % F::kSize);
    a.w = filters + filter * p.filter_frequency;
    for (int64_t i = 0; i < spans; ++i) {
      const Span span = span_of(count, spans, i);
      a.x = transformed + frequency * p.input_frequency + span.start * kBlock;
      a.y = products + frequency * p.product_frequency + span.start * kBlock;
      a.residual = slice > 0 ? a.y : nullptr;
      ahead.fetch();
      tile_function<kStepChannels>(span.size, blocks)(a);
    }
  }
}

// What a call of run() works on.
template <class F> struct WinogradRun {
  static constexpr int64_t kFrequencies = F::kSize * F::kSize;
  const WinogradPlan& p;
  const int32_t* offsets;
  const float* packed;
  float* products;
  float* filters;
  int64_t last = -1;  // the slice (panel * slices + slice) that was transformed last
  int64_t made = 0;   // slices transformed so far

  // Products and result of one panel; `next` is the one after it.
  void panel(const float* transformed, int64_t first, int64_t count, int64_t panel, int64_t next,
             const WinogradResult& result) {
    const int64_t calls = kFrequencies * tiles_of(count);
    for (int64_t slice = 0; slice < p.slices; ++slice) {
      const int64_t index = panel * p.slices + slice;
      float* const place = filters + (p.kept > 1 ? index * F::kFilters * F::kFilters * p.filter_frequency : 0);
      if (!is_made(index)) {
        winograd_filters<F>(p, packed, panel, slice, place);
        last = index;
        ++made;
      }
      WinogradAhead ahead = slice + 1 == p.slices ? ahead_of(next, 0) : ahead_of(panel, slice + 1);
      ahead.at_once = (ahead.lines + calls - 1) / calls;
      winograd_products<F>(p, transformed, place, count, panel, slice, offsets, ahead, products);
    }
    for (int64_t block = 0; block < winograd_panel_blocks(p, panel); ++block)
      for (int64_t i = 0; i < count; ++i)
        winograd_output<F>(p, products + (block * p.group + i) * kBlock, p.product_frequency, first + i,
                           panel * kTileBlocks + block, result);
  }

  // Panels are visited in a circle, so what is kept has been made when all have.
  bool is_made(int64_t index) const { return p.kept > 1 ? made == p.kept : index == last; }

  WinogradAhead ahead_of(int64_t panel, int64_t slice) const {
    if (panel == p.panels || is_made(panel * p.slices + slice)) return {};
    constexpr int64_t kLines = F::kTaps * F::kTaps;
    const int64_t start = slice * p.slice;
    const float* const from = packed + (panel * kTileBlocks * p.channels + start) * kLines * kBlock;
    return {reinterpret_cast<const char*>(from), least(p.slice, p.channels - start) * kLines, 0,
            winograd_panel_blocks(p, panel), p.channels * kLines * 64};
  }
};

template <class F>
CNNKERN_INLINE void winograd_units(const WinogradPlan& p, const float* x, const WinogradResult& result, int64_t first,
                                   int64_t last, const Context& context) {
  constexpr int64_t kFrequencies = F::kSize * F::kSize;
  float* const transformed = static_cast<float*>(context.scratch);
  float* const products = transformed + kFrequencies * p.input_frequency;
  WinogradRun<F> run{p, reinterpret_cast<const int32_t*>(&p + 1), static_cast<const float*>(context.packed), products,
                     products + kFrequencies * p.product_frequency};
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t panel = unit % p.panels, tile = unit / p.panels * p.group, count = least(p.group, p.tiles - tile);
    if (unit == first || panel == 0) winograd_inputs<F>(p, x, tile, count, transformed);
    run.panel(transformed, tile, count, panel, unit + 1 < last ? (unit + 1) % p.panels : p.panels, result);
  }
}

template <class F>
CNNKERN_INLINE void winograd_run(const Prepared& prepared, int64_t first, int64_t last, const Context& context) {
  const auto argument = [&](int i) { return static_cast<float*>(context.args[i]); };
  const WinogradResult result = {argument(Conv::kBias), argument(Conv::kResidual), nullptr, argument(Conv::kY),
                                 prepared.op.conv.epilogue};
  winograd_units<F>(*static_cast<const WinogradPlan*>(prepared.table), argument(Conv::kX), result, first, last,
                    context);
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
