// Which experts a token goes to, and with what weight.
//
//   p = softmax(z) over E,   the K highest are taken (ties: the lower index),
//   w_k = p_k, or p_k / sum of the taken p with `normalize` (norm_topk_prob)

#ifndef RTPURBO_KERNELS_ROUTER_H_
#define RTPURBO_KERNELS_ROUTER_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

//   z_TE: [T, E] float type.  Results, overwritten: prob_TE [T, E] f32,
//   expert_TK [T, K] i32 in order of falling p.
void RouterSelect(const ExecContext& ctx, const Tensor& z_TE, Tensor* prob_TE,
                  Tensor* expert_TK);
// weight_TK [T, K] f32 of given choices; so that a replayed choice keeps its
// experts and still has a derivative.
void RouterWeights(const ExecContext& ctx, const Tensor& prob_TE,
                   const Tensor& expert_TK, bool normalize, Tensor* weight_TK);
// dz from dweight, with the choice held fixed. dz_TE has z's type, overwritten.
void RouterBackward(const ExecContext& ctx, const Tensor& prob_TE,
                    const Tensor& expert_TK, bool normalize,
                    const Tensor& dweight_TK, Tensor* dz_TE);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_ROUTER_H_
