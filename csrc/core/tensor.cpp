// SPDX-License-Identifier: BSD-3-Clause
#include "core/tensor.hpp"

#include <algorithm>

#include "core/check.hpp"

namespace cnnkern {

Tensor plain_tensor(const int64_t* shape, int rank) {
  require(rank >= 0 && rank <= 5, "tensor", "rank must be 0 to 5, found " + std::to_string(rank));
  int64_t full[5] = {1, 1, 1, 1, 1};
  if (rank == 1) full[1] = shape[0];
  if (rank >= 2) {
    full[0] = shape[0];
    full[1] = shape[1];
    for (int i = 2; i < rank; ++i) full[5 - rank + i] = shape[i];
  }
  int64_t product = 1;
  for (int64_t size : full) product = checked_product(product, size > 0 ? size : size < 0 ? -1 : 1, "tensor");
  Tensor t{};
  t.layout = Layout::kPlain;
  t.present = 1;
  t.n = full[0], t.c = full[1], t.d = full[2], t.h = full[3], t.w = full[4];
  t.sh = t.w, t.sd = t.h * t.sh, t.sc = t.d * t.sd, t.sn = t.c * t.sc;
  return t;
}

Tensor blocked_tensor(const Tensor& shape, const Border& border) {
  Tensor t = shape;
  t.layout = Layout::kBlocked;
  t.present = 1;
  for (int i = 0; i < 3; ++i) {
    require(border.before[i] >= 0 && border.after[i] >= 0, "tensor", "a border must not be negative");
    t.before[i] = border.before[i], t.after[i] = border.after[i];
  }
  t.sh = (t.w + t.before[2] + t.after[2]) * kBlock;
  t.sd = checked_product(t.sh, t.h + t.before[1] + t.after[1], "tensor");
  t.sc = checked_product(t.sd, t.d + t.before[0] + t.after[0], "tensor");
  if (t.sc / kBlock > 1 && t.sc / kBlock % 2 == 0) t.sc += kBlock;
  t.sn = checked_product(t.sc, (t.c + kBlock - 1) / kBlock, "tensor");
  checked_product(t.sn, t.n, "tensor");
  return t;
}

Tensor lanes_tensor(const Tensor& shape, const Border& border) {
  require(shape.n % kBlock == 0 && shape.d == 1, "tensor", "only multiples of 16 images of one plane fill lanes");
  Tensor t = shape;
  t.n /= kBlock, t.c = checked_product(t.c, kBlock, "tensor");
  t = blocked_tensor(t, border);
  t.layout = Layout::kLanes;
  t.n = shape.n, t.c = shape.c;
  return t;
}

Tensor lanes_as_blocked(const Tensor& t) {
  if (t.layout != Layout::kLanes) return t;
  Tensor seen = t;
  seen.layout = Layout::kBlocked;
  seen.n /= kBlock, seen.c *= kBlock;
  return seen;
}

Tensor lanes_as_plain(const Tensor& t) {
  if (t.layout != Layout::kLanes) return t;
  Tensor seen = t;
  seen.layout = Layout::kPlain;
  seen.n /= kBlock, seen.w *= kBlock;
  std::fill_n(seen.before, 3, 0), std::fill_n(seen.after, 3, 0);
  return seen;
}

Tensor images_as_channels(const Tensor& t) {
  require(t.n % kBlock == 0 && t.d == 1, "tensor", "only multiples of 16 images of one plane fill lanes");
  Tensor seen = t;
  if (t.layout == Layout::kLanes) {
    seen.layout = Layout::kBlocked;
    seen.sc = t.sn, seen.sd = t.sc;
  } else {
    seen.sn = kBlock * t.sn, seen.sc = t.sn, seen.sd = t.sc;
  }
  seen.n /= kBlock, seen.c = kBlock, seen.d = t.c;
  return seen;
}

Tensor planes_as_channels(const Tensor& plain) {
  Tensor t = plain;
  t.c = checked_product(plain.n, plain.c, "tensor");
  t.n = 1;
  t.sn = t.c * t.sc;
  return t;
}

int64_t tensor_bytes(const Tensor& t) { return (lanes_as_blocked(t).n * t.sn * 4 + 63) / 64 * 64; }

int64_t origin_offset(const Tensor& t) {
  if (t.layout == Layout::kPlain) return 0;
  return t.before[0] * t.sd + t.before[1] * t.sh + int64_t{t.before[2]} * kBlock;
}

}  // namespace cnnkern
