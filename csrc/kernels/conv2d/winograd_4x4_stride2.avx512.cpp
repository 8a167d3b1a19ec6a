// SPDX-License-Identifier: BSD-3-Clause
// 3x3 convolutions of stride 2 and few tiles by F(4x4, 2x2) on their even pixels: see simd/winograd_rows.hpp. On two
// threads 512 channels to 7x7 take 470 us, direct 600, F(2x2, 2x2) 611.
#include "simd/winograd_rows.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Rows = WinogradRows<Winograd<4, 3, 2>, 2>;

}  // namespace

extern const Kernel conv2d_winograd_4x4_stride2;
const Kernel conv2d_winograd_4x4_stride2 = {"winograd_4x4_stride2", OpKind::kConv2d, Rows::candidates,
                                            Rows::prepare,          Rows::pack,      Rows::run};

}  // namespace CNNKERN_NAMESPACE
