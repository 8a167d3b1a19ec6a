// SPDX-License-Identifier: BSD-3-Clause
// Chains on blocked maps (simd/bands.hpp): expand 1x1 -> depthwise -> project 1x1 + residual, MobileNetV2's inverted
// residual, and its parts. Wins where the map in between leaves L2: 112x112 and 56x56.
#include "simd/bands.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

int candidates(const Op& op, const Machine& machine, Variant* out) {
  const ConvChain& chain = op.conv_chain;
  const Conv& h = chain.head;
  if (!bands_serve(chain)) return 0;
  if (has(h) && (taps_of(h) != 1 || h.stride[1] != 1 || h.stride[2] != 1 || h.padding[1] || h.padding[2] ||
                 h.groups != 1 || h.x.layout != Layout::kBlocked || !forward_serves(h)))
    return 0;
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
  BandWalk<kStepChannels>(prepared, context).run(first, last);
}

}  // namespace

extern const Kernel conv2d_chain_bands;
const Kernel conv2d_chain_bands = {"bands", OpKind::kConv2dChain, candidates, prepare, pack, run};

}  // namespace CNNKERN_NAMESPACE
