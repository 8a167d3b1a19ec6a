// SPDX-License-Identifier: BSD-3-Clause
// The patch matrix of a convolution, packed piece by piece and never whole. Its rows are (channel, tap), its columns
// the pixels of all images in a row, and an element is the input pixel that the tap meets there, or zero outside the
// image.
//
// Which columns of a row come from which run of input pixels is the same in every channel, so it is worked out once per
// panel, as a list of pieces of at most a vector, and then replayed for all channels.
#pragma once
#include "simd/simd.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// One spatial axis: tap t of grid point i meets pixel i * step + first + t * delta of an input of `size` pixels.
struct PatchAxis { int64_t size, count, step, taps, first, delta; };

struct PatchMap {
  PatchAxis d, h, w;
  int64_t sn, sc, sd, sh;  // strides of the input: image, channel, plane, row
  int64_t taps() const { return d.taps * h.taps * w.taps; }
  int64_t rows() const { return d.count * h.count; }  // of all planes
  int64_t pixels() const { return rows() * w.count; }
};

// The patches that a convolution's output pixels see.
CNNKERN_INLINE PatchMap forward_map(const Conv& c) {
  return {{c.x.d, c.y.d, c.stride[0], c.w.d, -c.padding[0], c.dilation[0]},
          {c.x.h, c.y.h, c.stride[1], c.w.h, -c.padding[1], c.dilation[1]},
          {c.x.w, c.y.w, c.stride[2], c.w.w, -c.padding[2], c.dilation[2]},
          c.x.sn,
          c.x.sc,
          c.x.sd,
          c.x.sh};
}

constexpr PatchAxis kSinglePatch = {1, 1, 1, 1, 0, 1};  // an axis of one pixel and one tap

CNNKERN_INLINE bool meets_every_pixel(const PatchAxis& axis) {
  return axis.taps == 1 && axis.step == 1 && axis.first == 0 && axis.size == axis.count;
}

// Where one tap meets every pixel once (1x1 kernels of stride 1), an image is a single row: the longest runs there are.
CNNKERN_INLINE bool flatten(PatchMap& map) {
  if (!meets_every_pixel(map.d) || !meets_every_pixel(map.h) || !meets_every_pixel(map.w)) return false;
  if (map.sh != map.w.size || map.sd != map.sh * map.h.size) return false;
  const int64_t pixels = map.pixels();
  map = {kSinglePatch, kSinglePatch, {pixels, pixels, 1, 1, 0, 1}, map.sn, map.sc, pixels, pixels};
  return true;
}

// Calls body(image, row, column, first, length) for each run of the columns [q, q + columns) that stays within a row of
// `width` out of `height` rows; `first` counts from q.
template <class Body>
CNNKERN_INLINE void each_run(int64_t q, int columns, int64_t height, int64_t width, Body&& body) {
  int64_t image = q / (height * width), row = q / width % height, column = q % width;
  for (int first = 0; first < columns;) {
    const int length = static_cast<int>(least(width - column, columns - first));
    body(image, row, column, first, length);
    first += length;
    column = 0;
    if (++row == height) row = 0, ++image;
  }
}

// `count` pixels from `source` (from a channel's first image) on go to `target`, zeros follow up to a whole vector.
struct Piece {
  int64_t source;
  int32_t target, count;
};

constexpr int kMaxPatchColumns = 256;
constexpr int kMaxPieces = 1536;  // 24 KB; one tap needs at most kMaxPatchColumns + 1 of them
constexpr int kMaxProgramTaps = 128;

// A run of columns in a row of the output; `first` counts from the begin of its panel, which stands at `panel`.
struct PatchRun {
  int64_t image, plane, row, column;
  int first, length, panel;
};

CNNKERN_INLINE int64_t ceil_divide(int64_t a, int64_t b) { return b == 1 ? a : a > 0 ? (a + b - 1) / b : -(-a / b); }

// The pieces of the taps [tap_begin, tap_end) for some panels of columns.
struct PatchProgram {
  Piece pieces[kMaxPieces];
  int begin[kMaxProgramTaps + 1];  // of each tap, among the pieces
  int64_t tap_begin, tap_end;
  PatchRun runs[kMaxPatchColumns];
  int run_count, count;
  int last_columns;  // of the last panel
  int zero_until;    // columns up to here, behind the last piece, are zero already

  void emit_zeros(int row, int from, int to) {
    for (int column = from > zero_until ? from : zero_until; column < to; column += kLanes)
      pieces[count++] = {0, row + column, 0}, zero_until = column + kLanes;
  }

  // Appends a tap; its row of each panel begins at `row`.
  void append(const PatchMap& map, int64_t tap, int row) {
    const int64_t line = tap / map.w.taps, s = tap % map.w.taps;
    const int64_t t = map.d.taps == 1 ? 0 : line / map.h.taps, r = line - t * map.h.taps;
    const int64_t deep = map.d.first + t * map.d.delta, down = map.h.first + r * map.h.delta;
    const int64_t right = map.w.first + s * map.w.delta;
    for (int i = 0; i < run_count; ++i) {
      const PatchRun& run = runs[i];
      const int64_t z = run.plane * map.d.step + deep, y = run.row * map.h.step + down;
      const int64_t x = run.column * map.w.step + right;
      const int target = row + run.panel;
      int low = run.length, high = run.length;  // the columns that meet a pixel
      if (z >= 0 && z < map.d.size && y >= 0 && y < map.h.size) {
        low = static_cast<int>(least(run.length, most(0, ceil_divide(-x, map.w.step))));
        high = static_cast<int>(most(low, least(run.length, ceil_divide(map.w.size - x, map.w.step))));
      }
      if (run.first == 0) zero_until = 0;
      emit_zeros(target, run.first, run.first + low);
      const int64_t source = run.image * map.sn + z * map.sd + y * map.sh + x;
      for (int t = low; t < high; t += kLanes) {
        const int length = high - t < kLanes ? high - t : kLanes;
        pieces[count++] = {source + t * map.w.step, target + run.first + t, length};
        zero_until = run.first + t + kLanes;
      }
      emit_zeros(target, run.first + high, run.first + run.length);
    }
    emit_zeros(row + runs[run_count - 1].panel, last_columns, (last_columns + kLanes - 1) / kLanes * kLanes);
  }

  // As many taps as there is room for, from `tap` on.
  void build(const PatchMap& map, int64_t tap, int64_t to_step) {
    tap_begin = tap_end = tap;
    count = 0;
    while (tap_end < map.taps() && tap_end - tap_begin < kMaxProgramTaps && count + kMaxPatchColumns < kMaxPieces) {
      const int64_t index = tap_end - tap_begin;
      begin[index] = count;
      append(map, tap_end, static_cast<int>(index * to_step));
      begin[index + 1] = count;
      ++tap_end;
    }
  }
};

// A vector may run over the end of its row of the panel, into the row that is written next.
template <int kStep>
CNNKERN_INLINE void replay(const Piece* piece, const Piece* end, const float* x, int64_t step, float* to) {
  for (; piece != end; ++piece) {
    const float* from = x + piece->source;
    float* target = to + piece->target;
    const int count = piece->count;
    if constexpr (kStep == 1) {
      store(target, kLanes < 16 && count == kLanes ? load(from) : load_n(from, count));
    } else if constexpr (kStep == 2) {
      const int span = count == 0 ? 0 : 2 * count - 1;
      const Vec first = load_n(from, span < kLanes ? span : kLanes);
      store(target, even(first, span > kLanes ? load_n(from + kLanes, span - kLanes) : zero()));
    } else {
      store(target, zero());
      for (int i = 0; i < count; ++i) target[i] = from[i * step];
    }
  }
}

// Panels of columns side by side in memory: element (k, column) of panel i is at [i * panel_step + k * row_step +
// column].
struct PatchPanels {
  int columns, panel_step, row_step;  // columns of each panel but the last
};

// Rows [k, k_end) of the columns [q, q + columns), at most kMaxPatchColumns of them: all panels together, so that the
// input is read in runs as long as possible. In the last panel the columns up to the next multiple of a vector become
// zero, and up to kLanes - 1 elements behind the last row of a panel are overwritten.
static void pack_patches(const PatchMap& map, const float* x, int64_t q, int columns, int64_t k, int64_t k_end,
                         float* to, const PatchPanels& panels) {
  PatchProgram program;
  program.run_count = 0;
  for (int first = 0; first < columns; first += panels.columns) {
    program.last_columns = columns - first < panels.columns ? columns - first : panels.columns;
    each_run(q + first, program.last_columns, map.rows(), map.w.count,
             [&](int64_t image, int64_t row, int64_t column, int begin, int length) CNNKERN_LAMBDA {
               const int64_t plane = map.d.count == 1 ? 0 : row / map.h.count;
               program.runs[program.run_count++] = {image,
                                                    plane,
                                                    row - plane * map.h.count,
                                                    column,
                                                    begin,
                                                    length,
                                                    first / panels.columns * panels.panel_step};
             });
  }
  const int64_t to_step = panels.row_step;
  program.build(map, 0, to_step);
  const int64_t taps = map.taps();
  while (k < k_end) {
    const int64_t channel = k / taps, tap = k % taps;
    if (tap < program.tap_begin || tap >= program.tap_end) program.build(map, tap, to_step);
    const int64_t end = least(program.tap_end, tap + (k_end - k));
    const int64_t first = tap - program.tap_begin, last = end - program.tap_begin;
    const Piece* pieces = program.pieces + program.begin[first];
    const Piece* pieces_end = program.pieces + program.begin[last];
    const float* source = x + channel * map.sc;
    float* target = to - first * to_step;
    if (map.w.step == 1)
      replay<1>(pieces, pieces_end, source, 1, target);
    else if (map.w.step == 2)
      replay<2>(pieces, pieces_end, source, 2, target);
    else
      replay<0>(pieces, pieces_end, source, map.w.step, target);
    to += (end - tap) * to_step;
    k += end - tap;
  }
}

// Pulls input into the second-level cache, a part at each of some moments between other work.
struct Prefetch {
  const char* begin;  // in the first channel
  int64_t channel_lines, channel_step, lines, done, part;

  void next() {
    for (const int64_t end = least(lines, done + part); done < end; ++done)
      __builtin_prefetch(begin + done / channel_lines * channel_step + done % channel_lines * 64, 0, 2);
  }
};

// The pixels that columns [q, q_end) meet and columns before q do not, in `moments` parts: those behind the last pixel that
// column q - 1 meets, up to the last one of column q_end - 1, in the image of the latter.
CNNKERN_INLINE Prefetch prefetch_columns(const PatchMap& m, const float* x, int64_t channels, int64_t q, int64_t q_end,
                                         int64_t moments) {
  if (q >= q_end) return Prefetch{};
  const auto behind = [&](int64_t pixel) CNNKERN_LAMBDA {
    const auto last_met = [](const PatchAxis& axis, int64_t index) CNNKERN_LAMBDA {
      return index * axis.step + axis.first + (axis.delta > 0 ? axis.taps - 1 : 0) * axis.delta;
    };
    const int64_t line = pixel / m.w.count, index = m.d.count == 1 ? 0 : line / m.h.count;
    const int64_t plane = last_met(m.d, index), row = last_met(m.h, line - index * m.h.count);
    const int64_t column = last_met(m.w, pixel % m.w.count);
    if (plane < 0 || plane >= m.d.size) return plane < 0 ? 0 : m.d.size * m.sd;
    if (row < 0 || row >= m.h.size) return plane * m.sd + (row < 0 ? 0 : m.h.size * m.sh);
    return plane * m.sd + row * m.sh + most(0, least(column + 1, m.w.size));
  };
  const int64_t pixels = m.pixels(), image = (q_end - 1) / pixels, end = behind((q_end - 1) % pixels);
  const int64_t begin = q / pixels == image && q % pixels > 0 ? behind(q % pixels - 1) : 0;
  Prefetch ahead{};
  ahead.begin = reinterpret_cast<const char*>(x + image * m.sn + begin);
  ahead.channel_lines = most(0, end - begin + 15) / 16;
  ahead.channel_step = m.sc * 4;
  ahead.lines = channels * ahead.channel_lines;
  ahead.part = ahead.lines / moments + 1;
  return ahead;
}

}  // namespace
}  // namespace CNNKERN_NAMESPACE
