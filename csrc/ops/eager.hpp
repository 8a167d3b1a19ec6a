// SPDX-License-Identifier: BSD-3-Clause
// One operation on plain arrays, now: choose a kernel, reorder around it where it wants the blocked layout, pack, run.
#pragma once
#include <string>
#include <vector>

#include "ops/ops.hpp"

namespace cnnkern {

struct Algorithm {
  std::string name;
  std::string layout;  // "plain", "blocked", or "first": plain input, blocked output
  double ns;           // predicted, reorders included
};

// What can serve the call on the active instruction set, the cheapest first.
std::vector<Algorithm> eager_algorithms(const OpInfo& info, const Attributes& attributes, const Tensors& plain);

// Computes into the output pointers. Returns the algorithm used. Throws std::invalid_argument where `algorithm` (not "")
// cannot serve.
std::string eager_launch(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                         const std::vector<void*>& pointers, const std::string& algorithm);

}  // namespace cnnkern
