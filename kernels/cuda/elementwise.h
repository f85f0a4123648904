// Fill, cast and add on CUDA. Types are float or BFloat16; pointers are device
// pointers.

#ifndef RTPURBO_KERNELS_CUDA_ELEMENTWISE_H_
#define RTPURBO_KERNELS_CUDA_ELEMENTWISE_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void Fill(float value, std::int64_t n, T* dst, void* stream);
template <typename S, typename D>
void Cast(const S* src, std::int64_t n, D* dst, void* stream);
template <typename S, typename D>
void AddInto(const S* src, std::int64_t n, D* dst, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_ELEMENTWISE_H_
