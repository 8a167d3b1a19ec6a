// SPDX-License-Identifier: BSD-3-Clause
// What the files of bind/ share: reading Python's attributes and arrays. pybind11 appears only in this folder.
#pragma once
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include "ops/ops.hpp"

namespace py = pybind11;

namespace cnnkern {

void bind_config(py::module_& m);
void bind_launch(py::module_& m);
void bind_plan(py::module_& m);

Attributes read_attributes(const py::dict& dict);

// Checks that `array` is a C-contiguous float32 or int32 array in native order, writable if it must be; its memory and its
// plain shape.
struct ArrayView {
  Tensor tensor{};
  void* pointer = nullptr;
};
ArrayView read_array(const py::handle& object, bool integers, bool writable, const char* op, size_t index);
Tensor read_shape(const py::handle& shape);

}  // namespace cnnkern
