// Sums over all elements: a fixed number of blocks, each with its partial sum
// in f64, then one block adds these in a fixed order.

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.h"

namespace rtpurbo::kernels::cuda {
namespace {

constexpr int kMaxBlocks = kSumSquaresWorkspace / sizeof(double);

// The sum over the block, in thread 0.
__device__ double BlockSum(double value) {
  __shared__ double partial[kThreads];
  partial[threadIdx.x] = value;
  __syncthreads();
  for (int step = kThreads / 2; step > 0; step /= 2) {
    if (threadIdx.x < step) {
      partial[threadIdx.x] += partial[threadIdx.x + step];
    }
    __syncthreads();
  }
  return partial[0];
}

__global__ void PartialKernel(const float* __restrict__ x, std::int64_t n,
                              double* __restrict__ partial) {
  const std::int64_t stride = std::int64_t{gridDim.x} * kThreads;
  double sum = 0;
#pragma unroll 4
  for (std::int64_t i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
       i < n; i += stride) {
    sum += static_cast<double>(x[i]) * x[i];
  }
  sum = BlockSum(sum);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = sum;
  }
}

__global__ void FinishKernel(const double* __restrict__ partial, int count,
                             float* __restrict__ sum) {
  double total = 0;
  for (int i = static_cast<int>(threadIdx.x); i < count; i += kThreads) {
    total += partial[i];
  }
  total = BlockSum(total);
  if (threadIdx.x == 0) {
    *sum = static_cast<float>(*sum + total);
  }
}

}  // namespace

void SumSquares(const float* x, std::int64_t n, float* sum, void* workspace,
                void* stream) {
  if (n == 0) {
    return;
  }
  auto* partial = static_cast<double*>(workspace);
  const std::int64_t blocks =
      std::min<std::int64_t>((n + kThreads - 1) / kThreads, kMaxBlocks);
  Launch(PartialKernel, blocks, stream, x, n, partial);
  Launch(FinishKernel, 1, stream, partial, static_cast<int>(blocks), sum);
}

}  // namespace rtpurbo::kernels::cuda
