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
  PatchAxis h, w;
  int64_t sn, sc, sh;  // strides of the input: image, channel, row
  int64_t taps() const { return h.taps * w.taps; }
  int64_t pixels() const { return h.count * w.count; }
};

// Where one tap meets every pixel once (1x1 kernels of stride 1), an image is a single row: the longest runs there are.
CNNKERN_INLINE bool flatten(PatchMap& map) {
  const PatchAxis &h = map.h, &w = map.w;
  const bool every = h.taps == 1 && w.taps == 1 && h.step == 1 && w.step == 1 && h.first == 0 && w.first == 0;
  if (!every || h.size != h.count || w.size != w.count || map.sh != w.size) return false;
  const int64_t pixels = map.pixels();
  map = {{1, 1, 1, 1, 0, 1}, {pixels, pixels, 1, 1, 0, 1}, map.sn, map.sc, pixels};
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
  int64_t image, row, column;
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

  // Appends tap (r, s); its row of each panel begins at `row`.
  void append(const PatchMap& map, int64_t r, int64_t s, int row) {
    const int64_t down = map.h.first + r * map.h.delta, right = map.w.first + s * map.w.delta;
    for (int i = 0; i < run_count; ++i) {
      const PatchRun& run = runs[i];
      const int64_t y = run.row * map.h.step + down, x = run.column * map.w.step + right;
      const int target = row + run.panel;
      int low = run.length, high = run.length;  // the columns that meet a pixel
      if (y >= 0 && y < map.h.size) {
        low = static_cast<int>(least(run.length, most(0, ceil_divide(-x, map.w.step))));
        high = static_cast<int>(most(low, least(run.length, ceil_divide(map.w.size - x, map.w.step))));
      }
      if (run.first == 0) zero_until = 0;
      emit_zeros(target, run.first, run.first + low);
      const int64_t source = run.image * map.sn + y * map.sh + x;
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
      append(map, tap_end / map.w.taps, tap_end % map.w.taps, static_cast<int>(index * to_step));
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
    each_run(q + first, program.last_columns, map.h.count, map.w.count,
             [&](int64_t image, int64_t row, int64_t column, int begin, int length) CNNKERN_LAMBDA {
               program.runs[program.run_count++] = {image, row,    column,
                                                    begin, length, first / panels.columns * panels.panel_step};
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
    const int64_t last_h = m.h.delta > 0 ? m.h.taps - 1 : 0, last_w = m.w.delta > 0 ? m.w.taps - 1 : 0;
    const int64_t row = pixel / m.w.count * m.h.step + m.h.first + last_h * m.h.delta;
    const int64_t column = pixel % m.w.count * m.w.step + m.w.first + last_w * m.w.delta;
    if (row < 0 || row >= m.h.size) return row < 0 ? 0 : m.h.size * m.sh;
    return row * m.sh + most(0, least(column + 1, m.w.size));
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
