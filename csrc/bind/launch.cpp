// SPDX-License-Identifier: BSD-3-Clause
#include "bind/bind.hpp"
#include "core/check.hpp"
#include "ops/eager.hpp"

namespace cnnkern {

Attributes read_attributes(const py::dict& dict) {
  Attributes attributes;
  for (const auto& [key, value] : dict) {
    const std::string name = py::cast<std::string>(key);
    if (py::isinstance<py::str>(value))
      attributes.set(name, py::cast<std::string>(value));
    else if (py::isinstance<py::float_>(value))
      attributes.set(name, py::cast<double>(value));
    else if (py::isinstance<py::int_>(value))
      attributes.set(name, py::cast<int64_t>(value));
    else
      attributes.set(name, py::cast<std::vector<int64_t>>(value));
  }
  return attributes;
}

Tensor read_shape(const py::handle& shape) {
  const auto sizes = py::cast<std::vector<int64_t>>(shape);
  return plain_tensor(sizes.data(), static_cast<int>(sizes.size()));
}

ArrayView read_array(const py::handle& object, bool integers, bool writable, const char* op, size_t index) {
  const std::string which = "argument " + std::to_string(index);
  require(py::isinstance<py::array>(object), op, which + " must be a NumPy array");
  const auto array = py::reinterpret_borrow<py::array>(object);
  const py::dtype wanted = integers ? py::dtype::of<int32_t>() : py::dtype::of<float>();
  require(array.dtype().equal(wanted), op, which + " must be " + (integers ? "int32" : "float32"));
  require(array.flags() & py::array::c_style, op, which + " must be C-contiguous");
  require(!writable || array.writeable(), op, which + " must be writable");
  require(reinterpret_cast<uintptr_t>(array.data()) % 4 == 0, op, which + " must be aligned");
  int64_t shape[5];
  require(array.ndim() <= 5, op, which + " must have at most 5 dimensions");
  for (py::ssize_t i = 0; i < array.ndim(); ++i) shape[i] = array.shape(i);
  return {plain_tensor(shape, static_cast<int>(array.ndim())), const_cast<void*>(array.data())};
}

namespace {

std::string launch(const std::string& name, const py::dict& attributes, const py::sequence& arrays,
                   const std::string& algorithm) {
  const OpInfo& info = op_info(name);
  require(static_cast<int>(arrays.size()) == info.arguments, info.name,
          "expects " + std::to_string(info.arguments) + " arrays, found " + std::to_string(arrays.size()));
  Tensors tensors(arrays.size());
  std::vector<void*> pointers(arrays.size());
  for (size_t i = 0; i < arrays.size(); ++i) {
    const py::object array = arrays[i];
    if (array.is_none()) continue;
    const ArrayView view = read_array(array, info.integers >> i & 1, info.outputs >> i & 1, info.name, i);
    tensors[i] = view.tensor, pointers[i] = view.pointer;
  }
  const Attributes read = read_attributes(attributes);
  py::gil_scoped_release release;
  return eager_launch(info, read, tensors, pointers, algorithm);
}

std::vector<std::tuple<std::string, std::string, double>> algorithms(const std::string& name,
                                                                     const py::dict& attributes,
                                                                     const py::sequence& shapes) {
  const OpInfo& info = op_info(name);
  Tensors tensors(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i)
    if (const py::object shape = shapes[i]; !shape.is_none()) tensors[i] = read_shape(shape);
  std::vector<std::tuple<std::string, std::string, double>> found;
  for (const Algorithm& a : eager_algorithms(info, read_attributes(attributes), tensors))
    found.emplace_back(a.name, a.layout, a.ns);
  return found;
}

}  // namespace

void bind_launch(py::module_& m) {
  m.def("launch", &launch, py::arg("op"), py::arg("attributes"), py::arg("arrays"), py::arg("algorithm") = "",
        "Compute one operation into its output arrays; returns the algorithm used.");
  m.def(
      "op_arguments",
      [](const std::string& name) {
        const OpInfo& info = op_info(name);
        std::vector<bool> maps, outputs, optional;
        for (int i = 0; i < info.arguments; ++i) {
          maps.push_back(info.maps >> i & 1);
          outputs.push_back(info.outputs >> i & 1);
          optional.push_back(info.optional >> i & 1);
        }
        return std::make_tuple(maps, outputs, optional);
      },
      py::arg("op"), "For each argument: may it be blocked, is it written, may it be left out.");
  m.def(
      "op_takes_lanes", [](const std::string& name) { return op_info(name).lanes != Lanes::kNone; }, py::arg("op"),
      "May its maps be images in lanes?");
  m.def("algorithms", &algorithms, py::arg("op"), py::arg("attributes"), py::arg("shapes"),
        "(algorithm, layout, predicted nanoseconds) of everything that can serve an eager call, the cheapest first.");
}

}  // namespace cnnkern
