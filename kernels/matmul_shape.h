// The sides of a matrix product, for the public header and the backends.

#ifndef RTPURBO_KERNELS_MATMUL_SHAPE_H_
#define RTPURBO_KERNELS_MATMUL_SHAPE_H_

#include <cstdint>

namespace rtpurbo::kernels {

// C_MN = op(A_MK) op(B_KN). A transposed operand is stored as [K, M] or [N, K].
struct MatmulShape {
  std::int64_t M;
  std::int64_t N;
  std::int64_t K;
  bool trans_a;
  bool trans_b;
};

}  // namespace rtpurbo::kernels

#endif  // RTPURBO_KERNELS_MATMUL_SHAPE_H_
