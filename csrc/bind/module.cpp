// SPDX-License-Identifier: BSD-3-Clause
// The compiled module cnnkern._core: one function per group of bindings.
#include <cstdlib>

#include "bind/bind.hpp"
#include "core/cpu.hpp"

PYBIND11_MODULE(_core, m) {
  m.doc() = "Kernels, launching and plans of cnnkern. Private: use cnnkern.functional and cnnkern.compile.";
  if (const char* isa = std::getenv("CNNKERN_ISA"); isa && *isa) {
    try {
      cnnkern::set_active_isa(isa);
    } catch (const std::invalid_argument& error) {
      throw py::import_error(std::string("CNNKERN_ISA: ") + error.what());
    }
  }
  cnnkern::bind_config(m);
  cnnkern::bind_launch(m);
  cnnkern::bind_plan(m);
}
