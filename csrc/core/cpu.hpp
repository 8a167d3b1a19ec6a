// SPDX-License-Identifier: BSD-3-Clause
// Which instruction sets the kernels were built for, which of them this machine can run, and which one is in use.
#pragma once
#include <string>
#include <vector>

#include "core/kernel.hpp"

namespace cnnkern {

enum class Isa : int { kScalar, kAvx2, kAvx512, kCount };

const char* isa_name(Isa isa);
// Built into this library and supported by CPU and operating system, from the plainest to the widest.
std::vector<Isa> usable_isas();
Isa active_isa();
// Throws std::invalid_argument where the name is unknown, not built, or not supported here.
void set_active_isa(const std::string& name);
const Machine& nominal_machine(Isa isa);

struct KernelRow {
  Isa isa;
  const Kernel* kernel;
};
// The generated table of all kernels of all instruction sets.
extern const KernelRow kKernelTable[];
extern const int kKernelCount;

}  // namespace cnnkern
