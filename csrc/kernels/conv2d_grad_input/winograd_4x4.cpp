// SPDX-License-Identifier: BSD-3-Clause
// The gradient by the input of 3x3 convolutions of stride 1 by F(4x4, 3x3): see simd/winograd_turned.hpp.
#include "simd/winograd_turned.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Kind = WinogradTurned<Winograd<4, 3>>;

}  // namespace

extern const Kernel conv2d_grad_input_winograd_4x4;
const Kernel conv2d_grad_input_winograd_4x4 = {
    "winograd_4x4", OpKind::kConv2dGradInput, Kind::candidates, Kind::prepare, Kind::pack, Kind::run};

}  // namespace CNNKERN_NAMESPACE
