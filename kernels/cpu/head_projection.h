// One small matrix a retrieval head.

#ifndef RTPURBO_KERNELS_CPU_HEAD_PROJECTION_H_
#define RTPURBO_KERNELS_CPU_HEAD_PROJECTION_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cpu {

// y_R = w_RC x_C.
template <typename T, typename A>
void ProjectHead(const T* x_C, const A* w_RC, std::int64_t R, std::int64_t C,
                 A* y_R) {
  for (std::int64_t r = 0; r < R; ++r) {
    A sum{};
    for (std::int64_t c = 0; c < C; ++c) {
      sum += w_RC[r * C + c] * A(x_C[c]);
    }
    y_R[r] = sum;
  }
}

// dw_RC += dy_R x_C^T.
template <typename T, typename A>
void ProjectHeadWeightGrad(const T* x_C, const A* dy_R, std::int64_t R,
                           std::int64_t C, A* dw_RC) {
  for (std::int64_t r = 0; r < R; ++r) {
    for (std::int64_t c = 0; c < C; ++c) {
      dw_RC[r * C + c] += dy_R[r] * A(x_C[c]);
    }
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_HEAD_PROJECTION_H_
