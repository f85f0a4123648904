// Matrix products on CUDA. T and C are float or BFloat16; pointers are device
// pointers.

#ifndef RTPURBO_KERNELS_CUDA_MATMUL_H_
#define RTPURBO_KERNELS_CUDA_MATMUL_H_

#include <cstdint>

#include "kernels/core/dtype.h"
#include "kernels/matmul_shape.h"

namespace rtpurbo::kernels::cuda {

inline constexpr std::int64_t kMatmulWorkspace = 32 << 20;  // bytes
// `workspace` may be freed or reused in stream order.
template <typename T, typename C>
void Matmul(const MatmulShape& shape, const T* a, const T* b, float beta, C* c,
            void* workspace, void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_MATMUL_H_
