// SPDX-License-Identifier: BSD-3-Clause
// The ways in which an eager call can be served: all plain, all maps blocked, or a plain input and a blocked output.
#pragma once
#include <string>
#include <vector>

#include "core/launch.hpp"
#include "ops/ops.hpp"

namespace cnnkern {

// One way to serve a call: the operation with some of its maps blocked, and the kernel.
struct Form {
  const char* layout;
  Op op;
  Tensors args;
  unsigned reordered;  // bit i: argument i goes through a blocked copy
  Choice choice;
  double ns;  // predicted, reorders included
};

// All forms that some kernel (or `algorithm`, if not "") can serve, the cheapest first; one per kernel and layout.
std::vector<Form> eager_forms(const OpInfo& info, const Attributes& attributes, const Tensors& plain,
                              const std::string& algorithm);

}  // namespace cnnkern
