// SPDX-License-Identifier: BSD-3-Clause
// Chains that start with the first convolution of a network, on a plain map (simd/bands.hpp and simd/input_rows.hpp):
// stem -> depthwise -> 1x1, as MobileNets begin.
#include "simd/bands.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

constexpr int64_t kMostChannels = 8;

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const ConvChain& chain = op.conv_chain;
  const Conv& h = chain.head;
  if (!bands_serve(chain)) return 0;
  if (!has(h) || h.x.layout != Layout::kPlain || h.groups != 1 || h.x.c > kMostChannels) return 0;
  *out = {0, 0, {}, bands_ns(chain, make_bands(chain), machine)};
  return 1;
}

void prepare(const Op& op, const Variant&, Work* work, void* table) {
  const Bands b = make_bands(op.conv_chain);
  bands_work(op.conv_chain, b, work);
  if (table) bands_table(op.conv_chain, b, table);
}

void pack(const Prepared& prepared, int64_t first, int64_t last, const float* weight, void* packed) {
  bands_pack(prepared, first, last, weight, static_cast<float*>(packed));
}

void run(const Prepared& prepared, int, int64_t first, int64_t last, const Context& context) {
  BandWalk<1>(prepared, context).run(first, last);
}

}  // namespace

extern const Kernel conv2d_chain_bands_first;
const Kernel conv2d_chain_bands_first = {"bands_first", OpKind::kConv2dChain, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
