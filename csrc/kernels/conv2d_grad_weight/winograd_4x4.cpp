// SPDX-License-Identifier: BSD-3-Clause
// The weight gradient of 3x3 convolutions of stride 1 by F(4x4, 3x3) backwards: see simd/winograd_weights.hpp.
#include "simd/winograd_weights.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Kind = WinogradWeights<Winograd<4, 3>>;

}  // namespace

extern const Kernel conv2d_grad_weight_winograd_4x4;
const Kernel conv2d_grad_weight_winograd_4x4 = {
    "winograd_4x4", OpKind::kConv2dGradWeight, Kind::candidates, Kind::prepare, nullptr, Kind::run};

}  // namespace CNNKERN_NAMESPACE
