// SPDX-License-Identifier: BSD-3-Clause
// The weight gradient of 5x5 convolutions of stride 1 by F(2x2, 5x5) backwards: see simd/winograd_weights.hpp.
#include "simd/winograd_weights.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Kind = WinogradWeights<Winograd<2, 5>>;

}  // namespace

extern const Kernel conv2d_grad_weight_winograd_2x2_5x5;
const Kernel conv2d_grad_weight_winograd_2x2_5x5 = {
    "winograd_2x2_5x5", OpKind::kConv2dGradWeight, Kind::candidates, Kind::prepare, nullptr, Kind::run};

}  // namespace CNNKERN_NAMESPACE
