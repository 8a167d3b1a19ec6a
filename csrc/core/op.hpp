// SPDX-License-Identifier: BSD-3-Clause
// What there is to compute: one plain struct per family of operations, and nothing but data. Kernels compiled with
// different instruction-set flags share this header, so a function here would be a trap (see csrc/README.md).
//
// Every tensor is seen as (N, C, D, H, W); a matrix is (N, C), an image (N, C, 1, H, W). All elements are 4 bytes wide.
#pragma once
#include <cstdint>

namespace cnnkern {

constexpr int kBlock = 16;     // channels per block of the blocked layout, images in the lanes, on every instruction set
constexpr int kMaxArgs = 12;   // tensors of one operation

enum class Layout : int32_t {
  kPlain,    // [n][c][d][h][w]: channel stride sc, pixel stride 1
  kBlocked,  // [n][c / 16][d][h][w][c % 16]: channel-block stride sc, pixel stride 16; lanes beyond C hold zero
  kLanes,    // [n / 16][c][h][w][n % 16], images in the lanes: stride of 16 images sn, channel stride sc, pixel stride 16
};

// Shape and strides of one argument. Its pointer (kept apart: see Context) points at element (0, 0, 0, 0, 0); a border is
// physical zeros around the spatial axes, so pixels -before .. size + after - 1 may be read.
struct Tensor {
  Layout layout;
  int32_t present;        // 0: this optional argument was left out
  int64_t n, c, d, h, w;  // logical sizes
  int64_t sn, sc, sd, sh; // strides in elements: image, channel (or block of 16 channels), plane, row
  int32_t before[3], after[3];  // border of D, H, W in pixels
};

// kClamp: min(max(x, low), high). From kSilu on for convolutions and batch norm in training. All keep NaN.
enum class Activation : int32_t { kNone, kRelu, kLeakyRelu, kClamp, kSilu, kHardSwish, kSigmoid, kHardSigmoid };

// Applied to an accumulator before it is stored: y = act(acc + bias + residual).
struct Epilogue {
  Activation activation;
  float slope;      // kLeakyRelu
  float low, high;  // kClamp
};

// conv2d:              x, w, bias?, residual? -> y
// conv2d_scaled:       x, w, bias?, residual?, scale, shift?, centre? -> y      convolution of act((x - centre) scale + shift)
// conv2d_grad_input:   y (dy), w, residual?, gate? -> x (dx)
//                      the residual is added; where the gate is <= 0 dx is 0: the gradient of a ReLU before the
//                      convolution whose input or result the gate is
// conv2d_grad_weight:  x, y (dy) -> w (dw)
struct Conv {
  // kX (N, C, D, H, W); kW (O, C/groups, T, R, S) plain; kBias (1, O); kY as kX; kScale (1 or N, C) plain or blocked; kShift
  // and kCentre (1, C)
  enum Arg { kX, kW, kBias, kResidual, kY, kScale, kShift, kCentre };
  enum InputGradArg { kGiDy, kGiW, kGiResidual, kGiGate, kGiDx };
  enum WeightGradArg { kGwX, kGwDy, kGwDw };
  Tensor x, w, bias, residual, y;              // residual: like the result
  Tensor gate;                                 // conv2d_grad_input only
  Tensor scale, shift, centre;                 // conv2d_scaled only
  int64_t stride[3], padding[3], dilation[3];  // D, H, W; padding is what stands before, what stands after follows from y
  int64_t groups;
  Epilogue epilogue;
  Activation input_activation;  // conv2d_scaled only: kNone or kRelu
};

// conv2d_chain: x, w, bias, residual? -> y: up to three convolutions in a row whose maps in between are never whole in
// memory: head (1x1, or the first one of a network), middle (depthwise), tail (1x1, to which the residual is added). Head
// and tail may be left out.
struct ConvChain {
  enum Arg { kX, kW, kBias, kResidual, kY };  // kW, kBias: of all convolutions, one behind the other, (1, count) plain
  Conv head, middle, tail;                    // w.present = 0 where left out; every one has a bias
};

// matmul: y (M, N) = act(op(a) op(b) + bias); a is (M, K) or, transposed, (K, M); b is (K, N) or, transposed, (N, K)
struct Matmul {
  enum Arg { kA, kB, kBias, kY };  // kBias (1, N)
  Tensor a, b, bias, y;
  int64_t m, n, k;
  int32_t transpose_a, transpose_b;
  Epilogue epilogue;
};

// max_pool2d:          x -> y, indices        avg_pool2d:       x -> y        (adaptive_* likewise)
// max_pool2d_grad:     dy, indices -> dx      avg_pool2d_grad:  dy -> dx
// max_unpool:           as max_pool2d_grad        max_unpool_grad:  as max_pool2d
// indices: int32, h * W + w of the maximum in its input plane (PyTorch's meaning); NaN is greatest, of equals the first, of
// NaN the last.
struct Pool {
  // Adaptive ones are [floor(i H / OH), ceil((i + 1) H / OH)); by index there are none: given indices alone say what belongs
  // together, and where an index comes twice the last element counts, or the sum. Only kFixed uses kernel, stride, padding.
  enum Windows : int32_t { kFixed, kAdaptive, kByIndex, kAddByIndex };
  enum Arg { kIn, kOut, kIndices };  // forward: kIn = x, kOut = y; backward of the average: kIn = dy, kOut = dx
  enum MaxGradArg { kMaxGradDy, kMaxGradIndices, kMaxGradDx };
  Tensor x, y, indices;              // x and y as in the forward direction, whichever way the operation goes
  int64_t kernel[3], stride[3], padding[3], dilation[3];
  Windows windows;
  int32_t count_include_pad;  // average
  int64_t divisor;            // average; 0: the number of elements
};

// batch_norm:           x, mean, var, weight?, bias? -> y                                   (inference)
// batch_norm_training:  x, weight?, bias?, running_mean?, running_var?, residual? -> y, save_mean, save_rstd
//                       running updated in place; y = act(norm(x) + residual)
// batch_norm_grad:      dy, x, save_mean, save_rstd, weight?, bias?, residual? -> dx, dweight, dbias
//                       the residual is added to dx: what the gradient by x was without this operation
//                       (training = 0: mean and rstd are constants, as for frozen layers; with an epilogue dy is the
//                       gradient by act(y), and y is computed again)
struct BatchNorm {
  enum InferenceArg { kX, kMean, kVar, kWeight, kBias, kY };
  enum TrainingArg { kTX, kTWeight, kTBias, kTRunningMean, kTRunningVar, kTResidual, kTY, kTSaveMean, kTSaveRstd };
  enum GradArg { kGDy, kGX, kGMean, kGRstd, kGWeight, kGBias, kGResidual, kGDx, kGDweight, kGDbias };
  Tensor x, y;                      // y: also dy; vectors are (1, C) plain
  Tensor dx;                        // backward only; like x where it is not present
  Tensor residual;
  int32_t has_weight, has_bias, has_running, training;
  float eps, momentum;
  Epilogue epilogue;
};

enum class Function : int32_t {
  kRelu, kLeakyRelu, kSigmoid, kTanh, kClamp,   // unary; *_grad takes dy and x (relu, leaky, clamp) or dy and y (sigmoid, tanh)
  kNegate, kExp, kLog, kSqrt, kSquare, kScale,  // kScale: alpha x + beta
  kElu,                                         // x > 0: beta x, else beta alpha (exp(gamma x) - 1); the gradients from here on take x
  kSilu, kHardSwish, kHardSigmoid, kGelu, kGeluTanh, kMish, kLogSigmoid, kSoftsign,
  kSoftplus,                                    // log(1 + exp(alpha x)) / alpha; x where alpha x > beta
  kHardShrink, kSoftShrink,                     // 0 for |x| <= alpha; beyond it x or x -+ alpha
  kThreshold,                                   // x where x > alpha, else beta
  kAbs, kPower,                                 // kPower: x ^ alpha
  kAdd, kSubtract, kMultiply, kDivide,          // binary
  kMaximum, kMinimum,                           // NaN wins
};

// unary: x -> y       unary_grad: dy, x or y -> dx       All the same shape, layout may be either (borders may differ).
struct Unary {
  enum Arg { kX, kY };
  enum GradArg { kDy, kSaved, kDx };
  Tensor x, y;  // backward: kSaved and kDx
  Tensor dy;    // backward only; like dx where it is not present
  Function function;
  float alpha, beta, gamma;  // leaky slope; clamp low, high; scale factor, offset; ...
};

// binary: a, b -> y. An axis of a or b may have size 1 where y has more (broadcast): its stride is then 0.
struct Binary {
  enum Arg { kA, kB, kY };
  Tensor a, b, y;
  Function function;
  Epilogue epilogue;  // relu after add
};

// sum_to: x -> y, each axis of y is that of x or 1 (summed). The gradient of broadcasting; the bias gradient.
struct SumTo {
  enum Arg { kX, kY };
  Tensor x, y;
  float scale;  // 1 / count makes it a mean
};

// copy: writes x into y at `offset` (in pixels and channels; negative crops x). Layouts may differ: this is also the
// reorder, a piece of a concatenation, the slice that is its gradient, and (fill = 1: the rest of y gets `value`) padding.
struct Copy {
  enum Arg { kX, kY };
  Tensor x, y;
  int64_t offset[5];  // of x inside y along N, C, D, H, W
  int32_t fill;
  float value;
};

// softmax, log_softmax: x -> y         over the middle axis of (outer, size, inner), plain and contiguous
// softmax_grad, log_softmax_grad: dy, y -> dx
// cross_entropy: x (logits), target (int32, outer x inner), weight? -> loss (1) or (outer x inner)
// cross_entropy_grad: dloss, x, target, weight? -> dx
struct Softmax {
  enum Arg { kX, kY };
  enum GradArg { kDy, kSaved, kDx };
  enum LossArg { kLogits, kTarget, kClassWeight, kLoss };
  enum LossGradArg { kDloss, kGLogits, kGTarget, kGClassWeight, kGDx };
  int64_t outer, size, inner;
  int32_t reduction;  // 0 none, 1 mean (over the weights of the targets that count), 2 sum
  int32_t has_weight;
  int64_t ignore_index;
  float label_smoothing;
  int32_t log_probabilities;  // the losses: x holds log p already (the negative log-likelihood loss)
};

// dropout: x, rng -> y = mask * x / (1 - p); rng is int32 (1, 2): seed and step; the mask of element i (in plain NCHW order,
// whatever the layout) is a function of (seed, step, node, i) alone, so the gradient is dropout of dy with the same numbers.
struct Dropout {
  enum Arg { kX, kRng, kY };
  Tensor x, y;
  float p;
  uint32_t node;
};

// uniform: rng -> y: numbers of [0, 1) drawn as dropout draws its own (x is not present)

// group_norm:       x, weight?, bias? -> y, save_mean, save_rstd (N, groups)         each group of each image for itself
// group_norm_grad:  dy, x, save_mean, save_rstd, weight? -> dx, dweight, dbias
struct GroupNorm {
  enum Arg { kX, kWeight, kBias, kY, kMean, kRstd };
  enum GradArg { kGDy, kGX, kGMean, kGRstd, kGWeight, kGDx, kGDweight, kGDbias };
  Tensor x, y, dx;  // y: also dy; weight and bias are (1, C)
  int64_t groups;
  int32_t has_weight, has_bias;
  float eps;
};

// local_response_norm:       x -> y = x / (k + alpha / size * sum of x^2 over `size` neighbouring channels) ^ beta
// local_response_norm_grad:  dy, x -> dx
struct LocalResponseNorm {
  enum Arg { kX, kY };
  enum GradArg { kDy, kSaved, kDx };
  Tensor x, y, dy;  // backward: kSaved and kDx
  int64_t size;     // channels c - size / 2 .. c + (size - 1) / 2, zeros beyond the ends
  float alpha, beta, k;
};

// resample: x, start, index, weight -> y: along one axis y[i] = sum over t in start[i] .. start[i + 1] - 1 of
// weight[t] x[index[t]]. Interpolation, gathering, continued borders, and (transposed tables) the gradients of all these.
// A kernel keeps to the arrays whatever the tables say.
struct Resample {
  enum Arg { kX, kStart, kIndex, kWeight, kY };  // start int32 (1, out + 1), index int32 (1, taps), weight float (1, taps)
  Tensor x, y;
  int64_t taps;
  int32_t axis;  // of N, C, D, H, W
};

// permute: x -> y, axis i of y is axis axes[i] of x; plain
struct Permute {
  enum Arg { kX, kY };
  Tensor x, y;
  int32_t axes[5];
};

// grid_sample:             x, grid -> y: at each of P places x (plain) is read where the grid (N, P, 2 or 3) says: x, y[, z],
//                          -1 .. 1 across the map
// grid_sample_grad_input:  dy, grid -> dx
// grid_sample_grad_grid:   dy, x, grid -> dgrid
struct GridSample {
  enum Arg { kX, kGrid, kY };
  enum InputGradArg { kGiDy, kGiGrid, kGiDx };
  enum GridGradArg { kGgDy, kGgX, kGgGrid, kGgDgrid };
  Tensor x, grid, y;      // x: also dx; grid: also dgrid; y (N, C, P): also dy
  int32_t taps;           // along each axis: 1 nearest, 2 linear, 4 cubic (two axes only)
  int32_t padding;        // beyond the map: 0 zeros, 1 its border, 2 its reflection
  int32_t align_corners;  // -1 and 1 are the centres of the outer pixels, not their outer edges
};

// fractional_max_pool: x, samples (N, C, 2 or 3) -> y, indices; windows of `kernel` whose starts follow from the samples
struct FractionalPool {
  enum Arg { kX, kSamples, kY, kIndices };
  Tensor x, samples, y;
  int64_t kernel[3];
};

// sgd_step:   parameter, gradient, buffer?, hyper           parameter and buffer updated in place
// adam_step:  parameter, gradient, m, v, hyper              parameter, m and v updated in place
// adaptive_step: parameter, gradient, square, buffer?, hyper   parameter, square and buffer updated in place
// hyper is float (1, 8): values that change from step to step, so that a schedule does not plan again.
struct Optimizer {
  enum SgdArg { kParameter, kGradient, kBuffer, kHyper };  // hyper: learning rate, first step (1 or 0)
  enum AdamArg { kAParameter, kAGradient, kAM, kAV, kAHyper };  // hyper: learning rate, 1 - beta1^t, 1 - beta2^t
  enum AdaptiveArg { kDParameter, kDGradient, kDSquare, kDBuffer, kDHyper };  // hyper: learning rate, keep, take
  int64_t count;
  float momentum, dampening, weight_decay;
  int32_t nesterov, has_buffer, decoupled;  // decoupled: weight decay as in AdamW
  float eps;
  double beta1, beta2;  // 1 - 0.999 in float would be off by 1e-5
};

// peak: -> y (1, units): a measurement, not a computation: each unit does `steps` rounds of independent multiply-adds in
// registers (and stores how many floating-point operations that were), so that a benchmark knows the machine's limit.
struct Peak {
  enum Arg { kY };
  int64_t units, steps;
};

enum class OpKind : int32_t {
  kConv2d, kConv2dScaled, kConv2dGradInput, kConv2dGradWeight, kConv2dChain,
  kMatmul,
  kMaxPool2d, kMaxPool2dGrad, kAvgPool2d, kAvgPool2dGrad,
  kBatchNorm, kBatchNormTraining, kBatchNormGrad,
  kUnary, kUnaryGrad, kBinary, kSumTo, kCopy,
  kSoftmax, kLogSoftmax, kSoftmaxGrad, kLogSoftmaxGrad, kCrossEntropy, kCrossEntropyGrad,
  kDropout, kUniform, kSgdStep, kAdamStep, kAdaptiveStep,
  kGroupNorm, kGroupNormGrad, kLocalResponseNorm, kLocalResponseNormGrad,
  kResample, kPermute,
  kGridSample, kGridSampleGradInput, kGridSampleGradGrid, kFractionalMaxPool,
  kPeak,
  kCount,
};

struct Op {
  OpKind kind;
  union {
    Conv conv;
    ConvChain conv_chain;
    Matmul matmul;
    Pool pool;
    BatchNorm batch_norm;
    Unary unary;
    Binary binary;
    SumTo sum_to;
    Copy copy;
    Softmax softmax;
    Dropout dropout;
    GroupNorm group_norm;
    LocalResponseNorm local_response_norm;
    Resample resample;
    Permute permute;
    GridSample grid_sample;
    FractionalPool fractional_pool;
    Optimizer optimizer;
    Peak peak;
  };
};

}  // namespace cnnkern
