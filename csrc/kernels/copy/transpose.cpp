// SPDX-License-Identifier: BSD-3-Clause
// The reorder between the plain and the blocked layout, with offsets, cropping and filling as any copy. Squares of
// kLanes channels x kLanes pixels are transposed in registers (64 shuffles for 16 x 16). A plain map is one run of
// pixels, rows and all, so that maps of width 7 or 14 waste nothing: only the blocked side, which has borders, needs an
// address for each pixel. Limited by memory. Measured, one core (Zen 5, AVX-512, from the last cache): 100 to 110
// bytes/ns to and from 64x56x56, 60 to 80 for 512x7x7 (AVX2: 85, 65; scalar: 60, 40).
#include "simd/transpose.hpp"

#include "simd/region.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kUnitPixels = 512;  // of one block of channels: 32 KB
// Plain rows whose distance is a multiple of 4 KB share the sets of the first cache: 16 of them, written a vector at a
// time, push each other out half full (measured: 1.5 to 4 times the time). They are put together on the stack first.
constexpr int64_t kAliasFloats = 1024;
constexpr int64_t kStagePixels = 128, kStageStride = kStagePixels + 16;

// How the pixels of the region divide: into runs that are contiguous on the plain side, and these into units.
struct Runs {
  int64_t count, length;               // runs per plane of the region, pixels of each
  int64_t runs_per_unit, unit_pixels;  // one of them is the limit
  int64_t groups;                      // units of one plane
  int64_t first_block, blocks;         // blocks of the blocked side that the region touches
};

Runs runs_of(const Copy& op, const Region& region) {
  const bool to_blocked = op.y.layout == Layout::kBlocked;
  const Tensor& plain = to_blocked ? op.x : op.y;
  const bool rows_join = region.size[4] == plain.w && plain.sh == plain.w;
  const bool planes_join = region.size[2] == 1 || (region.size[3] == plain.h && plain.sd == plain.sh * plain.h);
  Runs runs;
  const int64_t rows = region.size[2] * region.size[3];
  runs.count = rows_join && planes_join ? 1 : rows;
  runs.length = region.size[4] * (rows / runs.count);
  runs.runs_per_unit = most(1, kUnitPixels / runs.length);
  runs.unit_pixels = runs.count == 1 ? kUnitPixels : runs.length;
  runs.groups = runs.count == 1 ? (runs.length + kUnitPixels - 1) / kUnitPixels
                                : (runs.count + runs.runs_per_unit - 1) / runs.runs_per_unit;
  const int64_t channel = to_blocked ? region.first[1] : region.source[1];
  runs.first_block = channel / kBlock;
  runs.blocks = blocks_of(channel + region.size[1]) - runs.first_block;
  return runs;
}

// Walks over the pixels of the region on the blocked side.
template <class Element>
struct Walk {
  Element* pixel;
  int64_t w, h;                  // how far in the row and in the plane
  int64_t width, height;         // of the region
  int64_t next_row, next_plane;  // from behind the last pixel to the first of the next
};

template <class Element>
CNNKERN_INLINE Walk<Element> walk_at(const Tensor& t, Element* origin, const Region& region, int64_t position) {
  Walk<Element> walk;
  walk.width = region.size[4], walk.height = region.size[3];
  walk.w = position % walk.width;
  walk.h = position / walk.width % walk.height;
  walk.pixel = origin + position / (walk.width * walk.height) * t.sd + walk.h * t.sh + walk.w * kBlock;
  walk.next_row = t.sh - walk.width * kBlock;
  walk.next_plane = t.sd - walk.height * t.sh;
  return walk;
}

// Addresses of the next `count` pixels; the others repeat the last one, so that they may be read.
template <class Element>
CNNKERN_INLINE void take(Walk<Element>& walk, Element* (&pixels)[kLanes], int64_t count) {
  if (walk.w + kLanes < walk.width) {
    unroll<kLanes>([&](auto j) CNNKERN_LAMBDA { pixels[j] = walk.pixel + j * kBlock; });
    walk.pixel += kLanes * kBlock;
    walk.w += kLanes;
    return;
  }
  Element* last = walk.pixel;
  for (int64_t j = 0; j < kLanes; ++j) {
    if (j < count) last = walk.pixel;
    pixels[j] = last;
    if (j >= count) continue;
    walk.pixel += kBlock;
    if (++walk.w < walk.width) continue;
    walk.w = 0;
    walk.pixel += walk.next_row;
    if (++walk.h < walk.height) continue;
    walk.h = 0;
    walk.pixel += walk.next_plane;
  }
}

// The channels of one block that move, and where they lie.
struct Channels {
  int lane;       // first lane of the block
  int count;      // that move
  int stored;     // lanes written from `lane` on: with zeros up to the end of the block where y ends
  int64_t plain;  // first channel on the plain side
};

// Rows of kLanes channels x pixels -> pixels of the block.
CNNKERN_INLINE void to_blocked(const float* x, int64_t stride, const Channels& channels, int64_t pixels,
                               float* const (&target)[kLanes]) {
  for (int sub = 0; sub < channels.stored; sub += kLanes) {
    Vec r[kLanes];
    const int left = channels.count - sub, lanes = channels.stored - sub;
    if (left >= kLanes && pixels >= kLanes) {
      unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { r[i] = load(x + (sub + i) * stride); });
    } else {
      const int count = static_cast<int>(least(pixels, kLanes));
      unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { r[i] = i < left ? load_n(x + (sub + i) * stride, count) : zero(); });
    }
    transpose(r);
    float* const* to = target;
    const int offset = channels.lane + sub;
    if (lanes >= kLanes && pixels >= kLanes) {
      unroll<kLanes>([&](auto j) CNNKERN_LAMBDA { store(to[j] + offset, r[j]); });
    } else {
      unroll<kLanes>([&](auto j) CNNKERN_LAMBDA {
        if (j < pixels) store_n(to[j] + offset, r[j], lanes < kLanes ? lanes : kLanes);
      });
    }
  }
}

// Pixels of the block -> rows of kLanes channels x pixels.
CNNKERN_INLINE void to_plain(const float* const (&source)[kLanes], const Channels& channels, int64_t pixels, float* y,
                             int64_t stride) {
  for (int sub = 0; sub < channels.count; sub += kLanes) {
    Vec r[kLanes];
    const int left = channels.count - sub, offset = channels.lane + sub;
    if (left >= kLanes) {
      unroll<kLanes>([&](auto j) CNNKERN_LAMBDA { r[j] = load(source[j] + offset); });
    } else {
      unroll<kLanes>([&](auto j) CNNKERN_LAMBDA { r[j] = load_n(source[j] + offset, left); });
    }
    transpose(r);
    if (left >= kLanes && pixels >= kLanes) {
      unroll<kLanes>([&](auto i) CNNKERN_LAMBDA { store(y + (sub + i) * stride, r[i]); });
    } else {
      unroll<kLanes>([&](auto i) CNNKERN_LAMBDA {
        if (i < left) store_n(y + (sub + i) * stride, r[i], pixels < kLanes ? static_cast<int>(pixels) : kLanes);
      });
    }
  }
}

// The staged rows of all channels -> their places in y.
CNNKERN_INLINE void unstage(const float* stage, const Channels& channels, int64_t pixels, float* y, int64_t stride) {
  for (int c = 0; c < channels.count; ++c) {
    const float* from = stage + c * kStageStride;
    float* to = y + c * stride;
    int64_t i = 0;
    for (; i + kLanes <= pixels; i += kLanes) store(to + i, load(from + i));
    if (i < pixels) store_n(to + i, load_n(from + i, static_cast<int>(pixels - i)), static_cast<int>(pixels - i));
  }
}

struct Unit { int64_t n, block, first_run, last_run, first_pixel, last_pixel; };

CNNKERN_INLINE Unit unit_at(const Runs& runs, int64_t unit) {
  const int64_t group = unit % runs.groups;
  Unit u;
  u.block = runs.first_block + unit / runs.groups % runs.blocks;
  u.n = unit / (runs.groups * runs.blocks);
  u.first_run = runs.count == 1 ? 0 : group * runs.runs_per_unit;
  u.last_run = runs.count == 1 ? 1 : least(runs.count, u.first_run + runs.runs_per_unit);
  u.first_pixel = runs.count == 1 ? group * runs.unit_pixels : 0;
  u.last_pixel = least(runs.length, u.first_pixel + runs.unit_pixels);
  return u;
}

// The channels of the region inside block `block` of a blocked tensor whose part of the region starts at
// `blocked_first`.
CNNKERN_INLINE Channels channels_of(int64_t block, int64_t blocked_first, int64_t plain_first, int64_t size,
                                    int64_t end) {
  const int64_t first = most(block * kBlock, blocked_first);
  const int64_t last = least((block + 1) * kBlock, blocked_first + size);
  Channels channels;
  channels.lane = static_cast<int>(first - block * kBlock);
  channels.count = static_cast<int>(last - first);
  channels.stored = last == end ? kBlock - channels.lane : channels.count;
  channels.plain = plain_first + first - blocked_first;
  return channels;
}

void run_to_blocked(const Copy& op, const Region& region, int64_t first, int64_t last, const float* x, float* y) {
  const Runs runs = runs_of(op, region);
  for (int64_t i = first; i < last; ++i) {
    const Unit unit = unit_at(runs, i);
    const Channels channels = channels_of(unit.block, region.first[1], region.source[1], region.size[1], op.y.c);
    float* origin =
        at_block(op.y, y, region.first[0] + unit.n, unit.block, region.first[2], region.first[3], region.first[4]);
    for (int64_t run = unit.first_run; run < unit.last_run; ++run) {
      const int64_t d = runs.count == 1 ? 0 : run / region.size[3], h = runs.count == 1 ? 0 : run % region.size[3];
      const float* from = at(op.x, x, region.source[0] + unit.n, channels.plain, region.source[2] + d,
                             region.source[3] + h, region.source[4]);
      Walk<float> walk = walk_at(op.y, origin, region, run * runs.length + unit.first_pixel);
      for (int64_t p = unit.first_pixel; p < unit.last_pixel; p += kLanes) {
        float* pixels[kLanes];
        take(walk, pixels, unit.last_pixel - p);
        to_blocked(from + p, op.x.sc, channels, unit.last_pixel - p, pixels);
      }
    }
  }
}

void run_to_plain(const Copy& op, const Region& region, int64_t first, int64_t last, const float* x, float* y) {
  const Runs runs = runs_of(op, region);
  for (int64_t i = first; i < last; ++i) {
    const Unit unit = unit_at(runs, i);
    const Channels channels = channels_of(unit.block, region.source[1], region.first[1], region.size[1], -1);
    const float* origin =
        at_block(op.x, x, region.source[0] + unit.n, unit.block, region.source[2], region.source[3], region.source[4]);
    for (int64_t run = unit.first_run; run < unit.last_run; ++run) {
      const int64_t d = runs.count == 1 ? 0 : run / region.size[3], h = runs.count == 1 ? 0 : run % region.size[3];
      float* to = at(op.y, y, region.first[0] + unit.n, channels.plain, region.first[2] + d, region.first[3] + h,
                     region.first[4]);
      Walk<const float> walk = walk_at(op.x, origin, region, run * runs.length + unit.first_pixel);
      const bool staged = op.y.sc % kAliasFloats == 0;
      for (int64_t p = unit.first_pixel; p < unit.last_pixel;) {
        const int64_t end = staged ? least(unit.last_pixel, p + kStagePixels) : unit.last_pixel;
        float stage[kBlock * kStageStride];
        float* into = staged ? stage : to + p;
        const int64_t stride = staged ? kStageStride : op.y.sc;
        for (int64_t i = p; i < end; i += kLanes) {
          const float* pixels[kLanes];
          take(walk, pixels, end - i);
          to_plain(pixels, channels, end - i, into + (i - p), stride);
        }
        if (staged) unstage(stage, channels, end - p, to + p, op.y.sc);
        p = end;
      }
    }
  }
}

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const Copy& copy = op.copy;
  if (copy.x.layout == copy.y.layout) return 0;
  const Region region = region_of(copy);
  double floats = copy.fill ? elements(copy.y) : 0;
  if (!region.empty) {
    const Runs runs = runs_of(copy, region);
    const double pixels =
        static_cast<double>(region.size[0] * region.size[2]) * static_cast<double>(region.size[3] * region.size[4]);
    floats += pixels * static_cast<double>(region.size[1] + runs.blocks * kBlock);
  }
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, floats);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  const Copy& copy = op.copy;
  const Region region = region_of(copy);
  work->phases = 0;
  if (copy.fill) work->units[work->phases++] = fill_units(copy);
  int64_t units = 0;
  if (!region.empty) {
    const Runs runs = runs_of(copy, region);
    units = region.size[0] * runs.blocks * runs.groups;
  }
  work->units[work->phases++] = units;
}

void run(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context) {
  const Copy& op = prepared.op.copy;
  const Region region = region_of(op);
  const float* x = static_cast<const float*>(context.args[Copy::kX]);
  float* y = static_cast<float*>(context.args[Copy::kY]);
  if (op.fill && phase == 0) return fill_around(op, region, first, last, y);
  if (region.empty) return;
  if (op.y.layout == Layout::kBlocked) return run_to_blocked(op, region, first, last, x, y);
  run_to_plain(op, region, first, last, x, y);
}

}  // namespace

extern const Kernel copy_transpose;
const Kernel copy_transpose = {"transpose", OpKind::kCopy, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
