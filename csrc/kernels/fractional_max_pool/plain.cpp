// SPDX-License-Identifier: BSD-3-Clause
// The maximum of windows that begin where random samples say (Graham, 2014). Plain layout, one map of one image per unit.
// Window i of an axis begins at floor((i + s) a) - floor(s a), a = (size - kernel) / (windows - 1), in float32 as PyTorch
// counts; the last one ends with the map. NaN is greatest.
// Measured, one core (Zen 5), windows of 2 x 2: 16 ns per element of y with its random samples.
#include "simd/window.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr double kTapNs = 1.0;  // per element of a window, one core

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const FractionalPool& pool = op.fractional_pool;
  if (!is_plain(pool.x) || !is_plain(pool.y)) return 0;
  const double taps = static_cast<double>(pool.kernel[0] * pool.kernel[1] * pool.kernel[2]);
  out[0] = Variant{};
  out[0].ns = stream_ns(machine, elements(pool.x) + 2 * elements(pool.y)) +
              static_cast<float>(elements(pool.y) * taps * kTapNs / machine.threads);
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void*) {
  work->phases = 1;
  work->units[0] = op.fractional_pool.x.n * op.fractional_pool.x.c;
  work->scratch_bytes = op.fractional_pool.y.w * static_cast<int64_t>(sizeof(int64_t));
}

// Where window i of an axis begins; inside the map whatever the sample is.
int64_t start_of(int64_t i, float sample, int64_t size, int64_t kernel, int64_t count) {
  const int64_t last = size - kernel;
  if (i == count - 1 || !(sample >= 0 && sample <= 1)) return last;
  const float step = static_cast<float>(last) / static_cast<float>(count - 1);
  const int64_t begin =
      static_cast<int64_t>((static_cast<float>(i) + sample) * step) - static_cast<int64_t>(sample * step);
  return begin < 0 ? 0 : least(begin, last);
}

void pool_map(const FractionalPool& op, const float* x, const float* sample, float* y, int32_t* indices,
              int64_t* columns) {
  const int64_t size[3] = {op.x.d, op.x.h, op.x.w}, count[3] = {op.y.d, op.y.h, op.y.w};
  const bool flat = op.samples.w == 2;  // samples of images: x, y; of volumes: z, y, x
  const float s[3] = {flat ? 0 : sample[0], sample[1], flat ? sample[0] : sample[2]};
  const auto start = [&](int axis, int64_t i)
                         CNNKERN_LAMBDA { return start_of(i, s[axis], size[axis], op.kernel[axis], count[axis]); };
  for (int64_t w = 0; w < count[2]; ++w) columns[w] = start(2, w);
  for (int64_t d = 0; d < count[0]; ++d)
    for (int64_t h = 0; h < count[1]; ++h) {
      const int64_t plane = start(0, d), row = start(1, h);
      for (int64_t w = 0; w < count[2]; ++w, ++y, ++indices) {
        const int64_t from[3] = {plane, row, columns[w]};
        float best = -__builtin_inff();
        int64_t place = (from[0] * size[1] + from[1]) * size[2] + from[2];
        for (int64_t i = from[0]; i < from[0] + op.kernel[0]; ++i)
          for (int64_t j = from[1]; j < from[1] + op.kernel[1]; ++j)
            for (int64_t k = from[2]; k < from[2] + op.kernel[2]; ++k) {
              const float value = x[i * op.x.sd + j * op.x.sh + k];
              if (!(value > best || value != value)) continue;
              best = value;
              place = (i * size[1] + j) * size[2] + k;
            }
        *y = best;
        *indices = static_cast<int32_t>(place);
      }
    }
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  const FractionalPool& op = prepared.op.fractional_pool;
  const float* x = static_cast<const float*>(context.args[FractionalPool::kX]);
  const float* samples = static_cast<const float*>(context.args[FractionalPool::kSamples]);
  float* y = static_cast<float*>(context.args[FractionalPool::kY]);
  int32_t* indices = static_cast<int32_t*>(context.args[FractionalPool::kIndices]);
  const int64_t values = op.y.d * op.y.h * op.y.w;
  for (int64_t unit = first; unit < last; ++unit) {
    const int64_t n = unit / op.x.c, c = unit % op.x.c;
    pool_map(op, x + n * op.x.sn + c * op.x.sc, samples + n * op.samples.sn + c * op.samples.sc, y + unit * values,
             indices + unit * values, static_cast<int64_t*>(context.scratch));
  }
}

}  // namespace

extern const Kernel fractional_max_pool_plain;
const Kernel fractional_max_pool_plain = {"plain", OpKind::kFractionalMaxPool, candidates, prepare, nullptr, run};

}  // namespace CNNKERN_NAMESPACE
