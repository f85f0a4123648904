// Tokens to expert order and back. N = T K rows, one for each choice.

#ifndef RTPURBO_KERNELS_PERMUTE_H_
#define RTPURBO_KERNELS_PERMUTE_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// Sorts the choices by expert, by token within an expert.
//   expert_TK: [T, K] i32 in [0, E).  Results, overwritten:
//   place_TK [T, K] i32, the row of each choice; source_N [N] i32, the choice
//   (t K + k) of each row; offset_E [E + 1] i32, the first row of each expert.
void PermuteLayout(const ExecContext& ctx, const Tensor& expert_TK,
                   Tensor* place_TK, Tensor* source_N, Tensor* offset_E);
// y[n] = x[source_N[n] / K].
void PermuteForward(const ExecContext& ctx, const Tensor& x_TD,
                    const Tensor& source_N, std::int64_t num_choices,
                    Tensor* y_ND);
// dx[t] = sum over k of dy[place_TK[t, k]], k ascending. Overwrites dx.
void PermuteBackward(const ExecContext& ctx, const Tensor& dy_ND,
                     const Tensor& place_TK, Tensor* dx_TD);
// y[t] = sum over k of weight[t, k] x[place_TK[t, k]], k ascending.
void CombineForward(const ExecContext& ctx, const Tensor& x_ND,
                    const Tensor& weight_TK, const Tensor& place_TK,
                    Tensor* y_TD);
// dx[n] = weight of n's choice times dy of its token; dweight[t, k] =
// dy[t].x[place_TK[t, k]]. Both overwritten; undefined ones are not computed.
void CombineBackward(const ExecContext& ctx, const Tensor& x_ND,
                     const Tensor& weight_TK, const Tensor& place_TK,
                     const Tensor& dy_TD, Tensor* dx_ND, Tensor* dweight_TK);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_PERMUTE_H_
