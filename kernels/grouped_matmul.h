// One product per expert over rows in expert order.
//
// Rows [offset_E[e], offset_E[e + 1]) of the N rows belong to expert e; a range
// may be empty. Expert e's matrix is w[e].

#ifndef RTPURBO_KERNELS_GROUPED_MATMUL_H_
#define RTPURBO_KERNELS_GROUPED_MATMUL_H_

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

// c[n] = a[n] op(w[e]) for the rows n of each expert e.
//   a: [N, K].  w: [E, K, M], or [E, M, K] with trans_w.  c: [N, M],
//   overwritten. One float type.  offset_E: [E + 1] i32.
void GroupedMatmul(const ExecContext& ctx, const Tensor& a_NK,
                   const Tensor& offset_E, const Tensor& w_EXY, bool trans_w,
                   Tensor* c_NM);
// dw[e] += a_e^T b_e over the rows of e: dw: [E, X, Y] f32, a: [N, X],
// b: [N, Y]. The weight gradient of either operand order.
void GroupedMatmulWeightGrad(const ExecContext& ctx, const Tensor& a_NX,
                             const Tensor& b_NY, const Tensor& offset_E,
                             Tensor* dw_EXY);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_GROUPED_MATMUL_H_
