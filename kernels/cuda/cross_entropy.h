// Cross entropy on CUDA. T is float or BFloat16; pointers are device pointers.

#ifndef RTPURBO_KERNELS_CUDA_CROSS_ENTROPY_H_
#define RTPURBO_KERNELS_CUDA_CROSS_ENTROPY_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void CrossEntropyForward(const T* z_TV, const std::int32_t* label_T,
                         std::int64_t T_, std::int64_t V, float* lse_T,
                         float* loss, void* stream);
template <typename T>
void CrossEntropyBackward(const T* z_TV, const std::int32_t* label_T,
                          const float* lse_T, const float* dloss,
                          std::int64_t T_, std::int64_t V, T* dz_TV,
                          void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_CROSS_ENTROPY_H_
