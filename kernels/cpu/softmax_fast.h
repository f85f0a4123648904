// Softmax over one long row with the exp of vector_math.h.

#ifndef RTPURBO_KERNELS_CPU_SOFTMAX_FAST_H_
#define RTPURBO_KERNELS_CPU_SOFTMAX_FAST_H_

#include <cstdint>

#include "kernels/core/bf16.h"

namespace rtpurbo::kernels::cpu {

// log sum_v exp z_v; -infinity if all z are, NaN if one z is.
float FastLogSumExp(const float* z_V, std::int64_t V);
float FastLogSumExp(const BFloat16* z_V, std::int64_t V);
// y_v = scale exp(z_v - lse).
void FastScaledSoftmax(const float* z_V, std::int64_t V, float lse, float scale,
                       float* y_V);
void FastScaledSoftmax(const BFloat16* z_V, std::int64_t V, float lse,
                       float scale, BFloat16* y_V);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SOFTMAX_FAST_H_
