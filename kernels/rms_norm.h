// Root-mean-square normalisation (Zhang, Sennrich 2019, arXiv 1910.07467,
// equation 4), with a weight.
//
//   y_i = x_i r w_i,   r = (mean_j x_j^2 + eps)^(-1/2)
//
// T rows (tokens, or tokens times heads), D elements a row.

#ifndef RTPURBO_KERNELS_RMS_NORM_H_
#define RTPURBO_KERNELS_RMS_NORM_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

//   x, y: [T, D] f32 or bf16.  w: [D], as x.  r: [T] f32, kept for backward.
void RmsNormForward(const ExecContext& ctx, const Tensor& x_TD,
                    const Tensor& w_D, float eps, Tensor* y_TD, Tensor* r_T);
// dx is overwritten. dw ([D] f32) is added to; undefined if w is frozen.
void RmsNormBackward(const ExecContext& ctx, const Tensor& x_TD,
                     const Tensor& w_D, const Tensor& r_T, const Tensor& dy_TD,
                     Tensor* dx_TD, Tensor* dw_D);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_RMS_NORM_H_
