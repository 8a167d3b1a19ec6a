// SPDX-License-Identifier: BSD-3-Clause
// dx[n, c, offset] = the sum of weight dy[n, c, p] over the places p with a tap there. Plain layout; a unit is one map of
// one image, which nobody else adds to, in the order of the places. The taps of a chunk of places serve all maps of an
// image that one call has. Limited by scattered additions.
// Measured, one core (Zen 5, AVX-512), 16 channels: 2.9 ns per element of dy, bicubic 10.
#include "simd/grid.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kTapNs = 1.2;  // per tap and element of dy, one core

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const GridSample& sample = op.grid_sample;
  if (sample.x.layout != Layout::kPlain || sample.y.layout != Layout::kPlain) return 0;
  out[0] = Variant{};
  out[0].ns = grid_ns(sample, machine, kTapNs);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.grid_sample.x.n * op.grid_sample.x.c;
  work->scratch_bytes = sizeof(GridTaps);
}

void empty(const Tensor& x, float* map) {
  for (int64_t d = 0; d < x.d; ++d)
    for (int64_t h = 0; h < x.h; ++h)
      for (int64_t w = 0; w < x.w; ++w) map[d * x.sd + h * x.sh + w] = 0;
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const GridSample& op = prepared.op.grid_sample;
  const float* dy = static_cast<const float*>(context.args[GridSample::kGiDy]);
  const float* grid = static_cast<const float*>(context.args[GridSample::kGiGrid]);
  float* dx = static_cast<float*>(context.args[GridSample::kGiDx]);
  GridTaps& taps = *static_cast<GridTaps*>(context.scratch);
  const int count = tap_count(op);
  for (int64_t unit = first; unit < last;) {
    const int64_t image = unit / op.x.c, begin = unit % op.x.c, end = least(op.x.c, begin + last - unit);
    unit += end - begin;
    for (int64_t c = begin; c < end; ++c) empty(op.x, dx + image * op.x.sn + c * op.x.sc);
    for (int64_t at = 0; at < op.grid.c; at += kChunk) {
      const int64_t n = least(kChunk, op.grid.c - at);
      find_taps(op, grid + image * op.grid.sn, at, n, false, &taps);
      for (int64_t c = begin; c < end; ++c) {
        const float* const from = dy + image * op.y.sn + c * op.y.sc + at;
        float* const to = dx + image * op.x.sn + c * op.x.sc;
        for (int t = 0; t < count; ++t)
          for (int64_t i = 0; i < n; ++i)
            if (taps.inside[t][i]) to[taps.offset[t][i]] += taps.weight[t][i] * from[i];
      }
    }
  }
}

}  // namespace

extern const Kernel grid_sample_grad_input_scatter;
const Kernel grid_sample_grad_input_scatter = {"scatter", OpKind::kGridSampleGradInput, candidates, prepare, nullptr,
                                               run};

}  // namespace CNNKERN_NAMESPACE
