// Rows of a table, and the gradient of the table.

#ifndef RTPURBO_KERNELS_EMBEDDING_H_
#define RTPURBO_KERNELS_EMBEDDING_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// y[t] = w[id_T[t]].  w: [V, D], y: [T, D], one float type.
// REQUIRES: ids in [0, V) (checked on the CPU).
void EmbeddingForward(const ExecContext& ctx, const Tensor& w_VD,
                      const Tensor& id_T, Tensor* y_TD);
// dw[id_T[t]] += dy[t], tokens in ascending order.  dw: [V, D] f32.
void EmbeddingBackward(const ExecContext& ctx, const Tensor& id_T,
                       const Tensor& dy_TD, Tensor* dw_VD);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_EMBEDDING_H_
