// CUDA backend of permute.h; arguments as there, device pointers and a stream.

#ifndef RTPURBO_KERNELS_CUDA_PERMUTE_H_
#define RTPURBO_KERNELS_CUDA_PERMUTE_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

// Bytes of scratch for PermuteLayout of N choices.
std::int64_t PermuteWorkspace(std::int64_t N, std::int64_t E);
void PermuteLayout(const std::int32_t* expert_TK, std::int64_t N,
                   std::int64_t E, std::int32_t* place_TK,
                   std::int32_t* source_N, std::int32_t* offset_E,
                   void* workspace, void* stream);

struct PermuteShape {
  std::int64_t T;
  std::int64_t K;
  std::int64_t D;
};
template <typename T>
void PermuteForward(const PermuteShape& shape, const T* x_TD,
                    const std::int32_t* source_N, T* y_ND, void* stream);
template <typename T>
void PermuteBackward(const PermuteShape& shape, const T* dy_ND,
                     const std::int32_t* place_TK, T* dx_TD, void* stream);
template <typename T>
void CombineForward(const PermuteShape& shape, const T* x_ND,
                    const float* weight_TK, const std::int32_t* place_TK,
                    T* y_TD, void* stream);
// dx or dweight may be null.
template <typename T>
void CombineBackward(const PermuteShape& shape, const T* x_ND,
                     const float* weight_TK, const std::int32_t* place_TK,
                     const T* dy_TD, T* dx_ND, float* dweight_TK, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_PERMUTE_H_
