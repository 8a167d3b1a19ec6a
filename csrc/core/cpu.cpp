// SPDX-License-Identifier: BSD-3-Clause
#include "core/cpu.hpp"

#include <atomic>
#include <stdexcept>

namespace cnnkern {
namespace {

constexpr const char* kNames[] = {"scalar", "avx2", "avx512"};

// GCC's and Clang's test asks CPUID and, for the wide registers, the state that the operating system saves.
bool supported(Isa isa) {
  switch (isa) {
#if defined(__x86_64__)
    case Isa::kAvx2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case Isa::kAvx512:
      return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && supported(Isa::kAvx2);
#endif
    case Isa::kScalar: return true;
    default: return false;
  }
}

bool built(Isa isa) {
  for (int i = 0; i < kKernelCount; ++i)
    if (kKernelTable[i].isa == isa) return true;
  return false;
}

std::atomic<int> g_active{-1};

}  // namespace

const char* isa_name(Isa isa) { return kNames[static_cast<int>(isa)]; }

std::vector<Isa> usable_isas() {
  std::vector<Isa> found;
  for (int i = 0; i < static_cast<int>(Isa::kCount); ++i)
    if (built(static_cast<Isa>(i)) && supported(static_cast<Isa>(i))) found.push_back(static_cast<Isa>(i));
  return found;
}

Isa active_isa() {
  int active = g_active.load(std::memory_order_relaxed);
  if (active < 0) {
    active = static_cast<int>(usable_isas().back());
    g_active.store(active, std::memory_order_relaxed);
  }
  return static_cast<Isa>(active);
}

void set_active_isa(const std::string& name) {
  std::string usable;
  for (Isa isa : usable_isas()) {
    if (name == isa_name(isa)) {
      g_active.store(static_cast<int>(isa), std::memory_order_relaxed);
      return;
    }
    usable += (usable.empty() ? "" : ", ") + std::string(isa_name(isa));
  }
  throw std::invalid_argument("instruction set '" + name + "' cannot be used on this machine; usable here: " + usable);
}

// Two threads: results must not depend on how many a machine has, and two is where splitting work begins to matter.
const Machine& nominal_machine(Isa isa) {
  static const Machine machines[] = {
      {12.0, 30.0, 30.0, 32 << 10, 1 << 20, 2},
      {100.0, 60.0, 30.0, 32 << 10, 1 << 20, 2},
      {200.0, 100.0, 30.0, 32 << 10, 1 << 20, 2},
  };
  return machines[static_cast<int>(isa)];
}

}  // namespace cnnkern
