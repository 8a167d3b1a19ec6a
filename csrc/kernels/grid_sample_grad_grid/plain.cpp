// SPDX-License-Identifier: BSD-3-Clause
// dgrid[n, p, a] = the sum over channels of dy[n, c, p] times the sum over the taps of slope x[n, c, offset]. Plain
// layout; a unit is a chunk of places of one image, as forward, and it has all channels: nothing is shared. Limited by
// gathering. The nearest pixel does not change with the grid: zeros.
#include "simd/grid.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kTapNs = 1.5;  // per tap and element of dy, one core

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const GridSample& sample = op.grid_sample;
  if (sample.x.layout != Layout::kPlain || sample.y.layout != Layout::kPlain) return 0;
  out[0] = Variant{};
  out[0].ns = grid_ns(sample, machine, kTapNs);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.grid_sample.grid.n * chunks_of(op.grid_sample);
  work->scratch_bytes = sizeof(GridTaps);
}

// The sums of one chunk, place by place.
void add_channels(const GridSample& op, const GridTaps& taps, int64_t n, const float* x, const float* dy,
                  float (&sum)[3][kChunk]) {
  const int count = tap_count(op), axes = static_cast<int>(op.grid.w);
  for (int64_t c = 0; c < op.x.c; ++c) {
    const float *const from = x + c * op.x.sc, *const gradient = dy + c * op.y.sc;
    for (int a = 0; a < axes; ++a) {
      float change[kChunk] = {};
      for (int t = 0; t < count; ++t)
        for (int64_t i = 0; i < n; ++i) {
          const float value = from[taps.offset[t][i]];
          change[i] += taps.inside[t][i] ? taps.slope[a][t][i] * value : 0;
        }
      for (int64_t i = 0; i < n; ++i) sum[a][i] += change[i] * gradient[i];
    }
  }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const GridSample& op = prepared.op.grid_sample;
  const float* dy = static_cast<const float*>(context.args[GridSample::kGgDy]);
  const float* x = static_cast<const float*>(context.args[GridSample::kGgX]);
  const float* grid = static_cast<const float*>(context.args[GridSample::kGgGrid]);
  float* dgrid = static_cast<float*>(context.args[GridSample::kGgDgrid]);
  GridTaps& taps = *static_cast<GridTaps*>(context.scratch);
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t image = unit / chunks_of(op), at = unit % chunks_of(op) * kChunk;
    const int64_t n = least(kChunk, op.grid.c - at), begin = image * op.grid.sn;
    float sum[3][kChunk] = {};
    if (op.taps > 1) {
      find_taps(op, grid + begin, at, n, &taps);
      add_channels(op, taps, n, x + image * op.x.sn, dy + image * op.y.sn + at, sum);
    }
    for (int64_t i = 0; i < n; ++i)
      for (int64_t a = 0; a < op.grid.w; ++a) dgrid[begin + (at + i) * op.grid.sc + a] = sum[a][i];
  }
}

}  // namespace

extern const Kernel grid_sample_grad_grid_plain;
const Kernel grid_sample_grad_grid_plain = {"plain", OpKind::kGridSampleGradGrid, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
