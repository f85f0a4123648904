// SwiGLU with the exp of vector_math.h: the twin of cpu/swi_glu.h, five times
// as fast.

#ifndef RTPURBO_KERNELS_CPU_SWI_GLU_FAST_H_
#define RTPURBO_KERNELS_CPU_SWI_GLU_FAST_H_

#include <cstdint>

#include "kernels/core/bf16.h"

namespace rtpurbo::kernels::cpu {

void FastSwiGluForward(const float* gate, const float* up, std::int64_t n,
                       float* y);
void FastSwiGluForward(const BFloat16* gate, const BFloat16* up, std::int64_t n,
                       BFloat16* y);
void FastSwiGluBackward(const float* gate, const float* up, const float* dy,
                        std::int64_t n, float* dgate, float* dup);
void FastSwiGluBackward(const BFloat16* gate, const BFloat16* up,
                        const BFloat16* dy, std::int64_t n, BFloat16* dgate,
                        BFloat16* dup);

}  // namespace rtpurbo::kernels::cpu

#endif  // RTPURBO_KERNELS_CPU_SWI_GLU_FAST_H_
