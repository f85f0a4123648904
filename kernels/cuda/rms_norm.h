// RMSNorm on CUDA. T is float or BFloat16; pointers are device pointers, dw_D
// is null if w is frozen.

#ifndef RTPURBO_KERNELS_CUDA_RMS_NORM_H_
#define RTPURBO_KERNELS_CUDA_RMS_NORM_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void RmsNormForward(const T* x_TD, const T* w_D, float eps, std::int64_t T_,
                    std::int64_t D, T* y_TD, float* r_T, void* stream);
template <typename T>
void RmsNormBackward(const T* x_TD, const T* w_D, const float* r_T,
                     const T* dy_TD, std::int64_t T_, std::int64_t D, T* dx_TD,
                     float* dw_D, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_RMS_NORM_H_
