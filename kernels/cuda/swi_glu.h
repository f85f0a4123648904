// SwiGLU on CUDA. T is float or BFloat16; pointers are device pointers.

#ifndef RTPURBO_KERNELS_CUDA_SWI_GLU_H_
#define RTPURBO_KERNELS_CUDA_SWI_GLU_H_

#include <cstdint>

#include "kernels/core/dtype.h"

namespace rtpurbo::kernels::cuda {

template <typename T>
void SwiGluForward(const T* gate, const T* up, std::int64_t n, T* y,
                   void* stream);
template <typename T>
void SwiGluBackward(const T* gate, const T* up, const T* dy, std::int64_t n,
                    T* dgate, T* dup, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_SWI_GLU_H_
