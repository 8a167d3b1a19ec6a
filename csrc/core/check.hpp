// SPDX-License-Identifier: BSD-3-Clause
// Checks that protect memory. Python has already said in its own words what is wrong with a user's call; these hold whoever
// calls, and throw std::invalid_argument (a ValueError in Python).
#pragma once
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/op.hpp"

namespace cnnkern {

inline void require(bool holds, const char* op, const std::string& what) {
  if (!holds) throw std::invalid_argument(std::string(op) + ": " + what);
}

// Products of shapes that cannot overflow: everything is refused beyond 2^46 elements, so that sums, offsets in bytes and
// multiply-add counts stay far from the end of int64.
constexpr int64_t kMaxElements = int64_t{1} << 46;
inline int64_t checked_product(int64_t a, int64_t b, const char* op) {
  int64_t product = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) || product > kMaxElements)
    throw std::invalid_argument(std::string(op) + ": the product of the dimensions is too large");
  return product;
}

inline std::string shape_text(const Tensor& t) {
  return "(" + std::to_string(t.n) + ", " + std::to_string(t.c) + ", " + std::to_string(t.d) + ", " +
         std::to_string(t.h) + ", " + std::to_string(t.w) + ")";
}

inline bool same_shape(const Tensor& a, const Tensor& b) {
  return a.n == b.n && a.c == b.c && a.d == b.d && a.h == b.h && a.w == b.w;
}
inline int64_t element_count(const Tensor& t) { return t.n * t.c * t.d * t.h * t.w; }

}  // namespace cnnkern
