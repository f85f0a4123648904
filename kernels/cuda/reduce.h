// CUDA backend of reduce.h: arguments as there, device pointers.

#ifndef RTPURBO_KERNELS_CUDA_REDUCE_H_
#define RTPURBO_KERNELS_CUDA_REDUCE_H_

#include <cstdint>

namespace rtpurbo::kernels::cuda {

inline constexpr std::int64_t kSumSquaresWorkspace = 1056 * sizeof(double);

void SumSquares(const float* x, std::int64_t n, float* sum, void* workspace,
                void* stream);

}  // namespace rtpurbo::kernels::cuda

#endif  // RTPURBO_KERNELS_CUDA_REDUCE_H_
