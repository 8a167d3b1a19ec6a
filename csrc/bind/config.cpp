// SPDX-License-Identifier: BSD-3-Clause
#include "bind/bind.hpp"
#include "core/cpu.hpp"
#include "core/launch.hpp"
#include "core/parallel.hpp"

namespace cnnkern {
namespace {

std::vector<std::string> isas_built() {
  std::vector<std::string> names;
  for (int isa = 0; isa < static_cast<int>(Isa::kCount); ++isa)
    for (int i = 0; i < kKernelCount; ++i)
      if (kKernelTable[i].isa == static_cast<Isa>(isa)) {
        names.emplace_back(isa_name(static_cast<Isa>(isa)));
        break;
      }
  return names;
}

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (Isa isa : usable_isas()) names.emplace_back(isa_name(isa));
  return names;
}

py::dict build_info() {
  py::dict info;
  info["version"] = CNNKERN_VERSION;
  info["compiler"] = CNNKERN_COMPILER;
  info["flags"] = CNNKERN_FLAGS;
  info["build_type"] = CNNKERN_BUILD_TYPE;
  return info;
}

}  // namespace

void bind_config(py::module_& m) {
  m.def("build_info", &build_info, "Version, compiler, flags and build type of the library.");
  m.def("isas_built", &isas_built, "Instruction sets that kernels were built for.");
  m.def("isas", &isas, "Instruction sets that this machine can use, from the plainest to the widest.");
  m.def("isa", [] { return isa_name(active_isa()); }, "The instruction set in use.");
  m.def("set_isa", &set_active_isa, py::arg("name"), "Use another instruction set from now on. Plans keep theirs.");
  m.def("get_num_threads", &num_threads, "Threads that a call uses at most.");
  m.def("set_num_threads", &set_num_threads, py::arg("count"), "0 goes back to the rule of the environment.");
  m.def("set_worth_a_thread", &set_worth_a_thread, py::arg("ns"),
        "Predicted nanoseconds that are worth one thread more: 0 divides everything (for tests), -1 is the default.");
  m.def("thread_rule", &thread_rule, "Which rule decided on the number of threads.");
}

}  // namespace cnnkern
