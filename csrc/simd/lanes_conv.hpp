// SPDX-License-Identifier: BSD-3-Clause
// The convolution of images in lanes as a loop over tiles: what the forward pass and the gradient by the input, which is
// a convolution with turned filters over dy, share. A unit is a band of result rows of 16 images, all channels. Rows of
// taps that lie above or below the map are left out (of the gradient of LeNet's second layer that is 29%), so the map
// needs a border at its sides alone.
#pragma once
#include "simd/conv_sweep.hpp"
#include "simd/lanes_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kLanesUnits = 32;  // wanted at least, so that threads share them evenly

// How the taps of a kernel meet the rows of the map that is read: result row h meets row h * stride + start + r * step.
struct LanesRows { int64_t size, taps, start, stride, step; };

// Stands at the start of the table; behind it the offset of each step: by rows of taps, in them by channels.
struct LanesConv {
  int64_t images;                              // 16 at a time
  int64_t outputs, reduction, columns, steps;  // columns: taps of a row
  LanesRows rows;
  int64_t h, w;  // of the result
  int64_t band, bands, output_tiles, pixel_tiles;
  int64_t filter, channel;        // in the weights: from output to output, from channel to channel of the reduction
  SweepMap x, y, residual, gate;  // block: from channel to channel
};

CNNKERN_INLINE bool lanes_serve(const Conv& c) {
  return c.x.present && is_in_lanes(c.x) && is_in_lanes(c.y) && is_in_lanes(c.residual) && is_in_lanes(c.gate) &&
         c.groups == 1 && c.w.d == 1 && c.stride[0] == 1 && c.padding[0] == 0;
}

// Whether 32-bit offsets reach everything inside 16 images.
CNNKERN_INLINE bool lanes_offsets_fit(const Tensor& t) { return t.sn < int64_t{1} << 31; }

// `from` is the map that is read, `to` the one that is written.
CNNKERN_INLINE LanesConv lanes_conv(const Conv& c, const Tensor& from, const Tensor& to, const int64_t* stride) {
  const int64_t one[3] = {1, 1, 1};
  LanesConv p{};
  p.images = to.n / kBlock;
  p.outputs = to.c, p.reduction = from.c, p.columns = c.w.w;
  p.rows.size = from.h, p.rows.taps = c.w.h, p.rows.stride = stride[1];
  p.steps = p.rows.taps * p.reduction * p.columns;
  p.h = to.h, p.w = to.w;
  p.band = most(1, least(p.h, p.images * p.h / kLanesUnits));
  p.bands = (p.h + p.band - 1) / p.band;
  p.output_tiles = (p.outputs + kLanesOutputs - 1) / kLanesOutputs;
  p.pixel_tiles = (p.w + kLanesPixels - 1) / kLanesPixels;
  p.x = sweep_map(from, kBlock, stride);
  p.y = sweep_map(to, kBlock, one), p.residual = sweep_map(c.residual, kBlock, one),
  p.gate = sweep_map(c.gate, kBlock, one);
  return p;
}

// The rows of taps that meet the map from result row h.
CNNKERN_INLINE Span met_taps(const LanesRows& rows, int64_t h) {
  const int64_t row = h * rows.stride + rows.start;
  const auto meets = [&](int64_t r) { return row + r * rows.step >= 0 && row + r * rows.step < rows.size; };
  int64_t first = 0, end = rows.taps;
  while (first < end && !meets(first)) ++first;
  while (end > first && !meets(end - 1)) --end;
  return {first, end - first};
}

// In multiplications of a vector a tile takes its steps, each as long as its products or its loads, and about 40 for what
// surrounds them.
CNNKERN_INLINE double lanes_slots(int64_t outputs, int64_t other, int64_t steps) {
  return static_cast<double>(most(outputs * other * kVecs, outputs + other * kVecs) * steps + 40);
}

CNNKERN_INLINE float lanes_ns(const LanesConv& p, const Conv& c, const Machine& machine) {
  const int64_t wide = p.w % p.pixel_tiles, many = p.outputs % p.output_tiles;  // a pixel wider, an output more
  const int64_t pixels = p.w / p.pixel_tiles, outputs = p.outputs / p.output_tiles;
  const auto row = [&](int64_t count) {
    return static_cast<double>(wide) * lanes_slots(count, pixels + 1, p.steps) +
           static_cast<double>(p.pixel_tiles - wide) * lanes_slots(count, pixels, p.steps);
  };
  const double slots =
      static_cast<double>(many) * row(outputs + 1) + static_cast<double>(p.output_tiles - many) * row(outputs);
  const double bytes = map_bytes(c.x) + map_bytes(c.y) + map_bytes(c.residual) + map_bytes(c.gate);
  int64_t met = 0;
  for (int64_t h = 0; h < p.h; ++h) met += met_taps(p.rows, h).size;
  return static_cast<float>(static_cast<double>(p.images * met) / static_cast<double>(p.rows.taps) * slots * 2 *
                                kLanes / (machine.flops_per_ns * machine.threads) +
                            0.5 * traffic_ns(bytes, machine) + 1000);
}

CNNKERN_INLINE void lanes_work(const LanesConv& p, Work* work) {
  *work = {};
  work->phases = 1;
  work->units[0] = p.images * p.bands;
  work->packed_bytes = p.outputs * p.steps * static_cast<int64_t>(sizeof(float));
  work->pack_units = p.output_tiles;
  work->table_bytes = static_cast<int64_t>(sizeof(LanesConv)) + p.steps * static_cast<int64_t>(sizeof(int32_t));
}

// body(channel, tap) for the steps, in their order.
template <class Body>
CNNKERN_INLINE void for_lanes_steps(const LanesConv& p, Body&& body) {
  for (int64_t row = 0; row < p.rows.taps; ++row)
    for (int64_t channel = 0; channel < p.reduction; ++channel)
      for (int64_t column = 0; column < p.columns; ++column) body(channel, row * p.columns + column);
}

// Writes the table. offset(tap): where a tap reads in a channel, from the pixel of x where the result's first one starts.
template <class Offset>
CNNKERN_INLINE void lanes_table(const LanesConv& p, Offset&& offset, void* table) {
  *static_cast<LanesConv*>(table) = p;
  int32_t* out = reinterpret_cast<int32_t*>(static_cast<LanesConv*>(table) + 1);
  for_lanes_steps(
      p, [&](int64_t channel, int64_t tap) { *out++ = static_cast<int32_t>(channel * p.x.block + offset(tap)); });
}

// [output tile][step][outputs of the tile]
CNNKERN_INLINE void lanes_pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight,
                               void* packed) {
  const LanesConv& p = *static_cast<const LanesConv*>(prepared.table);
  for (int64_t tile = first; tile < last; ++tile) {
    const Span span = span_of(p.outputs, p.output_tiles, tile);
    float* out = static_cast<float*>(packed) + span.start * p.steps;
    for_lanes_steps(p, [&](int64_t channel, int64_t tap) {
      const float* const from = weight + span.start * p.filter + channel * p.channel + tap;
      for (int64_t o = 0; o < span.size; ++o) *out++ = from[o * p.filter];
    });
  }
}

CNNKERN_INLINE void lanes_run(const Prepared& prepared, int64_t first, int64_t last, const Context& context,
                              const SweepPointers& pointers) {
  const LanesConv& p = *static_cast<const LanesConv*>(prepared.table);
  const float* const packed = static_cast<const float*>(context.packed);
  TileArgs a{};
  const int32_t* const offsets = reinterpret_cast<const int32_t*>(&p + 1);
  const int64_t row_steps = p.reduction * p.columns;
  a.x_step = p.x.w;
  a.y_step = p.y.w, a.y_block = p.y.block;
  a.residual_step = p.residual.w, a.residual_block = p.residual.block;
  a.gate_step = p.gate.w, a.gate_block = p.gate.block;
  a.lanes = kLanesOutputs * kBlock;  // no lane idles
  a.epilogue = prepared.op.conv.epilogue;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t image = unit / p.bands, begin = unit % p.bands * p.band;
    for (int64_t h = begin; h < least(p.h, begin + p.band); ++h) {
      const Span taps = met_taps(p.rows, h);
      a.offset = offsets + taps.start * row_steps;
      a.steps = taps.size * row_steps;
      for (int64_t i = 0; i < p.pixel_tiles; ++i) {
        const Span pixels = span_of(p.w, p.pixel_tiles, i);
        const auto at = [&](const SweepMap& m) { return m.start + image * m.n + h * m.h + pixels.start * m.w; };
        a.x = pointers.x + at(p.x);
        for (int64_t tile = 0; tile < p.output_tiles; ++tile) {
          const Span outputs = span_of(p.outputs, p.output_tiles, tile);
          a.w = packed + outputs.start * p.steps + taps.start * row_steps * outputs.size;
          a.bias = pointers.bias ? pointers.bias + outputs.start : nullptr;
          a.y = pointers.y + at(p.y) + outputs.start * p.y.block;
          if (pointers.residual) a.residual = pointers.residual + at(p.residual) + outputs.start * p.residual.block;
          if (pointers.gate) a.gate = pointers.gate + at(p.gate) + outputs.start * p.gate.block;
          lanes_tile_function(outputs.size, pixels.size)(a);
        }
      }
    }
  }
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
