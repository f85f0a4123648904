// CUDA backend of grouped_matmul.h: arguments as there, device pointers. How
// many rows an expert has is known on the device only.

#ifndef RTPURBO_KERNELS_CUDA_GROUPED_MATMUL_H_
#define RTPURBO_KERNELS_CUDA_GROUPED_MATMUL_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

// a: [N, K], w: [E, K, M] or [E, M, K], c: [N, M].
struct GroupedShape {
  std::int64_t N;
  std::int64_t K;
  std::int64_t M;
  std::int64_t E;
  bool trans_w;
};
template <typename T>
void GroupedMatmul(const GroupedShape& shape, const T* a_NK,
                   const std::int32_t* offset_E, const T* w_EXY, T* c_NM,
                   void* stream);

// a: [N, X], b: [N, Y], dw: [E, X, Y].
struct GroupedGradShape {
  std::int64_t N;
  std::int64_t X;
  std::int64_t Y;
  std::int64_t E;
};
template <typename T>
void GroupedMatmulWeightGrad(const GroupedGradShape& shape, const T* a_NX,
                             const T* b_NY, const std::int32_t* offset_E,
                             float* dw_EXY, void* stream);

// The same on Hopper, bf16.
// REQUIRES: rows of 16-byte multiples, operands aligned to 16 bytes.
bool HasGroupedMatmulSm90(const void* a, const void* b, std::int64_t width_a,
                          std::int64_t width_b);
void GroupedMatmulSm90(const GroupedShape& shape, const BFloat16* a_NK,
                       const std::int32_t* offset_E, const BFloat16* w_EXY,
                       BFloat16* c_NM, void* stream);
void GroupedMatmulWeightGradSm90(const GroupedGradShape& shape,
                                 const BFloat16* a_NX, const BFloat16* b_NY,
                                 const std::int32_t* offset_E, float* dw_EXY,
                                 void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_GROUPED_MATMUL_H_
