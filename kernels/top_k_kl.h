// KL to a teacher's top-K tokens, both sides renormalised over these K: the
// loss of self-distillation (arXiv 2605.16928).
//
//   z_k = x.w[id_k],   P = softmax(teacher_k),   Q = softmax(z)
//   loss = sum over rows of sum_k P_k (log P_k - log Q_k),   dz_k = Q_k - P_k
//
// Only the K rows of the head that a label names are read and get a gradient:
// the logits of the whole vocabulary are never computed.

#ifndef RTPURBO_KERNELS_TOP_K_KL_H_
#define RTPURBO_KERNELS_TOP_K_KL_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// L label rows.  x: [L, D] and w: [V, D], one float type.  id_LK: [L, K] i32 in
// [0, V).  teacher_LK: [L, K] f32 logits.  Results, overwritten: dz_LK [L, K]
// f32 (Q - P, kept for backward) and loss [1] f32, the sum over rows.
void TopKKlForward(const ExecContext& ctx, const Tensor& x_LD,
                   const Tensor& w_VD, const Tensor& id_LK,
                   const Tensor& teacher_LK, Tensor* dz_LK, Tensor* loss);
//   dloss: [1] f32.  dx = dloss sum_k dz_k w[id_k], overwritten.
//   dw[id_k] += dloss dz_k x, rows ascending: [V, D] f32.
// Undefined results are not computed.
void TopKKlBackward(const ExecContext& ctx, const Tensor& x_LD,
                    const Tensor& w_VD, const Tensor& id_LK,
                    const Tensor& dz_LK, const Tensor& dloss, Tensor* dx_LD,
                    Tensor* dw_VD);

// The K highest of each row, falling (ties: the lower index), and the log-sum
// over the whole row: a teacher's labels from its logits.
//   z_LV: [L, V] float type.  value_LK f32, id_LK i32, lse_L f32, overwritten.
void TopK(const ExecContext& ctx, const Tensor& z_LV, Tensor* value_LK,
          Tensor* id_LK, Tensor* lse_L);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_TOP_K_KL_H_
