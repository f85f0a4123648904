// The low-width projections of retrieval heads: one small matrix a head.
//
//   y[t, s, :] = w[s] x[t, head_S[s], :]          w[s]: [R, C]
//
// x is the query before rotation with head_S[s] = the query head, or the key
// before rotation with head_S[s] = that query head's key/value head.

#ifndef RTPURBO_KERNELS_HEAD_PROJECTION_H_
#define RTPURBO_KERNELS_HEAD_PROJECTION_H_

#include <cstdint>
#include <vector>

#include "kernels/core/tensor.h"

namespace rtpurbo::kernels {

//   x_THC: [T, H, C] float type.  w_SRC: [S, R, C] f32.
//   y_TSR: [T, S, R] f32, overwritten.
void HeadProjectionForward(const ExecContext& ctx, const Tensor& x_THC,
                           const Tensor& w_SRC,
                           const std::vector<std::int32_t>& head_S,
                           Tensor* y_TSR);
// dw[s] += sum_t dy[t, s, :] x[t, head_S[s], :]^T. The inputs are frozen, so
// there is no dx.
void HeadProjectionBackward(const ExecContext& ctx, const Tensor& x_THC,
                            const Tensor& dy_TSR,
                            const std::vector<std::int32_t>& head_S,
                            Tensor* dw_SRC);

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_HEAD_PROJECTION_H_
