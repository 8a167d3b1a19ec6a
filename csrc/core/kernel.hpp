// SPDX-License-Identifier: BSD-3-Clause
// The kernel contract: what a kernel file offers to the framework. Data only, like op.hpp; csrc/README.md explains it.
#pragma once
#include <cstddef>

#include "core/op.hpp"

namespace cnnkern {

constexpr int kMaxPhases = 4;
constexpr int kMaxVariants = 24;

// Nominal figures of an instruction set. Constants, never measured and never the actual number of threads: the choice of
// a kernel may change rounding, and results must not depend on either.
struct Machine {
  double flops_per_ns;                          // of one core
  double l2_bytes_per_ns, memory_bytes_per_ns;  // of one core, of all cores together
  int64_t l1_bytes, l2_bytes;
  int threads;
};

// One way in which a kernel can serve an operation. `tile`, `order` and `p` mean what the kernel wants, but the layout of
// packed weights may depend on `tile` alone: they are shared by plans for other image sizes.
struct Variant {
  int32_t tile, order, p[4];
  float ns;  // predicted time, all nominal threads together at work
};

// What a prepared kernel needs and how its work divides. Units of a phase are independent; between phases stands a barrier.
struct Work {
  int32_t phases;
  int64_t units[kMaxPhases];
  int64_t shared_bytes;              // one buffer for all threads, kept from phase to phase
  int64_t scratch_bytes;             // one buffer per thread, nothing kept from call to call of run()
  int64_t packed_bytes, pack_units;  // the weights in this variant's own layout; 0: takes them as they are
  int64_t table_bytes;               // offset tables and the like, written once by prepare()
};

// The operation, the variant and everything immutable that a run needs. Shared by all threads and all runs.
struct Prepared {
  Op op;
  Variant variant;
  Work work;
  void* table;  // 64-byte aligned
};

struct Context {
  void* const* args;   // one pointer per argument of the operation, null where absent
  const void* packed;  // packed weights, null if work.packed_bytes is 0
  void* shared;
  void* scratch;
  const char* prefetch;  // weights that the next step will read first
  size_t prefetch_bytes;
};

struct Kernel {
  const char* name;  // the algorithm: the stem of its file
  OpKind kind;
  // Writes the variants that can serve `op`, at most kMaxVariants, and returns their number: 0 if this kernel cannot.
  int (*candidates)(const Op& op, const Machine& machine, Variant* out);
  // Called twice: with table == nullptr to fill `work`, then with memory of work->table_bytes to fill the table.
  void (*prepare)(const Op& op, const Variant& variant, Work* work, void* table);
  // Packs units [first, last) of the weights; null if nothing is packed. noexcept.
  void (*pack)(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed);
  // Computes units [first, last) of a phase and writes every output element that they own. noexcept; allocates nothing;
  // gives the same bits however the units are divided into calls.
  void (*run)(const Prepared& prepared, int phase, int64_t first, int64_t last, const Context& context);
};

}  // namespace cnnkern
