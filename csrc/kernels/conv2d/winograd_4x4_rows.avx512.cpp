// SPDX-License-Identifier: BSD-3-Clause
// 3x3 convolutions of stride 1 and few tiles by F(4x4, 3x3): see simd/winograd_rows.hpp. On two threads 7x7x512 takes
// 217 us, where transforming filters in L2 takes 410 and reading transformed ones 490 to 700; 14x14x256: 204, 235, 300.
#include "simd/winograd_rows.hpp"

namespace CNNKERN_NAMESPACE {
namespace {

using Rows = WinogradRows<Winograd<4, 3>, 4>;

}  // namespace

extern const Kernel conv2d_winograd_4x4_rows;
const Kernel conv2d_winograd_4x4_rows = {"winograd_4x4_rows", OpKind::kConv2d, Rows::candidates,
                                         Rows::prepare,       Rows::pack,      Rows::run};

}  // namespace CNNKERN_NAMESPACE
