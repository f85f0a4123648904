// One product per expert, written as the formulas:
//
//   c_n = a_n op(w_e),   dw_e += sum over n of e of a_n^T b_n

#ifndef RTPURBO_KERNELS_CPU_GROUPED_MATMUL_H_
#define RTPURBO_KERNELS_CPU_GROUPED_MATMUL_H_

#include <cstdint>

#include "kernels/cpu/matmul.h"

namespace rtpurbo::kernels::cpu {

// a: [N, K].  w: [E, K, M], or [E, M, K] with trans_w.  c: [N, M].
template <typename T>
void GroupedMatmul(const T* a_NK, const std::int32_t* offset_E, const T* w_EXY,
                   std::int64_t E, std::int64_t K, std::int64_t M, bool trans_w,
                   T* c_NM) {
  for (std::int64_t e = 0; e < E; ++e) {
    const std::int64_t begin = offset_E[e];
    const MatmulShape shape{offset_E[e + 1] - begin, M, K, false, trans_w};
    Matmul(shape, a_NK + begin * K, w_EXY + e * K * M, 0.0F, c_NM + begin * M);
  }
}

// a: [N, X].  b: [N, Y].  dw: [E, X, Y], added to.
template <typename T>
void GroupedMatmulWeightGrad(const T* a_NX, const T* b_NY,
                             const std::int32_t* offset_E, std::int64_t E,
                             std::int64_t X, std::int64_t Y, Accum<T>* dw_EXY) {
  for (std::int64_t e = 0; e < E; ++e) {
    const std::int64_t begin = offset_E[e];
    const MatmulShape shape{X, Y, offset_E[e + 1] - begin, true, false};
    Matmul(shape, a_NX + begin * X, b_NY + begin * Y, 1.0F, dw_EXY + e * X * Y);
  }
}

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_GROUPED_MATMUL_H_
