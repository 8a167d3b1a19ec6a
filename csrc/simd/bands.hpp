// SPDX-License-Identifier: BSD-3-Clause
// A chain of convolutions through bands of rows that stay in L2: the rows of the head's map that a band of the result
// needs, then the middle's rows, both in scratch memory, then the tail. Rows that two neighbouring bands share are moved,
// not computed again. Head and middle walk panel by panel, so that the middle finds what the head has just written in L1.
// Every convolution uses the register tiles of its own kernel: the bits are those of separate steps.
//
// A unit is a pair of output rows; a range of them is walked in bands of as many rows as L2 holds.
#pragma once
#include "simd/conv_forward.hpp"
#include "simd/input_rows.hpp"
#include "simd/window_tile.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

// Rows of the head's and of the middle's map together: half of L2, the other half is for weights and what streams by.
constexpr int64_t kChainBytes = 512 << 10;
constexpr int64_t kMostChainRows = 8;

// Stands at the start of the table, then the offsets of the head's and the tail's tile. Sizes in floats.
struct Bands {
  Sweep head, tail;
  InputRows input;         // of a head on a plain map
  int64_t rows, pairs;     // output rows of a band, units of an image
  int64_t held;            // rows of the head's map that a band reads
  int64_t e_row, e_block;  // the head's rows, with their border
  int64_t d_block;         // the middle's rows, without
  int64_t e_size, d_size, input_size;
  int64_t middle_packed;
  bool flat;  // a band of the result (and of the residual) is one long row
};

CNNKERN_INLINE int64_t odd_lines(int64_t floats) { return floats / kBlock % 2 ? floats : floats + kBlock; }
CNNKERN_INLINE bool has(const Conv& c) { return c.w.present != 0; }

CNNKERN_INLINE void plan_rows(const ConvChain& chain, int64_t rows, Bands& b) {
  const Conv& m = chain.middle;
  b.rows = rows;
  b.held = (rows - 1) * m.stride[1] + m.w.h;
  b.e_row = most((m.y.w - 1) * m.stride[2] + m.w.w, m.padding[2] + m.x.w) * kBlock;
  b.e_block = odd_lines(b.held * b.e_row);
  b.d_block = odd_lines(rows * m.y.w * kBlock);
  b.e_size = has(chain.head) ? blocks_of(m.x.c) * b.e_block : 0;
  b.d_size = has(chain.tail) ? blocks_of(m.y.c) * b.d_block : 0;
}

CNNKERN_INLINE bool is_one_row(const Tensor& t) { return !t.present || t.sh == t.w * kBlock; }

CNNKERN_INLINE Bands make_bands(const ConvChain& chain) {
  Bands b{};
  const Conv &h = chain.head, &m = chain.middle, &t = chain.tail;
  const int64_t one[3] = {1, 1, 1};
  const int64_t wanted = (least(kMostChainRows, m.y.h) + 1) / 2 * 2;
  plan_rows(chain, wanted, b);
  while (b.rows > 2 && (b.e_size + b.d_size) * static_cast<int64_t>(sizeof(float)) > kChainBytes)
    plan_rows(chain, b.rows - 2, b);
  b.pairs = (m.y.h + 1) / 2;
  if (has(h)) {
    b.head.n = h.y.n, b.head.d = 1, b.head.h = h.y.h, b.head.w = h.y.w;
    if (h.x.layout == Layout::kPlain) {
      b.input = input_rows(h, b.held);
      b.input_size = copied_bytes(h, b.input) / static_cast<int64_t>(sizeof(float));
      read_input_rows(h, b.input, b.head);
    } else {
      b.head.groups = b.head.taps = 1;
      b.head.lanes = h.w.n, b.head.reduction = h.w.c;
      b.head.x = sweep_map(h.x, h.w.c, one);
      complete_sweep(b.head);
    }
    b.head.y = {0, 0, b.e_block, 0, 0, b.e_row, kBlock};
  }
  b.middle_packed = b.head.packed_size;
  if (has(t)) {
    b.tail = forward_sweep(t);
    b.tail.x = {0, 0, b.d_block, 0, 0, t.x.w * kBlock, kBlock};
    complete_sweep(b.tail);
    b.tail.offsets = b.head.steps;
    b.tail.packed = b.middle_packed + blocks_of(m.y.c) * taps_of(m) * kBlock;
    b.flat = is_one_row(t.y) && is_one_row(t.residual);
  }
  return b;
}

// Whether a middle is one that the tiles can do, and a tail, if any; the heads are the kernels' own business.
CNNKERN_INLINE bool bands_serve(const ConvChain& chain) {
  const Conv &m = chain.middle, &t = chain.tail;
  bool middle = false;
  for (const int taps : {3, 5})
    for (const int stride : {1, 2}) middle |= window_serves(m, taps, stride, 1);
  if (!middle) return false;
  return !has(t) || (taps_of(t) == 1 && t.stride[1] == 1 && t.stride[2] == 1 && !t.padding[1] && !t.padding[2] &&
                     t.groups == 1 && t.y.h == t.x.h && t.y.w == t.x.w && forward_serves(t));
}

CNNKERN_INLINE float bands_ns(const ConvChain& chain, const Bands& b, const Machine& machine) {
  const Conv &h = chain.head, &m = chain.middle, &t = chain.tail;
  const double cache = machine.l2_bytes_per_ns * machine.threads;
  double ns = window_work_ns(m, machine), bytes = map_bytes(has(t) ? t.y : m.y) + map_bytes(t.residual);
  if (has(h)) {
    // Where a thread begins, it computes the rows that a band shares with the one before it.
    const double begins = m.y.n < machine.threads ? machine.threads - static_cast<double>(m.y.n) : 0;
    const double twice = begins * static_cast<double>(most(0, m.w.h - m.stride[1]));
    ns += (sweep_ns(b.head, machine) + map_bytes(h.y) / cache) * (1 + twice / static_cast<double>(h.y.n * h.y.h));
  }
  if (has(t)) ns += sweep_ns(b.tail, machine) + map_bytes(t.x) / cache;
  if (has(h) && h.x.layout == Layout::kPlain)
    bytes += 4.0 * static_cast<double>(h.x.n * h.x.c) * static_cast<double>(h.x.h * h.x.w);
  else
    bytes += map_bytes(has(h) ? h.x : m.x);
  // Few units are not shared evenly.
  const int64_t units = m.y.n * b.pairs, turns = (units + machine.threads - 1) / machine.threads;
  ns *= static_cast<double>(turns * machine.threads) / static_cast<double>(units);
  return static_cast<float>(ns + 0.5 * traffic_ns(bytes, machine) + 1000);
}

CNNKERN_INLINE void bands_work(const ConvChain& chain, const Bands& b, Work* work) {
  *work = {};
  work->phases = 1;
  work->units[0] = chain.middle.y.n * b.pairs;
  const int64_t middle = blocks_of(chain.middle.y.c);
  work->pack_units = b.head.blocks + middle + b.tail.blocks;
  work->packed_bytes = (b.head.packed_size + middle * taps_of(chain.middle) * kBlock + b.tail.packed_size) * kFloat;
  work->scratch_bytes = (b.e_size + b.d_size + b.input_size) * kFloat;
  work->table_bytes =
      static_cast<int64_t>(sizeof(Bands)) + (b.head.steps + b.tail.steps) * static_cast<int64_t>(sizeof(int32_t));
}

CNNKERN_INLINE void bands_table(const ConvChain& chain, const Bands& b, void* table) {
  *static_cast<Bands*>(table) = b;
  int32_t* const offsets = reinterpret_cast<int32_t*>(static_cast<Bands*>(table) + 1);
  const auto no_tap = [](int64_t) { return int64_t{0}; };
  if (has(chain.head) && chain.head.x.layout == Layout::kPlain)
    fill_row_offsets(chain.head, b.input, offsets);
  else if (has(chain.head))
    fill_offsets(b.head, no_tap, offsets);
  if (has(chain.tail)) fill_offsets(b.tail, no_tap, offsets + b.tail.offsets);
}

// Units: the blocks of the head's weights, of the middle's, of the tail's.
CNNKERN_INLINE void bands_pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight,
                               float* packed) {
  const ConvChain& chain = prepared.op.conv_chain;
  const Bands& b = *static_cast<const Bands*>(prepared.table);
  const int64_t head = b.head.blocks, middle = blocks_of(chain.middle.y.c);
  const float* const middle_weight = weight + b.head.lanes * b.head.reduction * b.head.taps;
  const float* const tail_weight = middle_weight + chain.middle.w.n * taps_of(chain.middle);
  for (int64_t unit = first; unit < last; ++unit) {
    if (unit < head && chain.head.x.layout == Layout::kPlain)
      pack_row_weights(b.head, unit, unit + 1, weight, packed);
    else if (unit < head)
      pack_lanes(b.head, unit, weight, packed);
    else if (unit < head + middle)
      window_pack(chain.middle, unit - head, unit - head + 1, middle_weight, packed + b.middle_packed);
    else
      pack_lanes(b.tail, unit - head - middle, tail_weight, packed);
  }
}

using WindowRows = void (*)(WindowArgs, int64_t width);
template <int kTaps, int kStride, int kRows>
void window_rows(WindowArgs a, int64_t width) {
  window_row<kTaps, kStride, 1, kRows>(a, width);
}
// The tiles of a pair of rows and of a single one.
struct WindowPair { WindowRows two, one; };
CNNKERN_INLINE WindowPair window_pair(const Conv& c) {
  if (c.w.w == 3) {
    if (c.stride[1] == 1) return {window_rows<3, 1, 2>, window_rows<3, 1, 1>};
    return {window_rows<3, 2, 2>, window_rows<3, 2, 1>};
  }
  if (c.stride[1] == 1) return {window_rows<5, 1, 2>, window_rows<5, 1, 1>};
  return {window_rows<5, 2, 2>, window_rows<5, 2, 1>};
}

// Rows of blocks somewhere: a band of a map or of scratch memory.
struct Rows {
  float* at;
  int64_t row, block;
};

CNNKERN_INLINE void clear_blocks(float* to, int64_t blocks) {
  for (int64_t i = 0; i < blocks; ++i) block_store(to + i * kBlock, block_zero());
}
CNNKERN_INLINE void move_blocks(const float* from, float* to, int64_t blocks) {
  for (int64_t i = 0; i < blocks; ++i) block_store(to + i * kBlock, block_load(from + i * kBlock));
}

// One run over a range of units. kStep: input channels of a step of the head's tile.
template <int kStep>
class BandWalk {
 public:
  BandWalk(const Prepared& prepared, const Context& context)
      : chain_(prepared.op.conv_chain),
        bands_(*static_cast<const Bands*>(prepared.table)),
        context_(context),
        pair_(window_pair(chain_.middle)),
        e_(static_cast<float*>(context.scratch)),
        d_(e_ + bands_.e_size),
        input_(d_ + bands_.d_size) {
    const int32_t* const offsets = reinterpret_cast<const int32_t*>(&bands_ + 1);
    head_ = tile_args(bands_.head, offsets, chain_.head.epilogue);
    tail_ = tile_args(bands_.tail, offsets, chain_.tail.epilogue);
    const float* const bias = argument(ConvChain::kBias);
    const float* const packed = static_cast<const float*>(context.packed);
    head_pointers_ = {nullptr, packed, bias, nullptr, nullptr};
    bias_ = bias + (has(chain_.head) ? chain_.head.w.n : 0);
    packed_ = packed + bands_.middle_packed;
    tail_pointers_ = {nullptr, packed, bias_ + chain_.middle.w.n, nullptr, nullptr};
    if (bands_.e_size) clear_sides();
  }

  void run(int64_t first, int64_t last) {
    while (first < last) {
      const int64_t n = first / bands_.pairs, pair = first % bands_.pairs;
      const int64_t count = least(bands_.rows / 2, least(last - first, bands_.pairs - pair));
      band(n, 2 * pair, least(2 * count, chain_.middle.y.h - 2 * pair));
      first += count;
    }
  }

 private:
  float* argument(int i) const { return static_cast<float*>(context_.args[i]); }

  // What stands left and right of the head's rows is never written again.
  void clear_sides() {
    const Conv& m = chain_.middle;
    const int64_t left = m.padding[2], right = bands_.e_row / kBlock - left - m.x.w;
    for (int64_t block = 0; block < blocks_of(m.x.c); ++block)
      for (int64_t row = 0; row < bands_.held; ++row) {
        float* const at = e_ + block * bands_.e_block + row * bands_.e_row;
        clear_blocks(at, left);
        clear_blocks(at + (left + m.x.w) * kBlock, right);
      }
  }

  // Output rows [y, y + rows) of image n.
  void band(int64_t n, int64_t y, int64_t rows) {
    const Conv &h = chain_.head, &m = chain_.middle, &t = chain_.tail;
    const int64_t top = y * m.stride[1] - m.padding[1], held = (rows - 1) * m.stride[1] + m.w.h;
    Rows to = {d_, m.y.w * kBlock, bands_.d_block};
    if (!has(t)) to = {at_block(m.y, argument(ConvChain::kY), n, 0, 0, y, 0), m.y.sh, m.y.sc};
    if (has(h)) {
      // Of the rows that the band reads the first ones may stand in the last band's already.
      const bool next = n == image_ && top >= top_ && top < top_ + held_;
      const int64_t kept = next ? top_ + held_ - top : 0, moved = next ? top - top_ : 0;
      const int64_t first = most(top + kept, 0), last = least(top + held, h.y.h);
      if (kStep == 1 && first < last)
        copy_input_rows(h, bands_.input, argument(ConvChain::kX), n, 0, first, last - first, input_);
      for (int64_t panel = 0; panel < bands_.head.panels; ++panel) {
        const int64_t begin = panel * kTileBlocks, end = least(begin + kTileBlocks, bands_.head.blocks);
        for (int64_t block = begin; block < end; ++block) move_rows(block, moved, kept);
        for (int64_t row = kept; row < held; ++row) head_row(n, panel, begin, end, top, row, first);
        middle_rows({e_, bands_.e_row, bands_.e_block}, to, rows, begin, end);
      }
      image_ = n, top_ = top, held_ = held;
    } else {
      float* const x = at_block(m.x, argument(ConvChain::kX), n, 0, 0, top, -m.padding[2]);
      middle_rows({x, m.x.sh, m.x.sc}, to, rows, 0, blocks_of(m.y.c));
    }
    if (has(t)) tail_rows(n, y, rows);
  }

  void move_rows(int64_t block, int64_t from, int64_t count) {
    if (from == 0) return;
    float* const rows = e_ + block * bands_.e_block;
    move_blocks(rows + from * bands_.e_row, rows, count * bands_.e_row / kBlock);
  }

  // Row `row` of the band's input, which is row top + row of the head's map: one panel of it, or zeros outside.
  // `copied` is the first row whose input is in input_.
  void head_row(int64_t n, int64_t panel, int64_t begin, int64_t end, int64_t top, int64_t row, int64_t copied) {
    const Conv& h = chain_.head;
    float* const to = e_ + row * bands_.e_row + chain_.middle.padding[2] * kBlock;
    const int64_t y = top + row;
    if (y < 0 || y >= h.y.h) {
      for (int64_t block = begin; block < end; ++block) clear_blocks(to + block * bands_.e_block, h.y.w);
      return;
    }
    const Sweep& s = bands_.head;
    const float* const from =
        kStep == 1 ? input_ + (y - copied) * s.x.h : argument(ConvChain::kX) + n * s.x.n + y * s.x.h;
    for (int64_t tile = 0; tile < s.row_tiles; ++tile) {
      const Span span = span_of(s.w, s.row_tiles, tile);
      head_.x = from + span.start * s.x.w;
      head_.y = to + span.start * kBlock;
      run_panels<kStep>(s, head_, head_pointers_, 0, panel, panel + 1, span.size);
    }
  }

  void middle_rows(const Rows& from, const Rows& to, int64_t rows, int64_t begin, int64_t end) {
    const Conv& m = chain_.middle;
    WindowArgs a{};
    a.x_row = from.row;
    a.y_row = to.row;
    a.epilogue = m.epilogue;
    for (int64_t block = begin; block < end; ++block)
      for (int v = 0; v < kVecs; ++v) {
        a.lanes = lanes_of(static_cast<int>(least(kBlock, m.y.c - block * kBlock)), v);
        a.w = packed_ + block * taps_of(m) * kBlock + v * kLanes;
        a.bias = load_n(bias_ + block * kBlock + v * kLanes, a.lanes);
        for (int64_t row = 0; row < rows; row += 2) {
          a.x = from.at + block * from.block + row * m.stride[1] * from.row + v * kLanes;
          a.y = to.at + block * to.block + row * to.row + v * kLanes;
          (rows - row > 1 ? pair_.two : pair_.one)(a, m.y.w);
        }
      }
  }

  void tail_rows(int64_t n, int64_t y, int64_t rows) {
    const Conv& t = chain_.tail;
    const float* const residual = argument(ConvChain::kResidual);
    const int64_t count = bands_.flat ? 1 : rows, pixels = bands_.flat ? rows * t.y.w : t.y.w;
    for (int64_t row = 0; row < count; ++row) {
      float* const to = at_block(t.y, argument(ConvChain::kY), n, 0, 0, y + row, 0);
      const float* const other = residual ? at_block(t.residual, residual, n, 0, 0, y + row, 0) : nullptr;
      const int64_t tiles = tiles_of(pixels);
      for (int64_t tile = 0; tile < tiles; ++tile) {
        const Span span = span_of(pixels, tiles, tile);
        tail_.x = d_ + (row * t.y.w + span.start) * kBlock;
        tail_.y = to + span.start * kBlock;
        tail_.residual = other ? other + span.start * kBlock : nullptr;
        run_panels<kStepChannels>(bands_.tail, tail_, tail_pointers_, 0, 0, bands_.tail.panels, span.size);
      }
    }
  }

  const ConvChain& chain_;
  const Bands& bands_;
  const Context& context_;
  const WindowPair pair_;
  float *const e_, *const d_, *const input_;
  TileArgs head_, tail_;
  SweepPointers head_pointers_, tail_pointers_;
  const float *bias_, *packed_;              // of the middle
  int64_t image_ = -1, top_ = 0, held_ = 0;  // what the head's rows are
};

}  // namespace
}  // namespace CNNKERN_NAMESPACE
