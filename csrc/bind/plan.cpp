// SPDX-License-Identifier: BSD-3-Clause
#include "engine/plan.hpp"

#include "bind/bind.hpp"
#include "core/check.hpp"
#include "core/parallel.hpp"

namespace cnnkern {
namespace {

Border read_border(const std::vector<int32_t>& border) {
  require(border.empty() || border.size() == 6, "plan", "a border is (front, back, top, bottom, left, right)");
  Border b;
  for (size_t i = 0; i < border.size(); i += 2) b.before[i / 2] = border[i], b.after[i / 2] = border[i + 1];
  return b;
}

Layout read_layout(const std::string& name) {
  if (name == "blocked") return Layout::kBlocked;
  if (name == "lanes") return Layout::kLanes;
  require(name == "plain", "plan", "a layout is 'plain', 'blocked' or 'lanes', found '" + name + "'");
  return Layout::kPlain;
}

Tensor in_layout(const Tensor& plain, Layout layout, const Border& border) {
  if (layout == Layout::kPlain) return plain;
  return layout == Layout::kLanes ? lanes_tensor(plain, border) : blocked_tensor(plain, border);
}

// A Plan and the Python objects whose memory it uses.
struct PyPlan {
  PyPlan(std::shared_ptr<PackedWeights> packed, bool winograd) : plan(std::move(packed), winograd) {}

  int tensor(const py::handle& shape, const std::string& layout, const std::vector<int32_t>& border) {
    return plan.add_tensor(in_layout(read_shape(shape), read_layout(layout), read_border(border)));
  }

  void constant(int tensor, const py::array& array, const py::object& scale) {
    const bool integers = array.dtype().kind() == 'i';
    const ArrayView view = read_array(array, integers, false, "plan", 0);
    require(element_count(view.tensor) == element_count(plan.tensor(tensor)) &&
                plan.tensor(tensor).layout == Layout::kPlain,
            "plan", "a constant must have its tensor's size");
    const double* rows = nullptr;
    if (!scale.is_none()) {
      const auto numbers = py::cast<py::array_t<double, py::array::c_style>>(scale);
      require(!integers && array.ndim() > 0 && numbers.ndim() == 1 && numbers.size() == array.shape(0), "plan",
              "a constant's scale must have one entry for each of its first axis");
      rows = numbers.data();
      keep.append(numbers);
    }
    plan.place_constant(tensor, view.pointer, rows);
    keep.append(array);
  }

  py::dict step(const std::string& op, const py::dict& attributes, const std::vector<int>& args, const py::dict& views,
                const std::string& algorithm) {
    Tensors shapes(args.size());
    for (const auto& [index, shape] : views) shapes.at(py::cast<size_t>(index)) = read_shape(shape);
    const StepReport report = plan.add_step(op, read_attributes(attributes), args, shapes, algorithm);
    py::dict out;
    out["op"] = report.op;
    out["algorithm"] = report.algorithm;
    out["predicted_ns"] = report.predicted_ns;
    out["alternatives"] = report.alternatives;
    out["packed_bytes"] = report.packed_bytes;
    out["shared_bytes"] = report.shared_bytes;
    out["scratch_bytes"] = report.scratch_bytes;
    return out;
  }

  std::vector<void*> pointers(const py::sequence& arrays, size_t count, bool outputs) const {
    const char* what = outputs ? "outputs" : "inputs";
    require(arrays.size() == count, "plan", std::string("expects ") + std::to_string(count) + " " + what);
    std::vector<void*> result;
    for (size_t i = 0; i < count; ++i) {
      const py::object array = arrays[i];
      const bool integers =
          py::isinstance<py::array>(array) && py::reinterpret_borrow<py::array>(array).dtype().kind() == 'i';
      const ArrayView view = read_array(array, integers, outputs, what, i);
      require(element_count(view.tensor) == element_count(outputs ? plan.output(i) : plan.input(i)), what,
              "array " + std::to_string(i) + " has the wrong size");
      result.push_back(view.pointer);
    }
    return result;
  }

  std::vector<double> run(const py::sequence& inputs, const py::sequence& outputs, int threads, bool profile) const {
    const std::vector<void*> in = pointers(inputs, plan.input_count(), false);
    const std::vector<void*> out = pointers(outputs, plan.output_count(), true);
    std::vector<double> nanoseconds(profile ? plan.step_count() : 0);
    py::gil_scoped_release release;
    plan.run(in.data(), out.data(), threads > 0 ? threads : num_threads(), profile ? nanoseconds.data() : nullptr);
    return nanoseconds;
  }

  Plan plan;
  py::list keep;
};

}  // namespace

void bind_plan(py::module_& m) {
  py::class_<PackedWeights, std::shared_ptr<PackedWeights>>(m, "PackedWeights",
                                                            "Packed weights shared by plans of one model.")
      .def(py::init<>())
      .def_property_readonly("bytes", &PackedWeights::bytes);
  py::class_<PyPlan>(m, "Plan", "A frozen list of prepared steps over one arena.")
      .def(py::init<std::shared_ptr<PackedWeights>, bool>(), py::arg("packed").none(true) = nullptr,
           py::arg("winograd") = false)
      .def("tensor", &PyPlan::tensor, py::arg("shape"), py::arg("layout") = "plain",
           py::arg("border") = std::vector<int32_t>{}, "A new tensor; its number.")
      .def(
          "view",
          [](PyPlan& self, int whole, const py::handle& shape, int64_t channel) {
            return self.plan.add_view(whole, read_shape(shape), channel);
          },
          py::arg("whole"), py::arg("shape"), py::arg("channel"),
          "A new tensor that lives in a blocked one, from a channel on; its number.")
      .def(
          "part", [](PyPlan& self, int whole, int64_t images) { return self.plan.add_part(whole, images); },
          py::arg("whole"), py::arg("images"), "A new tensor: so many images of another one, others in every round.")
      .def(
          "end_rounds", [](PyPlan& self, int rounds) { self.plan.end_rounds(rounds); }, py::arg("rounds"),
          "The steps so far run in so many rounds, those that follow once.")
      .def(
          "bytes", [](const PyPlan& self, int tensor) { return tensor_bytes(self.plan.tensor(tensor)); },
          py::arg("tensor"))
      .def(
          "arena", [](PyPlan& self, int tensor, int64_t offset) { self.plan.place_arena(tensor, offset); },
          py::arg("tensor"), py::arg("offset"))
      .def(
          "input", [](PyPlan& self, int tensor, int index) { self.plan.place_input(tensor, index); }, py::arg("tensor"),
          py::arg("index"))
      .def(
          "output", [](PyPlan& self, int tensor, int index) { self.plan.place_output(tensor, index); },
          py::arg("tensor"), py::arg("index"))
      .def("constant", &PyPlan::constant, py::arg("tensor"), py::arg("array"), py::arg("scale") = py::none(),
           "Uses the array's memory and keeps it alive; with a scale (float64), row i counts scale[i] times.")
      .def("step", &PyPlan::step, py::arg("op"), py::arg("attributes"), py::arg("tensors"),
           py::arg("views") = py::dict(), py::arg("algorithm") = "",
           "Adds a step; returns what was chosen and what it needs.")
      .def(
          "freeze", [](PyPlan& self, int64_t bytes) { self.plan.freeze(bytes); }, py::arg("arena_bytes"))
      .def(
          "memory", [](const PyPlan& self, int threads) { return self.plan.memory_bytes(threads); }, py::arg("threads"))
      .def_property_readonly("predicted_ns", [](const PyPlan& self) { return self.plan.predicted_ns(); })
      .def("run", &PyPlan::run, py::arg("inputs"), py::arg("outputs"), py::arg("threads") = 0,
           py::arg("profile") = false, "Runs all steps without the GIL; with profile, the nanoseconds of each.");
  m.def(
      "plan_candidates",
      [](const std::string& name, const py::dict& attributes, const py::sequence& shapes,
         const std::vector<std::string>& layouts, bool winograd) {
        const OpInfo& info = op_info(name);
        const Attributes read = read_attributes(attributes);
        Tensors plain(shapes.size());
        for (size_t i = 0; i < shapes.size(); ++i)
          if (const py::object shape = shapes[i]; !shape.is_none()) plain[i] = read_shape(shape);
        const Op whole = make_op(info, read, plain);
        Tensors args = plain;
        py::list borders;
        for (size_t i = 0; i < args.size(); ++i) {
          const Layout layout = read_layout(layouts.at(i));
          const Border b = args[i].present ? border_needed(whole, static_cast<int>(i), layout) : Border{};
          borders.append(py::make_tuple(b.before[0], b.after[0], b.before[1], b.after[1], b.before[2], b.after[2]));
          if (args[i].present) args[i] = in_layout(args[i], layout, b);
        }
        py::list found;
        for (const Choice& choice : choices(make_op(info, read, args), "", winograd))
          found.append(py::make_tuple(choice.kernel->name, choice.variant.ns));
        return py::make_tuple(found, borders);
      },
      py::arg("op"), py::arg("attributes"), py::arg("shapes"), py::arg("layouts"), py::arg("winograd") = false,
      "([(algorithm, predicted nanoseconds)], [border wanted per argument]), each argument in one of the layouts "
      "'plain', 'blocked' and, of 16 images at a time, 'lanes'.");
}

}  // namespace cnnkern
