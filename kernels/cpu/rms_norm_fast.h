// RMSNorm with sums over lanes: the twin of cpu/rms_norm.h for rows of a piece.

#ifndef RTPURBO_KERNELS_CPU_RMS_NORM_FAST_H_
#define RTPURBO_KERNELS_CPU_RMS_NORM_FAST_H_

#include <cstdint>

#include "kernels/core/bf16.h"

namespace rtpurbo::kernels::cpu {

// Arguments as in cpu/rms_norm.h.
void FastRmsNormForward(const float* x_TD, const float* w_D, float eps,
                        std::int64_t T_, std::int64_t D, float* y_TD,
                        float* r_T);
void FastRmsNormForward(const BFloat16* x_TD, const BFloat16* w_D, float eps,
                        std::int64_t T_, std::int64_t D, BFloat16* y_TD,
                        float* r_T);
void FastRmsNormBackward(const float* x_TD, const float* w_D, const float* r_T,
                         const float* dy_TD, std::int64_t T_, std::int64_t D,
                         float* dx_TD, float* dw_D);
void FastRmsNormBackward(const BFloat16* x_TD, const BFloat16* w_D,
                         const float* r_T, const BFloat16* dy_TD,
                         std::int64_t T_, std::int64_t D, BFloat16* dx_TD,
                         float* dw_D);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_RMS_NORM_FAST_H_
