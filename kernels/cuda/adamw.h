// AdamW on CUDA; pointers are device pointers.

#ifndef RTPURBO_KERNELS_CUDA_ADAMW_H_
#define RTPURBO_KERNELS_CUDA_ADAMW_H_

#include <cstdint>

#include "kernels/adamw_step.h"

namespace rtpurbo::kernels::cuda {

void AdamW(const AdamWStep& step, const float* grad, std::int64_t n,
           float* weight, float* m, float* v, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ADAMW_H_
