// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the input of 5x5 convolutions of stride 1 by F(2x2, 5x5): see simd/winograd_turned.hpp.
#include "simd/winograd_turned.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Kind = WinogradTurned<Winograd<2, 5>>;

}  // namespace

extern const Kernel conv2d_grad_input_winograd_2x2_5x5;
const Kernel conv2d_grad_input_winograd_2x2_5x5 = {
    "winograd_2x2_5x5", OpKind::kConv2dGradInput, Kind::candidates, Kind::prepare, Kind::pack, Kind::run};

}  // namespace CNNKERN_NAMESPACE
